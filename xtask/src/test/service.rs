//! The parts that need the whole service: one service is started for all of them.

use super::build::Built;
use super::issuer::Issuer;
use super::plan::{Plan, Target};
use super::report::{Ran, Report};
use super::suite::Suite;
use super::{Part, Run, api, required};
use crate::artifacts::{self, Profile, Programs, WasmOpt};
use crate::dev::interrupt::Interrupt;
use crate::dev::stack::{self, Engine, Layout, Options, Stack};
use crate::progress::Step;
use crate::setup::{self, Tools};
use crate::shell;
use anyhow::Result;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

/// The cases of the smoke pass over the release build: commands, their output and their end.
const SMOKE: &str = "exec::";

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
    /// Builds the Worker while other parts run, starts the service, and tests it.
    pub(super) fn service(&self, report: &Report, inputs: &Inputs) {
        let Some((tools, worker)) = report.need("worker", || self.build_worker()) else { return };
        let Ok(built) = inputs.built.recv() else { return };
        if self.wants_any(&[Part::Deploy, Part::Api, Part::Stack]) {
            let started = report.need("start the stack", || self.start(&tools, &worker, &built, &built.programs, Profile::Dev));
            if let Some(mut service) = started {
                self.examine(report, inputs, &tools, &built, &service);
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
            report.cases("release smoke", |step| self.smoke(&tools, &worker, &built, &programs, step));
        }
    }

    /// The Worker as it is deployed, in a place of its own.
    fn build_worker(&self) -> Result<(Tools, PathBuf)> {
        let tools = setup::run()?;
        let worker = artifacts::target(&self.root).join("xtask/worker");
        artifacts::build_worker_into(&tools, &worker, WasmOpt::Run)?;
        Ok((tools, worker))
    }

    fn start(&self, tools: &Tools, worker: &Path, built: &Built, programs: &Programs, profile: Profile) -> Result<Service> {
        let browser = if self.wants_any(&[Part::Stack]) { setup::provide_browser().ok() } else { None };
        let issuer = Issuer::generate(&built.issuer)?;
        let variables = issuer.variables.clone();
        let options =
            Options { port: None, engine: Engine::Cabana, profile, wasm_opt: WasmOpt::Run, log: false, testing: true, variables };
        let layout = Layout::create()?;
        layout.copy_programs(programs)?;
        layout.copy_worker(tools, worker)?;
        let stack = layout.start(tools, &options, &Interrupt::never())?;
        let mut required = required::of_machine();
        required.extend(["issuer", "engine"]);
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

    /// Some cases against agent and engine as they ship.
    fn smoke(&self, tools: &Tools, worker: &Path, built: &Built, programs: &Programs, step: &Step) -> Result<Ran> {
        let mut service = self.start(tools, worker, built, programs, Profile::Release)?;
        let ran = service.stack.first_command().and_then(|_| {
            let suite = self.service_suite(built, &service, "release-smoke")?;
            let mut cases = Plan::new(&suite.list()?, Target::Stack).parallel;
            cases.retain(|case| case.starts_with(SMOKE));
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

    /// Everything `wrangler deploy` does before it talks to Cloudflare.
    fn rehearse_deployment(&self, tools: &Tools, running: &Stack, step: &Step) -> Result<()> {
        let output = running.directory().join("deployment");
        let mut deploy = stack::wrangler(tools, &self.root, running.directory());
        running.point_at_engine(&mut deploy)?;
        deploy.args(["deploy", "--dry-run", "--outdir"]).arg(output);
        shell::run_logged(&mut deploy, &artifacts::log(&self.root, "deploy"), step, None)
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
