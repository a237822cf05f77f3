//! Containers of the Docker Engine API: sandboxes and their sidecars.
//!
//! ```text
//! spec.rs      what a client requested (plain data)
//! state.rs     created, running, exited, removed (pure)
//! command.rs   the commands that a container's task takes
//! task.rs      the task that owns a container
//! upload.rs    files placed before the start
//! workload.rs  what runs: a sandbox or a sidecar
//! inspect.rs   the container as JSON
//! ```
//!
//! [`Container`] is a cheap handle. Its task ends when the container is removed. Dropping a handle stops nothing.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::EngineError;
use crate::image::Image;
use crate::network::Network;

pub mod command;
pub mod inspect;
pub mod spec;
pub mod state;
pub mod task;
pub mod upload;
pub mod workload;

use command::Command;
use spec::Spec;
use state::{Condition, Running, State};
use upload::UploadedFile;
use workload::Changes;

/// Capacity of the queue of a container's commands.
const COMMANDS: usize = 16;

/// A handle to one container.
#[derive(Clone, Debug)]
pub struct Container {
    identity: Arc<Identity>,
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
}

/// Limit of all files that are placed in a container before it starts, in bytes.
const UPLOADS: usize = 1024 * 1024;

/// What never changes about a container.
#[derive(Debug)]
pub struct Identity {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Unique among the engine's containers.
    pub name: String,
    /// When it was created.
    pub created: SystemTime,
    /// What was requested.
    pub spec: Spec,
    /// The image when it was created: its layers stay as long as the container does.
    pub image: Image,
    uploads: Mutex<Vec<UploadedFile>>,
}

impl Identity {
    /// The files to place in it at its start. They may still grow until then.
    pub fn uploads(&self) -> Vec<UploadedFile> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first 12 digits of the id.
    pub fn short_id(&self) -> &str {
        &self.id[..12]
    }
}

/// The ends of a container's channels that its task owns.
pub struct TaskChannels {
    /// What never changes.
    pub identity: Arc<Identity>,
    /// The commands to carry out.
    pub commands: mpsc::Receiver<Command>,
    /// Where it publishes its state.
    pub state: watch::Sender<State>,
}

impl Container {
    /// A handle in state `created`, and what its task needs.
    pub fn new(name: String, spec: Spec, image: Image) -> (Self, TaskChannels) {
        let (id, created, uploads) = (crate::id::random_hex(), SystemTime::now(), Mutex::default());
        let identity = Arc::new(Identity { id, name, created, spec, image, uploads });
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (sender, state) = watch::channel(State::Created);
        let channels = TaskChannels { identity: identity.clone(), commands: receiver, state: sender };
        (Self { identity, commands, state }, channels)
    }

    /// What never changes.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its current state.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Places files in it: at once if it runs, and at its next start otherwise, in addition to earlier ones.
    pub async fn upload(&self, files: Vec<UploadedFile>) -> Result<(), EngineError> {
        if let State::Running(Running { pid, .. }) = self.state() {
            let written = tokio::task::spawn_blocking(move || {
                let root = File::open(format!("/proc/{pid}/root"))?;
                upload::write(root.as_fd(), &files)
            });
            return written.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(EngineError::Upload);
        }
        let mut uploads = self.identity.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let size = uploads.iter().chain(&files).map(|file| file.content.len()).sum::<usize>();
        if size > UPLOADS {
            return Err(EngineError::UploadTooLarge);
        }
        uploads.extend(files);
        Ok(())
    }

    /// Starts it, and returns when the agent executes (or the sidecar listens). A container that has exited starts again
    /// without its earlier files.
    pub async fn start(&self) -> Result<(), EngineError> {
        self.send(Command::Start).await?
    }

    /// Sends a signal. After SIGKILL it returns when the container has exited.
    pub async fn kill(&self, signal: Signal) -> Result<(), EngineError> {
        self.send(|outcome| Command::Kill { signal, outcome }).await??;
        if signal == Signal::KILL {
            self.wait(Condition::NotRunning).await;
        }
        Ok(())
    }

    /// Sends SIGTERM, after `grace` SIGKILL, and returns when the container has exited.
    pub async fn stop(&self, grace: Duration) -> Result<(), EngineError> {
        self.send(|outcome| Command::Stop { grace, outcome }).await??;
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
        self.send(|outcome| Command::Remove { force, outcome }).await?
    }

    /// The network it runs in.
    pub async fn network(&self) -> Result<Arc<Network>, EngineError> {
        self.send(Command::Network).await?
    }

    /// What it has changed of its files so far.
    pub async fn changes(&self) -> Result<Changes, EngineError> {
        self.send(Command::Changes).await?
    }

    /// Waits until the condition holds; returns the exit code.
    pub async fn wait(&self, condition: Condition) -> i32 {
        let mut state = self.state.clone();
        let first = state.borrow().exits();
        let met = state.wait_for(|state| state.satisfies(condition, first)).await.map(|state| state.exit_code());
        // The task has ended, so the container is removed.
        met.unwrap_or_else(|_| self.state.borrow().exit_code())
    }

    /// Sends a command to the task and waits for its outcome.
    async fn send<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, EngineError> {
        let removed = || EngineError::NoSuchContainer(self.identity.name.clone());
        let (sender, outcome) = oneshot::channel();
        self.commands.send(command(sender)).await.map_err(|_| removed())?;
        outcome.await.map_err(|_| removed())
    }
}
