//! The task that owns a session's shell: it has the shell run one command after the other, until one of them ends.

use std::{sync::Arc, time::Duration};

use cabana_protocol::{Error, Signal, session};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    fifo::{Console, Directory},
    run::{Command, Run},
    script,
};
use crate::process::{Shell, TreeEnd, tree};

/// A command whose turn has come.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) command: Command,
    /// Told when it runs, or why it cannot.
    pub(super) begun: oneshot::Sender<Result<(), Error>>,
    /// Dropped when the next one's turn has come.
    pub(super) permit: OwnedSemaphorePermit,
}

/// What connects a session with everybody else.
#[derive(Debug)]
pub(super) struct SessionContext {
    /// Set when the session is to end.
    pub(super) end: CancellationToken,
    /// Set when the agent ends.
    pub(super) agent_ends: CancellationToken,
    /// Takes over what outlives a command.
    pub(super) tasks: TaskTracker,
    /// How long what is ended may take after SIGTERM.
    pub(super) grace: Duration,
    /// Those that wait for their turn; closed when there will be none.
    pub(super) turns: Arc<Semaphore>,
}

impl SessionContext {
    /// Whether the session, or the agent, is to end.
    pub(super) fn must_end(&self) -> bool {
        self.end.is_cancelled() || self.agent_ends.is_cancelled()
    }
}

/// A shell and its surroundings.
#[derive(Debug)]
pub(super) struct SessionTask {
    pub(super) shell: Shell,
    pub(super) kind: session::Shell,
    pub(super) directory: Arc<Directory>,
    pub(super) console: Console,
    pub(super) context: SessionContext,
    /// How many commands have been begun.
    pub(super) runs: u64,
    /// `$?`, as the last command left it.
    pub(super) status: i32,
}

impl SessionTask {
    /// Sees the session through to its end. `ready` is told when the shell reads, and dropped if it never does.
    pub(super) async fn run(mut self, mut turns: mpsc::Receiver<Turn>, ready: oneshot::Sender<()>) {
        if self.open().await {
            let _ = ready.send(());
            while let Some(turn) = self.next(&mut turns).await {
                self.take(turn, &mut turns).await;
            }
        }
        self.context.turns.close();
        self.close().await;
    }

    /// Whether the shell has come to read what it is told.
    async fn open(&mut self) -> bool {
        if self.console.tell(&script::first(self.kind, self.directory.path())).is_err() {
            return false;
        }
        tokio::select! {
            report = self.console.report() => report.is_ok(),
            _ = self.shell.wait() => false,
            () = self.context.end.cancelled() => false,
            () = self.context.agent_ends.cancelled() => false,
        }
    }

    /// The next turn; `None` when the session is to end, or the shell has.
    async fn next(&mut self, turns: &mut mpsc::Receiver<Turn>) -> Option<Turn> {
        tokio::select! {
            biased;
            _ = self.shell.wait() => None,
            () = self.context.end.cancelled() => None,
            () = self.context.agent_ends.cancelled() => None,
            turn = turns.recv() => turn,
        }
    }

    /// Runs a command.
    async fn take(&mut self, turn: Turn, turns: &mut mpsc::Receiver<Turn>) {
        let Turn { command, begun, permit } = turn;
        let (tasks, everyone) = (self.context.tasks.clone(), Arc::clone(&self.context.turns));
        match Run::begin(self, command).await {
            Ok(supervisor) => {
                let _ = begun.send(Ok(()));
                let epilogue = supervisor.run().await;
                self.status = epilogue.code().unwrap_or(0);
                if epilogue.session_ended() {
                    // Before anybody hears of the end.
                    everyone.close();
                    turns.close();
                }
                tasks.spawn(epilogue.run());
                Run::clean_up(self).await;
            }
            Err(error) => drop(begun.send(Err(error))),
        }
        drop(permit);
    }

    /// Ends the shell and all that it has started, unless it has ended by itself.
    async fn close(mut self) {
        if !self.shell.runs() {
            return;
        }
        // An interactive shell ignores SIGTERM.
        self.shell.signal(Signal::HUP);
        if tree::end(self.shell.members(), self.context.grace).await == TreeEnd::Gone {
            self.shell.wait().await;
            return;
        }
        let (tasks, agent_ends) = (self.context.tasks.clone(), self.context.agent_ends.clone());
        let linger = async move {
            tree::keep_killing(self.shell.members()).await;
            self.shell.wait().await;
        };
        tasks.spawn(async move { agent_ends.run_until_cancelled(linger).await });
    }
}
