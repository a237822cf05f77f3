//! The task that owns one container.

use std::time::SystemTime;

use rustix::process::Signal;
use tokio::time::Instant;

use super::TaskChannels;
use super::command::{Command, OutcomeSender};
use super::state::State;
use super::workload::Workload;
use crate::engine::{Engine, EngineError};

/// Runs a container until it is removed.
pub async fn run(engine: Engine, channels: TaskChannels) {
    let task = Task { engine, channels, workload: None, kill_at: None, removing: false };
    task.run().await;
}

struct Task {
    engine: Engine,
    channels: TaskChannels,
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
                command = self.channels.commands.recv() => match command {
                    Some(command) => self.handle(command).await,
                    // Every handle is dropped: no further command can come.
                    None => self.begin_removal(),
                },
                code = wait_for(&mut self.workload) => self.exited(code),
                () = sleep_until(self.kill_at) => {
                    self.kill_at = None;
                    self.signal(Signal::KILL);
                }
            }
        }
        self.engine.release_name(&self.channels.identity);
        self.channels.state.send_modify(|state| *state = state.removed());
    }

    async fn handle(&mut self, command: Command) {
        match command {
            Command::Start(sender) => {
                let outcome = self.start().await;
                send(sender, outcome);
            }
            Command::Kill { signal, outcome: sender } => {
                let outcome = self.running().map(|workload| workload.signal(signal));
                send(sender, outcome);
            }
            Command::Stop { grace, outcome: sender } => {
                let outcome = self.running().map(|workload| workload.signal(Signal::TERM));
                if outcome.is_ok() {
                    self.kill_at = Some(Instant::now() + grace);
                }
                send(sender, outcome);
            }
            Command::Remove { force, outcome } => send(outcome, self.remove(force)),
            Command::Network(sender) => {
                let network = self.running().map(|workload| workload.network());
                send(sender, network);
            }
            Command::Changes(sender) => {
                let name = self.channels.identity.name.clone();
                let changes = self.running().and_then(|workload| workload.changes().ok_or(EngineError::NoChanges(name)));
                send(sender, changes);
            }
        }
    }

    async fn start(&mut self) -> Result<(), EngineError> {
        if self.workload.is_some() {
            return Err(EngineError::AlreadyStarted);
        }
        let workload = Workload::start(&self.engine, &self.channels.identity).await?;
        let (pid, port) = (workload.pid(), workload.host_port());
        self.workload = Some(workload);
        self.transition(|state| state.started(pid, port, SystemTime::now()));
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Workload, EngineError> {
        let name = &self.channels.identity.name;
        self.workload.as_mut().ok_or_else(|| EngineError::NotRunning(name.clone()))
    }

    fn remove(&mut self, force: bool) -> Result<(), EngineError> {
        if self.workload.is_some() && !force {
            return Err(EngineError::Running(self.channels.identity.name.clone()));
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
        let name = &self.channels.identity.name;
        tracing::info!(container = name, code, "exited");
        self.workload = None;
        self.kill_at = None;
        self.transition(|state| state.exited(code, SystemTime::now()));
    }

    fn transition(&self, step: impl FnOnce(&State) -> Option<State>) {
        self.channels.state.send_if_modified(|state| match step(state) {
            Some(next) => {
                *state = next;
                true
            }
            None => false,
        });
    }
}

/// Sends an outcome. The client may have disconnected.
fn send<T>(sender: OutcomeSender<T>, outcome: Result<T, EngineError>) {
    let _ = sender.send(outcome);
}

async fn wait_for(workload: &mut Option<Workload>) -> i32 {
    match workload {
        Some(workload) => workload.wait().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
