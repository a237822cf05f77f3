//! Containers: what the Docker Engine API calls a container, be it a sandbox or its sidecar.
//!
//! ```text
//! spec.rs      what a client asked for (plain data)
//! state.rs     created, running, exited, removed (pure)
//! control.rs   what a container can be told
//! task.rs      the one owner of a container, which carries it out
//! workload.rs  what runs: a sandbox or a sidecar
//! inspect.rs   the container as JSON
//! ```
//!
//! [`Container`] is a cheap handle. Its task ends when the container is removed, and only then: a handle
//! that is dropped stops nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::EngineError;
use crate::network::Network;

pub mod control;
pub mod inspect;
pub mod spec;
pub mod state;
pub mod task;
pub mod workload;

use control::Control;
use spec::Spec;
use state::{Condition, State};

/// Controls that may wait for a container's task.
const CONTROLS: usize = 16;

/// A handle to one container.
#[derive(Clone, Debug)]
pub struct Container {
    identity: Arc<Identity>,
    controls: mpsc::Sender<Control>,
    state: watch::Receiver<State>,
}

/// What never changes about a container.
#[derive(Debug)]
pub struct Identity {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Unique among the engine's containers.
    pub name: String,
    /// When it was created.
    pub created: SystemTime,
    /// What was asked for.
    pub spec: Spec,
}

impl Identity {
    /// The first 12 digits of the id.
    pub fn short_id(&self) -> &str {
        &self.id[..12]
    }
}

/// The ends of a container's channels that belong to its task.
pub struct Ends {
    /// What never changes.
    pub identity: Arc<Identity>,
    /// What it is told.
    pub controls: mpsc::Receiver<Control>,
    /// Where it announces its state.
    pub state: watch::Sender<State>,
}

impl Container {
    /// A handle in state `created`, and what its task needs.
    pub fn new(name: String, spec: Spec) -> (Self, Ends) {
        let identity = Arc::new(Identity { id: crate::id::random_hex(), name, created: SystemTime::now(), spec });
        let (controls, receiver) = mpsc::channel(CONTROLS);
        let (sender, state) = watch::channel(State::Created);
        let ends = Ends { identity: identity.clone(), controls: receiver, state: sender };
        (Self { identity, controls, state }, ends)
    }

    /// What never changes.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its present state.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Starts it, and returns when the agent executes (or the sidecar listens). One that has exited starts anew,
    /// without the files of its former life.
    pub async fn start(&self) -> Result<(), EngineError> {
        self.ask(Control::Start).await?
    }

    /// Sends a signal. After SIGKILL it returns when the container has exited.
    pub async fn kill(&self, signal: Signal) -> Result<(), EngineError> {
        self.ask(|reply| Control::Kill { signal, reply }).await??;
        if signal == Signal::KILL {
            self.wait(Condition::NotRunning).await;
        }
        Ok(())
    }

    /// Sends SIGTERM, after `grace` SIGKILL, and returns when the container has exited.
    pub async fn stop(&self, grace: Duration) -> Result<(), EngineError> {
        self.ask(|reply| Control::Stop { grace, reply }).await??;
        self.wait(Condition::NotRunning).await;
        Ok(())
    }

    /// Removes it; a running one only with `force`, by SIGKILL. Its name is free when this returns.
    pub async fn remove(&self, force: bool) -> Result<(), EngineError> {
        self.begin_removal(force).await?;
        self.wait(Condition::Removed).await;
        Ok(())
    }

    /// As [`Container::remove`], but returns as soon as the removal has begun.
    pub async fn begin_removal(&self, force: bool) -> Result<(), EngineError> {
        self.ask(|reply| Control::Remove { force, reply }).await?
    }

    /// The network it runs in.
    pub async fn network(&self) -> Result<Arc<Network>, EngineError> {
        self.ask(Control::Network).await?
    }

    /// Waits until the condition holds; returns the exit code.
    pub async fn wait(&self, condition: Condition) -> i32 {
        let mut state = self.state.clone();
        let first = state.borrow().exits();
        let met = state.wait_for(|state| state.meets(condition, first)).await.map(|state| state.exit_code());
        // The task is gone, hence the container removed.
        met.unwrap_or_else(|_| self.state.borrow().exit_code())
    }

    async fn ask<T>(&self, control: impl FnOnce(oneshot::Sender<T>) -> Control) -> Result<T, EngineError> {
        let gone = || EngineError::NoSuchContainer(self.identity.name.clone());
        let (reply, answer) = oneshot::channel();
        self.controls.send(control(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}
