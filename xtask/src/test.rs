//! `cargo xtask test`: what CI runs, and a contributor before a change.
//!
//! Two processors wait for most of what is tested, so the parts overlap: while the first lane checks the code, builds, and runs the unit
//! tests and the agent's cases, the second builds the Worker, starts the service, rehearses a deployment and fuzzes the API; then it runs
//! the service's cases. A third builds agent and engine as they ship, for a smoke pass. Three parts follow when the lanes have ended, because
//! beside them their cases and the others would wait longer than they may: the agent's cases that need the machine for themselves (fork
//! bombs), the examples, and the image. What a step prints is kept until it has ended, so that nothing interleaves.

mod api;
mod build;
mod clients;
mod doc;
mod examples;
mod generators;
mod image;
pub(crate) mod issuer;
mod lint;
mod plan;
mod report;
mod required;
mod service;
mod slowest;
mod suite;
mod suites;

use crate::artifacts::{self, Profile};
use crate::guard::Guard;
use crate::progress::{Outcome, Step};
use crate::{disk, paths, setup, shell};
use anyhow::{Context, Result};
use build::{Built, TestProgram};
use plan::{Plan, Target};
use report::{Ran, Report};
use service::Inputs;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use suite::{Suite, Variable};

/// How many of the slowest cases are printed.
const SLOWEST: usize = 20;

/// The package whose cases are those of agent and stack, and which has hardly any of its own.
const CASES_PACKAGE: &str = "cabana-tests";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these parts [default: all]
    #[arg(value_enum)]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Format, clippy (native and wasm32), rustdoc, dependencies, the fuzz targets
    Lint,
    /// Unit tests of every package
    Unit,
    /// The integration cases against the agent alone
    Agent,
    /// A deployment as far as it goes without an account
    Deploy,
    /// The API's description, and the running service fuzzed by it
    Api,
    /// Clients that generators make, and test suites of other products: only where it is named
    Suites,
    /// The clients in TypeScript and Python against the whole service
    Clients,
    /// The Workers of examples/, each in wrangler dev
    Examples,
    /// The integration cases against the whole service in wrangler dev
    Stack,
    /// The integration cases in containers of the image, as it ships
    Image,
    /// A few of the cases against agent and engine as they ship
    Release,
}

/// Runs the parts, all of them even when one fails, and reports what passed: the last line printed is the sum.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    disk::check()?;
    let root = paths::repository()?;
    let directory = artifacts::target(&root).join(format!("xtask/cases-{}", process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    // However this program ends, nothing that it or a case has started outlives it.
    let guard = Guard::start(&directory)?;
    shell::belong_to(&directory);
    let run = Run { parts: arguments.parts.clone(), root };
    let report = Report::default();
    run.lanes(&report);
    drop(guard);
    let durations = report.durations();
    let slowest = durations.slowest(SLOWEST);
    if !slowest.is_empty() {
        let file = artifacts::target(&run.root).join("xtask/durations.txt");
        match durations.write(&file) {
            Ok(()) => println!("\nThe slowest cases (all are in {}):\n{slowest}", file.display()),
            Err(error) => println!("\nThe slowest cases ({error:#}):\n{slowest}"),
        }
    }
    print!("\n{report}");
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which cases run now.
#[derive(Clone, Copy)]
enum Turn {
    Together,
    Alone,
}

struct Run {
    /// None means all.
    parts: Vec<Part>,
    root: PathBuf,
}

impl Run {
    fn wants_any(&self, parts: &[Part]) -> bool {
        self.parts.is_empty() || parts.iter().any(|part| self.parts.contains(part))
    }

    fn lanes(&self, report: &Report) {
        let (built_to_service, built) = mpsc::channel();
        let (turn_of_service, turn) = mpsc::channel();
        let (release_to_service, release) = mpsc::channel();
        let (built_to_release, start_of_release) = mpsc::channel::<()>();
        let (built, worker) = thread::scope(|scope| {
            let service = self
                .wants_any(&[Part::Deploy, Part::Api, Part::Suites, Part::Clients, Part::Stack, Part::Image, Part::Release])
                .then(|| scope.spawn(move || self.service(report, &Inputs { built, turn, release })));
            if self.wants_any(&[Part::Release]) {
                scope.spawn(move || {
                    // Later than the build of what the cases need: they wait for that.
                    if start_of_release.recv().is_ok()
                        && let Some(programs) = service::build_release(report)
                    {
                        let _ = release_to_service.send(programs);
                    }
                });
            }
            if self.wants_any(&[Part::Lint]) {
                lint::run(&self.root, report);
            }
            let built = self.build(report);
            if let Some(built) = &built {
                // The other lanes may have failed already, and said so.
                let _ = built_to_service.send(Arc::clone(built));
                let _ = built_to_release.send(());
                self.first_cases(report, built);
            }
            drop((built_to_service, built_to_release, turn_of_service));
            (built, service.and_then(|service| service.join().unwrap_or_else(|panic| panic::resume_unwind(panic))))
        });
        if self.wants_any(&[Part::Agent])
            && let (Some(built), Some(kernels)) = (&built, report.need("kernels", setup::provide_kernels))
        {
            report.cases("agent, alone", |step| self.agent(built, &kernels, Turn::Alone, step));
        }
        if self.wants_any(&[Part::Examples]) {
            self.examples(report, built.as_deref());
        }
        // Where either is missing, its build has failed and counted.
        if self.wants_any(&[Part::Image])
            && let (Some(built), Some(worker)) = (built, worker)
        {
            self.image(report, &built, &worker);
        }
    }

    /// The Workers of examples/, which need no test programs.
    fn examples(&self, report: &Report, built: Option<&Built>) {
        let Some(tools) = report.need("tools", setup::run) else { return };
        let run = |programs: &artifacts::Programs, command: &Path| examples::run(&self.root, report, &tools, programs, command);
        if let Some(built) = built {
            return run(&built.programs, &built.command);
        }
        let build = || Ok((artifacts::build_programs(Profile::Dev)?, artifacts::build_command()?));
        if let Some((programs, command)) = report.need("programs", build) {
            run(&programs, &command);
        }
    }

    /// Builds what the cases run, if any are wanted.
    fn build(&self, report: &Report) -> Option<Arc<Built>> {
        let runs_no_cases = |part: &Part| matches!(part, Part::Lint | Part::Examples);
        if self.parts.iter().all(runs_no_cases) && !self.parts.is_empty() {
            return None;
        }
        let build = |step: &Step| Ok((Outcome::Done("built".to_owned()), build::build(&self.root, step)?));
        report.need("build", || Step::run("build", build)).map(Arc::new)
    }

    /// The cases that need no service.
    fn first_cases(&self, report: &Report, built: &Built) {
        if self.wants_any(&[Part::Unit]) {
            for programs in built.unit.chunk_by(|one, other| one.package == other.package) {
                self.unit(report, programs);
            }
            report.cases("doc tests", |step| doc::run(&self.root, step));
        }
        if self.wants_any(&[Part::Agent])
            && report.need("programs of agent", setup::provide_programs).is_some()
            && let Some(kernels) = report.need("kernels", setup::provide_kernels)
        {
            report.cases("agent", |step| self.agent(built, &kernels, Turn::Together, step));
        }
    }

    /// Cases against the agent alone: those that run together, or those that must be alone on the machine.
    fn agent(&self, built: &Built, kernels: &Path, turn: Turn, step: &Step) -> Result<Ran> {
        let environment = vec![
            ("CABANA_TEST_TARGET", "agent".into()),
            ("CABANA_AGENT_BIN", built.programs.agent.clone().into()),
            ("CABANA_TEST_KERNELS", kernels.into()),
        ];
        let log = match turn {
            Turn::Together => "agent",
            Turn::Alone => "agent-alone",
        };
        let suite = self.suite(&built.integration, environment, log)?;
        let Plan { parallel, serial, elsewhere, .. } = Plan::new(&suite.list()?, Target::Agent);
        match turn {
            Turn::Together => Ok(Ran { tally: suite.run(&parallel, step)?, elsewhere }),
            Turn::Alone => Ok(Ran { tally: suite.run_serially(&serial, step)?, elsewhere: 0 }),
        }
    }

    /// Cases of a program, with what every one of them is told, and a log of this name.
    fn suite<'a>(&self, program: &'a TestProgram, mut environment: Vec<Variable>, log: &str) -> Result<Suite<'a>> {
        let is_required = environment.iter().any(|(name, _)| *name == required::VARIABLE);
        environment.extend((!is_required).then(|| (required::VARIABLE, required::of_machine().join(",").into())));
        Suite::new(program, environment, artifacts::log(&self.root, log))
    }

    /// The unit tests of one package.
    fn unit(&self, report: &Report, programs: &[TestProgram]) {
        let Some(TestProgram { package, .. }) = programs.first() else { return };
        let suites = programs
            .iter()
            .map(|program| self.suite(program, Vec::new(), &format!("unit-{}-{}", program.package, program.target)));
        let Some(suites) = report.need("unit tests", || suites.collect::<Result<Vec<_>>>()) else { return };
        if package == CASES_PACKAGE && suites.iter().all(|suite| suite.list().is_ok_and(|cases| cases.is_empty())) {
            return;
        }
        report.cases(&format!("unit {package}"), |step| {
            let mut all = Ran::default();
            for suite in &suites {
                all.tally.add(run_all(suite, Target::Unit, step)?.tally);
            }
            Ok(all)
        });
    }
}

/// Runs the cases of a target; those that must be alone, after the others.
fn run_all(suite: &Suite<'_>, target: Target, step: &Step) -> Result<Ran> {
    let plan = Plan::new(&suite.list()?, target);
    let mut tally = suite.run(&plan.parallel, step)?;
    tally.add(suite.run_serially(&plan.serial, step)?);
    Ok(Ran { tally, elsewhere: plan.elsewhere })
}
