//! What a supervisor supervises.

use std::sync::Arc;

use cabana_protocol::{
    Signal,
    exec::{Exit, Tty, Usage},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Oom, Outcome, OwnedChildren, TreeEnd,
    tree::{
        self, Members,
        kill::{Whom, send},
    },
};
use crate::process::child::{ChildHandle, Terminal};

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Its process group.
    Group,
    /// Everything that it started.
    Tree,
}

/// A child of the agent, or a script that a session's shell runs. They differ in how they end.
pub(crate) trait Target: Send {
    /// Waits until it has ended, by itself or as [`stop`](Self::stop) had it. Not called while a tree is signalled that it belongs to.
    /// Nothing is lost when the future is dropped.
    fn ended(&mut self) -> impl Future<Output = Outcome> + Send;

    /// Begins to end it, and says which tree is to be ended.
    fn stop(&mut self) -> Members;

    /// That tree has been ended. Gives an outcome where it cannot be waited for.
    fn settle(&mut self, end: TreeEnd) -> Option<Outcome>;

    /// Signals it, as far as that takes no look at its tree; gives the tree that is to be signalled too.
    fn signal(&mut self, signal: Signal, audience: Audience) -> Option<Members>;

    /// Gives its terminal another size, if it has one.
    fn resize(&self, _size: Tty) {}
}

/// A child as a target.
#[derive(Debug)]
pub(in crate::process) struct ChildTarget {
    /// `None` once it cannot be waited for any more.
    handle: Option<ChildHandle>,
    terminal: Option<Terminal>,
    /// Of everything that it starts.
    mark: String,
    owned: OwnedChildren,
    oom: Arc<Oom>,
    /// A caller has killed it.
    killed: bool,
    tasks: TaskTracker,
    agent_ends: CancellationToken,
}

impl ChildTarget {
    pub(in crate::process) fn new(
        handle: ChildHandle,
        terminal: Option<Terminal>,
        mark: String,
        (owned, oom): (OwnedChildren, Arc<Oom>),
        (tasks, agent_ends): (TaskTracker, CancellationToken),
    ) -> Self {
        Self { handle: Some(handle), terminal, mark, owned, oom, killed: false, tasks, agent_ends }
    }

    fn members(&self) -> Members {
        match &self.handle {
            Some(handle) => Members::Process { pid: handle.pid(), mark: self.mark.clone() },
            None => Members::Nobody,
        }
    }

    /// Whether the kernel's OOM killer killed it.
    fn judge(&self, exit: Exit) -> Exit {
        match exit {
            Exit::Signalled { signal: Signal::KILL } if !self.killed && self.oom.took_one() => Exit::OomKilled,
            // So a shell reports its child's end: that one was the victim, and no later process is to be taken for it.
            Exit::Exited { code: 137 } => {
                self.oom.took_one();
                exit
            }
            _ => {
                self.oom.observe();
                exit
            }
        }
    }
}

impl Target for ChildTarget {
    async fn ended(&mut self) -> Outcome {
        let Some(handle) = &self.handle else { return Outcome { exit: Exit::Lost, usage: None, session_ended: false } };
        let ended = handle.wait().await.ok();
        self.owned.release(handle.pid());
        self.handle = None;
        let (exit, usage): (Exit, Option<Usage>) = ended.map_or((Exit::Lost, None), |(exit, usage)| (exit, Some(usage)));
        Outcome { exit: self.judge(exit), usage, session_ended: false }
    }

    fn stop(&mut self) -> Members {
        // A caller's signal has killed it, and not the kernel.
        self.killed = true;
        if let (Some(_), Some(handle)) = (&self.terminal, &self.handle) {
            // An interactive shell ends at a hang-up, and ignores SIGTERM.
            send(Whom::Group(handle.pid()), Signal::HUP);
        }
        self.members()
    }

    fn settle(&mut self, end: TreeEnd) -> Option<Outcome> {
        if end == TreeEnd::Gone {
            return None;
        }
        let members = self.members();
        let (handle, owned) = (self.handle.take()?, self.owned.clone());
        let linger = async move {
            tree::keep_killing(members).await;
            let _ = handle.wait().await;
            owned.release(handle.pid());
        };
        let agent_ends = self.agent_ends.clone();
        self.tasks.spawn(async move { agent_ends.run_until_cancelled(linger).await });
        Some(Outcome { exit: Exit::Lost, usage: None, session_ended: false })
    }

    fn signal(&mut self, signal: Signal, audience: Audience) -> Option<Members> {
        self.killed |= signal == Signal::KILL;
        // The group's number is its own while nobody has waited for it.
        let pid = self.handle.as_ref()?.pid();
        match audience {
            Audience::Group => {
                send(Whom::Group(pid), signal);
                None
            }
            Audience::Tree => Some(self.members()),
        }
    }

    fn resize(&self, size: Tty) {
        // Only a terminal that is gone has no size.
        let _ = self.terminal.as_ref().map(|terminal| terminal.resize(size));
    }
}
