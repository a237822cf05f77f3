//! The examples: each is built, run in `wrangler dev` with the local engine, and asked for what its page says that it answers.

mod check;
mod git_server;
mod init;
mod model;
mod site;

use super::report::Report;
use crate::artifacts::{self, Profile, Programs, WasmOpt};
use crate::dev::example;
use crate::dev::stack::{Engine, Layout, Options};
use crate::progress::Step;
use crate::setup::{self, Tools};
use anyhow::{Context, Result};
use site::Site;
use std::path::Path;

/// An example, and how it is tried.
struct Example {
    name: &'static str,
    folder: &'static str,
    /// Its secrets and further variables, a line each; `{port}` is where it answers.
    variables: &'static str,
    check: fn(&Site) -> Result<()>,
}

/// Every folder of examples/, and the Worker that holds the cases of the library.
const EXAMPLES: [Example; 8] = [
    Example { name: "hello", folder: "examples/hello", variables: "", check: check::hello },
    Example { name: "run-code", folder: "examples/run-code", variables: "", check: check::run_code },
    Example {
        name: "previews",
        folder: "examples/previews",
        variables: "CABANA_PREVIEW_DOMAIN=localhost:{port}\n",
        check: check::previews,
    },
    Example { name: "two-kinds", folder: "examples/two-kinds", variables: "", check: check::two_kinds },
    Example { name: "chat-sessions", folder: "examples/chat-sessions", variables: "", check: check::chat_sessions },
    Example { name: "ci", folder: "examples/ci", variables: "", check: check::ci },
    Example {
        name: "coding-agent",
        folder: "examples/coding-agent",
        variables: check::AGENT_VARIABLES,
        check: check::coding_agent,
    },
    Example { name: CASES, folder: "tests/library", variables: "", check: check::library_cases },
];

/// The package of the cases.
const CASES: &str = "library-cases";

/// Builds and tries the examples, all of them even when one fails, and compiles what `command`, the program `cabana`, makes of them.
pub(super) fn run(root: &Path, report: &Report, tools: &Tools, programs: &Programs, command: &Path) {
    let directory = artifacts::target(root).join("xtask/examples");
    let packages = EXAMPLES.map(|example| (example.name, example.folder));
    if !report.check("examples: build", |step| artifacts::build_examples(tools, &packages, &directory, step)) {
        return;
    }
    for example in &EXAMPLES {
        report.check(&format!("example {}", example.name), |step| {
            example.try_out(root, tools, programs, &directory.join(example.name), step)
        });
    }
    for Example { name, .. } in EXAMPLES.iter().filter(|example| example.name != CASES) {
        report.check(&format!("cabana init {name}"), |step| init::compile(root, tools, command, name, step));
    }
}

impl Example {
    fn try_out(&self, root: &Path, tools: &Tools, programs: &Programs, worker: &Path, _: &Step) -> Result<()> {
        let options = Options {
            port: None,
            engine: Engine::Cabana,
            profile: Profile::Dev,
            wasm_opt: WasmOpt::Skip,
            log: false,
            testing: false,
            internet: true,
            kernels: Some(setup::provide_kernels()?),
            variables: Vec::new(),
        };
        let layout = Layout::create()?;
        layout.copy_programs(programs)?;
        layout.copy_example(worker)?;
        let configuration = example::configure(&root.join(self.folder), layout.directory())?;
        let mut stack = layout.start_example(tools, &options, &configuration, self.variables)?;
        let site = Site::new(stack.url(), stack.directory());
        let outcome = (self.check)(&site).with_context(|| stack.last_words());
        let alive = stack.check();
        stack.stop();
        outcome.and(alive)
    }
}

#[cfg(test)]
mod tests {
    use super::{CASES, EXAMPLES};
    use crate::paths;
    use std::fs;

    #[test]
    fn every_example_is_tried_and_has_a_page() {
        let root = paths::repository().unwrap().join("examples");
        let mut folders: Vec<_> = fs::read_dir(&root).unwrap().flatten().map(|entry| entry.file_name()).collect();
        folders.sort();
        let mut names: Vec<_> = EXAMPLES.iter().map(|example| example.name).filter(|name| *name != CASES).collect();
        names.sort_unstable();
        assert_eq!(folders, names);
        for name in names {
            let page = fs::read_to_string(root.join(name).join("README.md")).unwrap();
            assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        }
    }
}
