//! The parts that need the whole service: one service is started for all of them.

use super::build::Built;
use super::generators::Generators;
use super::issuer::Issuer;
use super::plan::{Plan, Target};
use super::report::{Ran, Report};
use super::suite::Suite;
use super::suites::Suites;
use super::{Part, Run, api, clients, required};
use crate::artifacts::{self, Profile, Programs, WasmOpt};
use crate::dev::interrupt::Interrupt;
use crate::dev::stack::{self, Engine, Layout, Options, Stack};
use crate::progress::Step;
use crate::setup::{self, Tools};
use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

/// The cases of the smoke pass over the release build: commands, their output and their end.
const SMOKE: &str = "exec::";

/// The Worker as it is deployed, and the tools that run it.
pub(super) struct Worker {
    pub(super) tools: Tools,
    pub(super) directory: PathBuf,
}

/// What the parts wait for. Where it never comes, the one to send it has counted a failure.
pub(super) struct Inputs {
    /// Debug builds of everything.
    pub(super) built: Receiver<Arc<Built>>,
    /// Closes when nothing else runs cases any more.
    pub(super) turn: Receiver<()>,
    /// The programs as they ship.
    pub(super) release: Receiver<Programs>,
}

impl Inputs {
    fn await_turn(&self) {
        // Nothing is ever sent: the other end is dropped.
        let _ = self.turn.recv();
    }
}

/// A running service, and what its cases are told of it.
struct Service {
    stack: Stack,
    issuer: Issuer,
    required: String,
    browser: Option<PathBuf>,
}

impl Run {
    /// Builds the Worker while other parts run, starts the service, and tests it. Returns the Worker.
    pub(super) fn service(&self, report: &Report, inputs: &Inputs) -> Option<Worker> {
        let made = report.need("worker", || self.build_worker())?;
        let Worker { tools, directory: worker } = &made;
        let built = inputs.built.recv().ok()?;
        if self.wants_any(&[Part::Deploy, Part::Api, Part::Suites, Part::Clients, Part::Stack]) {
            let started =
                report.need("start the stack", || self.start(tools, worker, &built, &built.programs, Profile::Dev, &[]));
            if let Some(mut service) = started {
                self.examine(report, inputs, tools, &built, &service);
                if let Err(ended) = service.stack.check() {
                    report.check("services", |_| Err(ended));
                }
                service.stack.stop();
            }
        }
        if self.wants_any(&[Part::Release])
            && let Ok(programs) = inputs.release.recv()
        {
            inputs.await_turn();
            report.cases("release smoke", |step| self.smoke(tools, worker, &built, &programs, step));
        }
        Some(made)
    }

    /// The Worker as it is deployed, in a place of its own.
    fn build_worker(&self) -> Result<Worker> {
        let tools = setup::run()?;
        let directory = artifacts::target(&self.root).join("xtask/worker");
        artifacts::build_worker_into(&tools, &directory, WasmOpt::Run)?;
        Ok(Worker { tools, directory })
    }

    /// Starts the service with these variables of the Worker's beside those of the issuer.
    fn start(
        &self,
        tools: &Tools,
        worker: &Path,
        built: &Built,
        programs: &Programs,
        profile: Profile,
        more: &[(&str, &str)],
    ) -> Result<Service> {
        let browser = if self.wants_any(&[Part::Stack]) { setup::provide_browser().ok() } else { None };
        let issuer = Issuer::generate(&built.issuer)?;
        let mut variables = issuer.variables.clone();
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let options = Options {
            port: None,
            engine: Engine::Cabana,
            profile,
            wasm_opt: WasmOpt::Run,
            log: false,
            testing: true,
            internet: true,
            kernels: Some(setup::provide_kernels()?),
            variables,
        };
        let layout = Layout::create()?;
        layout.copy_programs(programs)?;
        layout.copy_worker(tools, worker, &options)?;
        let stack = layout.start(tools, &options, &Interrupt::never())?;
        let mut required = required::of_machine();
        required.extend(["issuer", "engine", "ssh"]);
        required.extend(browser.as_ref().map(|_| "chromium"));
        Ok(Service { stack, issuer, required: required.join(","), browser })
    }

    /// Rehearses a deployment and fuzzes the API, and runs the cases beside it once it is their turn; those that must be alone, last.
    fn examine(&self, report: &Report, inputs: &Inputs, tools: &Tools, built: &Built, service: &Service) {
        thread::scope(|scope| {
            let others = scope.spawn(|| {
                if self.wants_any(&[Part::Deploy]) {
                    report.check("deploy --dry-run", |step| self.rehearse_deployment(tools, &service.stack, step));
                }
                if self.wants_any(&[Part::Api]) {
                    self.api(report, &service.stack);
                }
                // Their checks assert times, and all together take as long as the cases do: only a run that names them has the machine for it.
                if self.parts.contains(&Part::Suites) {
                    self.generators(report, tools, &service.stack);
                    self.suites(report, &service.stack);
                }
                if self.wants_any(&[Part::Clients]) {
                    clients::run(&self.root, report, tools, &built.command, &service.stack);
                }
            });
            if !self.wants_any(&[Part::Stack]) || report.need("programs of stack", setup::provide_programs).is_none() {
                return;
            }
            inputs.await_turn();
            if service.browser.is_none() {
                report.need("browser", setup::provide_browser);
            }
            let mut others = Some(others);
            report.cases("stack", |step| {
                let suite = self.service_suite(built, service, "stack")?;
                let plan = Plan::new(&suite.list()?, Target::Stack);
                let mut tally = suite.run(&plan.parallel, step)?;
                // The serial cases are alone on the machine.
                join(others.take());
                tally.add(suite.run_serially(&plan.serial, step)?);
                Ok(Ran { tally, elsewhere: plan.elsewhere })
            });
            join(others.take());
            report.cases("outages", |step| {
                let suite = self.service_suite(built, service, "outages")?;
                let plan = Plan::new(&suite.list()?, Target::Stack);
                Ok(Ran { tally: suite.run_serially(&plan.outages, step)?, elsewhere: 0 })
            });
        });
    }

    /// Some cases against agent and engine as they ship, in a deployment without internet.
    fn smoke(&self, tools: &Tools, worker: &Path, built: &Built, programs: &Programs, step: &Step) -> Result<Ran> {
        let offline = [("CABANA_INTERNET", "false")];
        let mut service = self.start(tools, worker, built, programs, Profile::Release, &offline)?;
        let ran = service.stack.first_command().and_then(|_| {
            let suite = self.service_suite(built, &service, "release-smoke")?;
            let plan = Plan::new(&suite.list()?, Target::Stack);
            let mut cases = plan.parallel;
            cases.retain(|case| case.starts_with(SMOKE));
            cases.extend(plan.offline);
            Ok(Ran { tally: suite.run(&cases, step)?, elsewhere: 0 })
        });
        service.stack.stop();
        ran
    }

    fn service_suite<'a>(&self, built: &'a Built, service: &Service, name: &str) -> Result<Suite<'a>> {
        let issuer = service.issuer.write(service.stack.directory())?;
        let mut environment = vec![
            ("CABANA_TEST_TARGET", "stack".into()),
            ("CABANA_TEST_URL", service.stack.url().into()),
            ("CABANA_TEST_API_KEY", service.stack.api_key().into()),
            ("CABANA_TEST_ISSUER", issuer.into()),
            ("CABANA_TEST_CLI", built.command.as_path().into()),
            (required::VARIABLE, service.required.as_str().into()),
        ];
        environment.extend(service.browser.as_ref().map(|browser| ("CABANA_TEST_CHROMIUM", browser.into())));
        if name == "outages" {
            environment.push(("CABANA_TEST_OUTAGES", "1".into()));
        }
        self.suite(&built.integration, environment, name)
    }

    fn api(&self, report: &Report, running: &Stack) {
        let Some(tools) = report.need("tools for the API", setup::provide_api_tools) else { return };
        report.check("openapi", |step| api::validate(&tools, &self.root, step));
        report.check("schemathesis", |step| api::fuzz(&tools, &self.root, running, step));
    }

    /// Runs other people's test suites, by adapters.
    fn suites(&self, report: &Report, running: &Stack) {
        let Some(python) = report.need("suites of others", setup::provide_suites) else { return };
        let Some(suites) = report.need("adapters", || Suites::new(python, &self.root, running)) else { return };
        report.check("suite of LangChain", |step| suites.langchain(step));
        report.check("suite of Inspect", |step| suites.inspect(step));
        report.check("suite of Jupyter", |step| suites.jupyter(step));
        report.check("suite of SWE-ReX", |step| suites.swe_rex(step));
    }

    /// Has generators make clients, which call every operation.
    fn generators(&self, report: &Report, tools: &Tools, running: &Stack) {
        let Some(programs) = report.need("generators of clients", || setup::provide_generators(&tools.node)) else { return };
        let Some(generators) = report.need("clients", || Generators::new(programs, &self.root, running)) else { return };
        report.check("client of openapi-typescript", |step| generators.openapi_typescript(step));
        report.check("client of hey-api", |step| generators.hey_api(step));
        report.check("client of openapi-python-client", |step| generators.python_client(step));
    }

    /// Everything `wrangler deploy` does before it talks to Cloudflare, and the size of what it would send.
    fn rehearse_deployment(&self, tools: &Tools, running: &Stack, step: &Step) -> Result<()> {
        let output = running.directory().join("deployment");
        let mut deploy = stack::wrangler(tools, &self.root, running.directory());
        running.point_at_engine(&mut deploy)?;
        deploy.args(["deploy", "--dry-run", "--outdir"]).arg(output);
        let log = artifacts::log(&self.root, "deploy");
        shell::run_logged(&mut deploy, &log, step, None)?;
        artifacts::size::check(&fs::read_to_string(&log).context("read what wrangler has printed")?)
    }
}

/// Builds agent and engine as they ship, at a low priority: cases run meanwhile.
pub(super) fn build_release(report: &Report) -> Option<Programs> {
    report.need("release build", || {
        rustix::process::nice(10)?;
        artifacts::build_programs(Profile::Release)
    })
}

/// Waits for a thread, if it has not been waited for, and panics as it did.
fn join(thread: Option<thread::ScopedJoinHandle<'_, ()>>) {
    if let Some(Err(panic)) = thread.map(thread::ScopedJoinHandle::join) {
        panic::resume_unwind(panic);
    }
}
