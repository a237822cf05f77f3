//! A context, as everybody but its owner sees it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use cabana_protocol::{
    Code, Error,
    code::{self, ContextState, Notebook, RunResult},
    exec::Exit,
};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    history::History,
    kernel::Launch,
    output::{Outlet, Sink},
};
use crate::limits;

/// Cells that may wait for their turn in one context.
pub(super) const WAITING: usize = 64;

/// A context.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) id: String,
    pub(super) name: Option<String>,
    /// What it was made by.
    pub(super) launch: Launch,
    /// It runs cells of its language that name no context.
    pub(super) is_default: bool,
    created_at: SystemTime,
    status: Mutex<Status>,
    /// Gives a cell to the owner.
    cells: mpsc::Sender<CellRequest>,
    /// Asks the owner for something else.
    commands: mpsc::Sender<Command>,
    /// Set when it is to end.
    pub(super) end: CancellationToken,
    /// What its cells have shown.
    pub(super) history: Arc<Mutex<History>>,
    /// Whether its first kernel answers, or why not.
    ready: watch::Sender<Option<Result<(), Error>>>,
    /// It was idle for too long.
    reaped: AtomicBool,
}

/// What changes of a context.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) state: ContextState,
    pub(super) kernel: String,
    pub(super) language_info: Value,
    pub(super) pid: Option<u32>,
    pub(super) exit: Option<Exit>,
    pub(super) execution_count: u32,
    pub(super) last_used_at: SystemTime,
}

/// A cell that is to be run.
pub(super) struct CellRequest {
    pub(super) code: String,
    pub(super) timeout: Duration,
    pub(super) settings: Settings,
    /// This run has made the context.
    pub(super) created: bool,
    /// Somebody may answer what the cell asks.
    pub(super) takes_input: bool,
    pub(super) sink: Sink,
    /// Answers to what the cell asks.
    pub(super) replies: mpsc::Receiver<String>,
    /// Set when nobody wants it any more.
    pub(super) cancel: CancellationToken,
    pub(super) answer: oneshot::Sender<Result<RunResult, Error>>,
}

/// What a kernel's process is to change before a cell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Its directory.
    pub(super) cwd: Option<std::path::PathBuf>,
    /// Its variables.
    pub(super) env: Vec<(String, Option<String>)>,
}

/// A cell, for its caller. Dropping this has it interrupted.
pub(super) struct RunningCell {
    pub(super) outlet: Outlet,
    pub(super) replies: mpsc::Sender<String>,
    pub(super) answer: oneshot::Receiver<Result<RunResult, Error>>,
    _interrupts: DropGuard,
}

/// Something that a context's owner is asked for.
pub(super) enum Command {
    /// To interrupt its cell; says whether one ran.
    Interrupt(oneshot::Sender<Result<bool, Error>>),
    /// To replace its kernel.
    Restart(oneshot::Sender<Result<(), Error>>),
    /// To ask the kernel something that is no cell: a request of this type with this content.
    Ask(&'static str, Value, oneshot::Sender<Result<Value, Error>>),
}

/// The owner's ends of a context.
pub(super) struct Ends {
    pub(super) cells: mpsc::Receiver<CellRequest>,
    pub(super) commands: mpsc::Receiver<Command>,
}

impl Context {
    /// One whose kernel is about to start.
    pub(super) fn new(id: String, name: Option<String>, launch: Launch, is_default: bool, history: History) -> (Arc<Self>, Ends) {
        let (cells, to_run) = mpsc::channel(WAITING);
        let (commands, asked) = mpsc::channel(4);
        let now = SystemTime::now();
        let status = Status {
            state: ContextState::Starting,
            kernel: String::new(),
            language_info: Value::Null,
            pid: None,
            exit: None,
            execution_count: 0,
            last_used_at: now,
        };
        let context = Self {
            id,
            name,
            launch,
            is_default,
            created_at: now,
            status: Mutex::new(status),
            cells,
            commands,
            end: CancellationToken::new(),
            history: Arc::new(Mutex::new(history)),
            ready: watch::Sender::new(None),
            reaped: AtomicBool::new(false),
        };
        (Arc::new(context), Ends { cells: to_run, commands: asked })
    }

    /// As callers see it.
    pub(super) fn describe(&self) -> code::Context {
        let time = |time| humantime::format_rfc3339_millis(time).to_string();
        let queued = u32::try_from(WAITING - self.cells.capacity()).unwrap_or(u32::MAX);
        self.with(|status| code::Context {
            context: self.id.clone(),
            name: self.name.clone(),
            language: self.launch.language.clone(),
            kernel: status.kernel.clone(),
            default: self.is_default,
            state: status.state,
            pid: status.pid,
            exit: status.exit,
            execution_count: status.execution_count,
            queued,
            created_at: time(self.created_at),
            last_used_at: time(status.last_used_at),
        })
    }

    /// Whether its kernel has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.with(|status| status.state == ContextState::Ended)
    }

    /// Whether its owner has gone.
    pub(super) fn is_gone(&self) -> bool {
        self.cells.is_closed()
    }

    /// Looks at its status, or changes it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Status) -> T) -> T {
        look(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its cells as a notebook.
    pub(super) fn notebook(&self) -> Notebook {
        let (kernel, language_info) = self.with(|status| (status.kernel.clone(), status.language_info.clone()));
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.notebook(&kernel, &self.launch.language, &language_info)
    }

    /// Puts a cell into its queue.
    ///
    /// Fails with `conflict` where its kernel has ended, `gone`, `too_many_requests`.
    pub(super) fn enqueue(
        &self,
        code: String,
        timeout: Duration,
        settings: Settings,
        created: bool,
        takes_input: bool,
        cancel: &CancellationToken,
    ) -> Result<RunningCell, Error> {
        if self.has_ended() {
            return Err(self.kernel_has_ended());
        }
        let ((sink, outlet), (replies, to_reply), (answer, answered)) = (Sink::new(), mpsc::channel(1), oneshot::channel());
        let cancel = cancel.child_token();
        let interrupts = cancel.clone().drop_guard();
        let request = CellRequest { code, timeout, settings, created, takes_input, sink, replies: to_reply, cancel, answer };
        self.cells.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => limits::reached(WAITING, "cells already wait for this context"),
            mpsc::error::TrySendError::Closed(_) => self.gone(),
        })?;
        Ok(RunningCell { outlet, replies, answer: answered, _interrupts: interrupts })
    }

    /// Asks its owner for something, and waits for the answer.
    ///
    /// Fails with `gone`, and as the owner does.
    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| self.gone())?;
        answered.await.map_err(|_| self.gone())?
    }

    /// Its first kernel answers, or why it does not. Only the first word counts.
    pub(super) fn note_ready(&self, ready: Result<(), Error>) {
        self.ready.send_if_modified(|known| {
            let is_new = known.is_none();
            known.get_or_insert(ready);
            is_new
        });
    }

    /// Waits until its first kernel answers.
    ///
    /// Fails where it does not start.
    pub(super) async fn ready(&self) -> Result<(), Error> {
        let mut ready = self.ready.subscribe();
        let known = ready.wait_for(Option::is_some).await.map_err(|_| self.gone())?;
        known.clone().unwrap_or(Ok(()))
    }

    /// Ends it, and waits until all that it had started is gone.
    pub(super) async fn end(&self) {
        self.end.cancel();
        self.cells.closed().await;
    }

    /// It ends because nobody has used it.
    pub(super) fn reap(&self) {
        self.reaped.store(true, Ordering::Relaxed);
    }

    /// The error for one that has ended.
    pub(super) fn gone(&self) -> Error {
        if self.reaped.load(Ordering::Relaxed) {
            let message = format!("context {:?} was ended because it had not been used for long; create a new one", self.id);
            return Error::new(Code::Gone, message).because("idle");
        }
        Error::new(Code::Gone, format!("context {:?} has ended; create a new one", self.id)).because("ended")
    }

    /// The error for one whose kernel has ended.
    pub(super) fn kernel_has_ended(&self) -> Error {
        let exit = self.with(|status| status.exit);
        let message =
            format!("the kernel of context {:?} has ended, and its variables are gone; restart it with code.restart", self.id);
        Error::new(Code::Conflict, message).with_details(serde_json::json!({ "reason": "kernel_ended", "exit": exit }))
    }
}
