//! `cargo xtask test`: what CI runs, and a contributor before a change.

mod api;
mod cases;
mod issuer;
mod report;
mod tally;

use crate::artifacts::{self, Care, Profile};
use crate::dev::stack::{self, Engine, Options, Stack};
use crate::setup::{self, Tools};
use crate::{paths, shell, sync};
use anyhow::Result;
use cases::Cases;
use issuer::Issuer;
use report::Report;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these parts [default: all]
    #[arg(value_enum)]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Format and clippy, native and wasm32
    Lint,
    /// Unit tests of every package
    Unit,
    /// The integration cases against the agent alone
    Agent,
    /// A deployment as far as it goes without an account
    Deploy,
    /// The API's description, and the running service fuzzed by it
    Api,
    /// The integration cases against the whole service in wrangler dev
    Stack,
}

/// Runs the parts, all of them even when one fails, and says what passed: the last line printed is the sum.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let wanted = |part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    let tools = setup::run()?;
    let run = Run { tools, root: paths::repository()? };
    let mut report = Report::default();
    if wanted(Part::Lint) {
        run.lint(&mut report)?;
    }
    if wanted(Part::Unit) {
        report.cases("unit tests", || cases::unit(&run.root));
    }
    if wanted(Part::Agent) || wanted(Part::Stack) {
        setup::provide_case_tools()?;
    }
    if wanted(Part::Agent) {
        report.cases("agent", || run.agent_cases());
    }
    if [Part::Deploy, Part::Api, Part::Stack].into_iter().any(wanted) {
        run.stack(&mut report, wanted);
    }
    print!("{report}");
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Run {
    tools: Tools,
    root: PathBuf,
}

impl Run {
    fn lint(&self, report: &mut Report) -> Result<()> {
        setup::provide_lint_tools()?;
        report.check("format", || shell::stream(self.cargo("fmt").args(["--all", "--check"])));
        report.check("kinds", || sync::check(&self.root));
        report.check("clippy", || {
            let mut clippy = self.cargo("clippy");
            shell::stream(clippy.args(["--workspace", "--all-targets", "--", "-D", "warnings"]))
        });
        report.check("clippy wasm32", || {
            let mut clippy = self.tools.wasm.cargo("clippy")?;
            clippy.current_dir(&self.root).env("CARGO_TARGET_DIR", artifacts::wasm_target(&self.root));
            clippy.args(["--package", "cabana-worker", "--target", setup::wasm::TARGET, "--", "-D", "warnings"]);
            shell::stream(&mut clippy)
        });
        Ok(())
    }

    fn agent_cases(&self) -> Result<Cases> {
        let programs = artifacts::build_programs(Profile::Dev)?;
        cases::integration(&self.root, "agent", &[("CABANA_AGENT_BIN", programs.agent.as_os_str())])
    }

    /// Starts the service once for all parts that need it.
    fn stack(&self, report: &mut Report, wanted: impl Fn(Part) -> bool) {
        let Some(issuer) = report.step("make an issuer of tokens", || Issuer::make(&self.root)) else { return };
        let variables = issuer.variables.clone();
        let options =
            Options { port: None, engine: Engine::Cabana, profile: Profile::Dev, care: Care::Full, log: false, variables };
        let Some(mut running) = report.step("start the stack", || Stack::launch(&self.tools, options)) else { return };
        if wanted(Part::Deploy) {
            report.check("deploy --dry-run", || self.rehearse_deployment(&running));
        }
        if wanted(Part::Api) {
            self.api(report, &running);
        }
        if wanted(Part::Stack) {
            let service = [("CABANA_TEST_URL", running.url().as_ref()), ("CABANA_TEST_API_KEY", running.api_key().as_ref())];
            report.cases("stack", || {
                let issuer = issuer.write(running.directory())?;
                let issuer = [("CABANA_TEST_ISSUER", issuer.as_os_str())];
                cases::integration(&self.root, "stack", &[service.as_slice(), &issuer].concat())
            });
            report.cases("outages", || cases::outages(&self.root, &service));
        }
        if let Err(ended) = running.check() {
            report.check("services", || Err(ended));
        }
        running.stop();
    }

    fn api(&self, report: &mut Report, running: &Stack) {
        let Some(tools) = report.step("tools for the API", setup::provide_api_tools) else { return };
        report.check("openapi", || api::validate(&tools, &self.root));
        report.check("schemathesis", || api::fuzz(&tools, &self.root, running));
    }

    /// Everything `wrangler deploy` does before it talks to Cloudflare.
    fn rehearse_deployment(&self, running: &Stack) -> Result<()> {
        let output = running.directory().join("deployment");
        let mut deploy = stack::wrangler(&self.tools, &self.root, running.directory());
        running.point_at_engine(&mut deploy)?;
        deploy.args(["deploy", "--dry-run", "--outdir"]).arg(output);
        shell::stream(&mut deploy)
    }

    fn cargo(&self, subcommand: &str) -> Command {
        cargo(&self.root, subcommand)
    }
}

/// A cargo subcommand in the repository.
fn cargo(root: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(artifacts::cargo());
    command.current_dir(root).arg(subcommand);
    command
}
