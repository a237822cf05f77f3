//! `cargo xtask soak`: rows of the threat list at their full scale, which takes too long for every change.
//!
//! The program `cabana-soak` of the tests has the rows, and runs each in a process of its own. This command builds, starts the service for
//! the rows that need it, shares the time out, and ends with a line a row.

mod fuzzers;
mod plan;
mod rows;
mod table;

use crate::artifacts::{self, Profile, WasmOpt};
use crate::dev::stack::{Engine, Options, Stack};
use crate::guard::Guard;
use crate::progress::{Outcome, Step, say};
use crate::test::issuer::Issuer;
use crate::{paths, setup, shell};
use anyhow::{Context, Result, anyhow, bail};
use plan::{Needs, Plan, Row};
use rows::{Environment, Program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use table::Table;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these rows; `list` shows them [default: all]
    names: Vec<String>,
    /// How long all rows together may run; building comes before that
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
}

/// Runs the rows, all of them even when one fails, and prints a line for each.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let root = paths::repository()?;
    let program = Program::new(build(&root)?);
    let rows = Row::all(program.list()?);
    if arguments.names == ["list"] {
        rows.iter().for_each(|row| println!("{:<12} {}", row.name, row.about));
        return Ok(ExitCode::SUCCESS);
    }
    let rows = plan::choose(rows, &arguments.names)?;
    let mut soak = Soak { root, program, scratch: Scratch::create()?, table: Table::default() };
    soak.run(Plan::new(rows), Duration::from_secs(arguments.minutes * 60));
    println!("\n{}", soak.table);
    Ok(if soak.table.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Soak {
    root: PathBuf,
    program: Program,
    scratch: Scratch,
    table: Table,
}

impl Soak {
    /// The rows of the service first, so that it is gone when the agents are measured.
    fn run(&mut self, mut plan: Plan, time: Duration) {
        for needs in [Needs::Stack, Needs::Fuzzer, Needs::Agent] {
            if !plan.needs(needs) {
                continue;
            }
            let outcome = match needs {
                Needs::Stack => self.stack(&mut plan, time),
                Needs::Fuzzer => self.fuzzers(&mut plan, time),
                Needs::Agent => self.agents(&mut plan, time),
            };
            let Err(error) = outcome else { continue };
            say(&format!("{error:#}"));
            self.table.add(needs.name(), Err(error));
            // What has not run by now cannot.
            while let Some((row, _)) = plan.next(needs) {
                self.table.add(&row.name, Err(anyhow!("it did not run")));
            }
        }
    }

    fn stack(&mut self, plan: &mut Plan, time: Duration) -> Result<()> {
        let tools = setup::run()?;
        let issuer = Issuer::generate(&artifacts::target(&self.root).join("debug/cabana-test-issuer"))?;
        let variables = issuer.variables.clone();
        let options = Options {
            port: None,
            engine: Engine::Cabana,
            profile: Profile::Release,
            wasm_opt: WasmOpt::Run,
            log: false,
            testing: true,
            internet: true,
            kernels: None,
            variables,
        };
        let mut stack = Stack::launch(&tools, options)?;
        let environment = Environment::of_stack(&stack, &issuer.write(stack.directory())?);
        plan.start(time);
        self.rows(plan, Needs::Stack, &environment);
        let services = stack.check();
        stack.stop();
        services.context("a service ended while the rows ran")
    }

    fn fuzzers(&mut self, plan: &mut Plan, time: Duration) -> Result<()> {
        fuzzers::prepare()?;
        plan.start(time);
        while let Some((row, share)) = plan.next(Needs::Fuzzer) {
            self.table.add(&row.name, fuzzers::run(&self.root, share));
        }
        Ok(())
    }

    fn agents(&mut self, plan: &mut Plan, time: Duration) -> Result<()> {
        let environment = Environment::of_agent(&artifacts::build_programs(Profile::Release)?.agent, &self.scratch.path)?;
        plan.start(time);
        self.rows(plan, Needs::Agent, &environment);
        Ok(())
    }

    fn rows(&mut self, plan: &mut Plan, needs: Needs, environment: &Environment) {
        while let Some((row, share)) = plan.next(needs) {
            say(&format!(" . {:<18} for {} s at most", row.name, share.as_secs()));
            self.table.add(&row.name, self.program.run(&row.name, share, environment, &self.scratch));
        }
    }
}

/// Builds the program with the rows, and the issuer of the service's tokens.
fn build(root: &Path) -> Result<PathBuf> {
    Step::run("rows", |step| {
        let mut build = Command::new(artifacts::cargo());
        build.current_dir(root).args(["build", "--package", "cabana-tests", "--bins"]);
        let target = artifacts::target(root);
        shell::run_logged(&mut build, &target.join("xtask/soak.log"), step, None)?;
        Ok((Outcome::Done("built".to_owned()), target.join("debug/cabana-soak")))
    })
}

/// A directory for all that the rows write. However this program ends, its guard ends what runs in it and removes it.
struct Scratch {
    path: PathBuf,
    guard: Guard,
}

impl Scratch {
    fn create() -> Result<Self> {
        let path = artifacts::target(&paths::repository()?).join("soak").join(std::process::id().to_string());
        if path.exists() {
            bail!("{} is there already: remove it", path.display());
        }
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        let guard = Guard::start(&path)?;
        Ok(Self { path, guard })
    }
}
