//! The task that owns one container.

use std::time::SystemTime;

use rustix::process::Signal;
use tokio::time::Instant;

use super::Ends;
use super::control::{Control, Reply};
use super::state::State;
use super::workload::Workload;
use crate::engine::{Engine, EngineError};

/// Runs a container until it is removed.
pub async fn run(engine: Engine, ends: Ends) {
    let task = Task { engine, ends, workload: None, kill_at: None, removing: false };
    task.run().await;
}

struct Task {
    engine: Engine,
    ends: Ends,
    workload: Option<Workload>,
    /// When a stop's grace ends.
    kill_at: Option<Instant>,
    /// Whether to remove the container as soon as it does not run.
    removing: bool,
}

impl Task {
    async fn run(mut self) {
        while !(self.removing && self.workload.is_none()) {
            tokio::select! {
                control = self.ends.controls.recv() => match control {
                    Some(control) => self.obey(control).await,
                    // Every handle is dropped: nobody can ever ask for it again.
                    None => self.begin_removal(),
                },
                code = ended(&mut self.workload) => self.exited(code),
                () = reached(self.kill_at) => {
                    self.kill_at = None;
                    self.signal(Signal::KILL);
                }
            }
        }
        self.engine.forget(&self.ends.identity);
        self.ends.state.send_modify(|state| *state = state.removed());
    }

    async fn obey(&mut self, control: Control) {
        match control {
            Control::Start(reply) => {
                let outcome = self.start().await;
                answer(reply, outcome);
            }
            Control::Kill { signal, reply } => {
                let outcome = self.running().map(|workload| workload.signal(signal));
                answer(reply, outcome);
            }
            Control::Stop { grace, reply } => {
                let outcome = self.running().map(|workload| workload.signal(Signal::TERM));
                if outcome.is_ok() {
                    self.kill_at = Some(Instant::now() + grace);
                }
                answer(reply, outcome);
            }
            Control::Remove { force, reply } => answer(reply, self.remove(force)),
            Control::Network(reply) => {
                let network = self.running().map(|workload| workload.network());
                answer(reply, network);
            }
        }
    }

    async fn start(&mut self) -> Result<(), EngineError> {
        if self.workload.is_some() {
            return Err(EngineError::AlreadyStarted);
        }
        let workload = Workload::start(&self.engine, &self.ends.identity).await?;
        let (pid, port) = (workload.pid(), workload.host_port());
        self.workload = Some(workload);
        self.change(|state| state.started(pid, port, SystemTime::now()));
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Workload, EngineError> {
        let name = &self.ends.identity.name;
        self.workload.as_mut().ok_or_else(|| EngineError::NotRunning(name.clone()))
    }

    fn remove(&mut self, force: bool) -> Result<(), EngineError> {
        if self.workload.is_some() && !force {
            return Err(EngineError::Running(self.ends.identity.name.clone()));
        }
        self.begin_removal();
        Ok(())
    }

    fn begin_removal(&mut self) {
        self.removing = true;
        self.signal(Signal::KILL);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(workload) = &mut self.workload {
            workload.signal(signal);
        }
    }

    fn exited(&mut self, code: i32) {
        let name = &self.ends.identity.name;
        tracing::info!(container = name, code, "exited");
        self.workload = None;
        self.kill_at = None;
        self.change(|state| state.exited(code, SystemTime::now()));
    }

    fn change(&self, step: impl FnOnce(&State) -> Option<State>) {
        self.ends.state.send_if_modified(|state| match step(state) {
            Some(next) => {
                *state = next;
                true
            }
            None => false,
        });
    }
}

/// Answers; a client that has gone misses nothing.
fn answer<T>(reply: Reply<T>, outcome: Result<T, EngineError>) {
    let _ = reply.send(outcome);
}

async fn ended(workload: &mut Option<Workload>) -> i32 {
    match workload {
        Some(workload) => workload.ended().await,
        None => std::future::pending().await,
    }
}

async fn reached(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
