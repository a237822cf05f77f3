//! `cargo xtask bench`: builds and starts what is measured, and runs cabana-bench on it.

mod bundle;
mod image;
mod scratch;

use crate::artifacts::{self, Profile, WasmOpt};
use crate::dev::directory::write_private;
use crate::dev::stack::{Engine, Options, Stack};
use crate::progress::{Outcome, Step};
use crate::setup::{self, Tools};
use crate::{paths, shell};
use anyhow::{Context, Result};
use scratch::Scratch;
use serde_json::json;
use std::path::PathBuf;
use std::process::{self, Command};

/// The measurement that needs the whole service.
const STACK: &str = "stack";
/// The measurement that needs ripgrep.
const SEARCH: &str = "search";
/// The measurement that needs kernels of Jupyter.
const CODE: &str = "code";
/// The secret of the JWTs that the service accepts. It protects nothing: the service ends with the run.
const JWT_SECRET: &str = "the bench signs its own tokens with this";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the measurements whose name holds one of these words [default: all]
    filter: Vec<String>,
    /// Leave out the whole service
    #[arg(long)]
    agent_only: bool,
    /// Measure this agent, for instance the image's, instead of the one of this repository; leaves out the whole service
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Measure the image's agent in a Docker container of it, with 256 MiB and 256 processes; leaves out the whole service
    #[arg(long, conflicts_with_all = ["agent", "agent_only"])]
    image: bool,
}

impl Arguments {
    fn selects(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|word| name.contains(word.as_str()))
    }

    fn selects_stack(&self) -> bool {
        !self.agent_only && self.agent.is_none() && self.selects(STACK)
    }
}

/// Runs the measurements, which print a table. Fails when something cannot be measured.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let program = build()?;
    if arguments.image {
        return image::run(&program, &arguments.filter);
    }
    let agent = match &arguments.agent {
        Some(agent) => agent.clone(),
        None => artifacts::build_programs(Profile::Release)?.agent,
    };
    let scratch = Scratch::create()?;
    let mut bench = Command::new(program);
    bench.args(&arguments.filter).arg("--agent").arg(agent).arg("--scratch").arg(scratch.path());
    if arguments.selects(SEARCH) {
        bench.arg("--ripgrep").arg(setup::provide_ripgrep()?);
    }
    if arguments.selects(CODE) {
        bench.arg("--kernels").arg(setup::provide_kernels()?);
    }
    if arguments.selects_stack() { run_with_stack(&mut bench) } else { shell::stream(&mut bench) }
}

fn build() -> Result<PathBuf> {
    Step::run("bench", |step| {
        let root = paths::repository()?;
        let target = artifacts::target(&root);
        let mut build = Command::new(artifacts::cargo());
        // Optimized, so that the program that measures takes little of what it measures.
        build.args(["build", "--release", "--package", "cabana-bench"]).current_dir(&root);
        shell::run_logged(&mut build, &target.join("xtask/bench.log"), step, None)?;
        Ok((Outcome::Done("built".to_owned()), target.join("release/cabana-bench")))
    })
}

fn run_with_stack(bench: &mut Command) -> Result<()> {
    let tools = setup::run()?;
    let variables = vec![("CABANA_JWT_SECRET".to_owned(), JWT_SECRET.to_owned())];
    let options = Options {
        port: None,
        engine: Engine::Cabana,
        profile: Profile::Release,
        wasm_opt: WasmOpt::Run,
        log: false,
        testing: false,
        internet: true,
        kernels: None,
        variables,
    };
    let stack = Stack::launch(&tools, options)?;
    let outcome = describe(&tools, &stack).and_then(|file| shell::stream(bench.arg("--stack").arg(file)));
    stack.stop();
    outcome
}

/// Describes the service to cabana-bench, in a file that only its owner can read.
fn describe(tools: &Tools, stack: &Stack) -> Result<PathBuf> {
    let bundle = bundle::measure(tools, stack).context("measure the Worker's bundle")?;
    let description = json!({
        "url": stack.url(),
        "api_key": stack.api_key(),
        "jwt_secret": JWT_SECRET,
        "ancestor": process::id(),
        "bundle": { "compressed_bytes": bundle.compressed_bytes, "startup_ms": bundle.startup_ms },
    });
    let file = stack.directory().join("bench.json");
    write_private(&file, &description.to_string())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_is_started_only_when_it_is_selected() {
        let arguments = |filter: &[&str], agent_only, agent: Option<&str>| Arguments {
            filter: filter.iter().map(|word| (*word).to_owned()).collect(),
            agent_only,
            agent: agent.map(PathBuf::from),
            image: false,
        };
        for (arguments, selected) in [
            (arguments(&[], false, None), true),
            (arguments(&["exec", "sta"], false, None), true),
            (arguments(&["exec"], false, None), false),
            (arguments(&[], true, None), false),
            (arguments(&["stack"], false, Some("/agent")), false),
        ] {
            assert_eq!(arguments.selects_stack(), selected, "{:?}", arguments.filter);
        }
    }
}
