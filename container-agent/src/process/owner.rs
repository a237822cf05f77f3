//! The task that owns a process: it alone reads it, feeds it, signals it, ends it and waits for it.

use std::{pin::Pin, sync::Arc, time::Duration};

use cabana_protocol::{
    ProcessId, Signal,
    exec::{ExecResult, Exit, Usage},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Chunk, Input,
    exited::Exited,
    feed::Feed,
    journal::Journal,
    kill::{Whom, send},
    oom::Oom,
    orphans,
    pipes::Pipes,
    spawn::Child,
    terminal::Terminal,
    tree,
};
use crate::waiting::if_any;

/// The owner's ties to everybody else.
#[derive(Debug)]
pub(super) struct Ties {
    /// Its id.
    pub(super) id: ProcessId,
    /// What marks all that it starts.
    pub(super) mark: String,
    /// Where its output goes, and how it ended.
    pub(super) journal: Journal,
    /// Who tells it something.
    pub(super) inputs: mpsc::Receiver<Input>,
    /// Set when the caller wants it to end, or is gone.
    pub(super) cancel: CancellationToken,
    /// Set when the agent ends.
    pub(super) agent_ends: CancellationToken,
    /// How long it may run, if there is a limit.
    pub(super) timeout: Option<Duration>,
    /// How long its tree may take to end after SIGTERM.
    pub(super) grace: Duration,
    /// The children that the orphans' reaper leaves alone.
    pub(super) own: orphans::Own,
    /// What the kernel has killed.
    pub(super) oom: Arc<Oom>,
    /// Takes over what outlives the process.
    pub(super) tasks: TaskTracker,
}

/// A process, its surroundings, and how far they have come.
pub(super) struct Owner {
    ties: Ties,
    exited: Exited,
    pipes: Pipes,
    feed: Option<Feed>,
    terminal: Option<Terminal>,
    started: Instant,
    phase: Phase,
    /// A signal on its way to the whole tree; until it is there nobody waits for the process, whose number it uses.
    signalling: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Somebody told us to kill it.
    killed: bool,
    /// Somebody may still tell it something.
    told: bool,
    /// There may be more output.
    printing: bool,
}

/// How far a process has come. It goes through these in order, and may leave out those in the middle.
enum Phase {
    /// It runs, and nobody wants it to end.
    Running,
    /// Its tree is being ended. Nobody waits for it before that is done: a zombie keeps its number.
    Ending { reason: Exit, gone: Pin<Box<dyn Future<Output = ()> + Send>> },
    /// Its tree is gone.
    Swept { reason: Exit },
    /// It has been waited for.
    Ended { exit: Exit, usage: Option<Usage> },
}

/// What can happen to a process.
enum Happened {
    /// It printed something, or will print no more.
    Printed(Option<Chunk>),
    /// Its stdin took some bytes; true when it will take no more.
    Fed(bool),
    /// Somebody told it something, or nobody ever will again.
    Told(Option<Input>),
    /// It is to end, for this reason.
    MustEnd(Exit),
    /// All of its tree is gone.
    Gone,
    /// A signal has reached all of its tree.
    Signalled,
    /// It has ended; what the kernel says of that.
    Ended(Option<(Exit, Usage)>),
}

impl Owner {
    pub(super) fn new(child: Child, ties: Ties) -> Self {
        let Child { exited, pipes, feed, terminal, started } = child;
        let (started, phase) = (Instant::from_std(started), Phase::Running);
        Self { ties, exited, pipes, feed, terminal, started, phase, signalling: None, killed: false, told: true, printing: true }
    }

    /// Sees the process through to its end. What it leaves behind on purpose lives on.
    pub(super) async fn run(mut self) {
        let (exit, usage) = loop {
            match self.phase {
                Phase::Ended { exit, usage } if !self.printing => break (exit, usage),
                _ => {
                    let happened = self.next().await;
                    self.apply(happened);
                }
            }
        };
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.pipes.held() {
            self.ties.tasks.spawn(self.ties.agent_ends.run_until_cancelled_owned(self.pipes.discard()));
        }
        let result = ExecResult { process: self.ties.id, exit: Some(exit), duration_ms, session_ended: false, usage };
        self.ties.journal.end(result);
    }

    /// The next thing that happens. Every branch may be dropped without loss.
    async fn next(&mut self) -> Happened {
        let running = matches!(self.phase, Phase::Running);
        let waited_for = matches!(self.phase, Phase::Ended { .. });
        let gone = match &mut self.phase {
            Phase::Ending { gone, .. } => Some(gone),
            _ => None,
        };
        let (ending, signalling) = (gone.is_some(), self.signalling.is_some());
        let until = self.ties.timeout.map(|timeout| self.started + timeout);
        tokio::select! {
            chunk = self.pipes.print(&self.ties.journal), if self.printing => Happened::Printed(chunk),
            done = if_any(self.feed.as_mut().map(Feed::write)), if self.feed.as_ref().is_some_and(Feed::busy) => Happened::Fed(done),
            input = self.ties.inputs.recv(), if self.told && !signalling => Happened::Told(input),
            ended = self.exited.wait(), if !ending && !signalling && !waited_for => Happened::Ended(ended.ok()),
            () = if_any(gone), if ending => Happened::Gone,
            () = if_any(self.signalling.as_mut()), if signalling => Happened::Signalled,
            () = if_any(until.map(sleep_until)), if running => Happened::MustEnd(Exit::TimedOut),
            () = self.ties.cancel.cancelled(), if running => Happened::MustEnd(Exit::Cancelled),
            () = self.ties.agent_ends.cancelled(), if running => Happened::MustEnd(Exit::Lost),
        }
    }

    fn apply(&mut self, happened: Happened) {
        match happened {
            Happened::Printed(Some(chunk)) => self.ties.journal.push(chunk),
            Happened::Printed(None) => self.printing = false,
            Happened::Fed(done) => self.feed = self.feed.take().filter(|_| !done),
            Happened::Told(input) => self.tell(input),
            Happened::MustEnd(reason) => {
                if self.terminal.is_some() {
                    // What an interactive shell ends at: it does not hear SIGTERM.
                    send(Whom::Group(self.exited.pid()), Signal::HUP);
                }
                let gone = Box::pin(tree::end(self.members(), self.ties.grace));
                self.phase = Phase::Ending { reason, gone };
            }
            Happened::Signalled => self.signalling = None,
            Happened::Gone => {
                if let Phase::Ending { reason, .. } = self.phase {
                    self.phase = Phase::Swept { reason };
                }
            }
            Happened::Ended(ended) => self.end(ended),
        }
    }

    fn end(&mut self, ended: Option<(Exit, Usage)>) {
        self.ties.own.release(self.exited.pid());
        self.pipes.exited();
        let exit = match self.phase {
            Phase::Swept { reason } => reason,
            _ => ended.map_or(Exit::Lost, |(exit, _)| self.judge(exit)),
        };
        self.phase = Phase::Ended { exit, usage: ended.map(|(_, usage)| usage) };
    }

    /// Whether it was the kernel that killed it, for want of memory.
    fn judge(&self, exit: Exit) -> Exit {
        match exit {
            Exit::Signalled { signal: Signal::KILL } if !self.killed && self.ties.oom.took_one() => Exit::OomKilled,
            // So a shell tells of its child's end: that one was the victim, and no later process is to be taken for it.
            Exit::Exited { code: 137 } => {
                self.ties.oom.took_one();
                exit
            }
            _ => exit,
        }
    }

    fn members(&self) -> tree::Members {
        tree::Members::Process { pid: self.exited.pid(), mark: self.ties.mark.clone() }
    }

    fn tell(&mut self, input: Option<Input>) {
        let alive = !matches!(self.phase, Phase::Ended { .. });
        self.killed |= matches!(input, Some(Input::Signal(Signal::KILL) | Input::SignalTree(Signal::KILL)));
        match (input, &mut self.feed) {
            // Its group's number is its own while nobody has waited for it.
            (Some(Input::Signal(signal)), _) if alive => send(Whom::Group(self.exited.pid()), signal),
            (Some(Input::SignalTree(signal)), _) if alive => {
                self.signalling = Some(Box::pin(tree::signal(self.members(), signal)))
            }
            (Some(Input::Resize(size)), _) => {
                // Only a terminal that is gone has no size.
                let _ = self.terminal.as_ref().map(|terminal| terminal.resize(size));
            }
            (Some(Input::Stdin(bytes, room)), Some(feed)) => feed.push(bytes, room),
            (Some(Input::Eof), Some(feed)) => feed.end(),
            (Some(_), _) => {}
            (None, feed) => {
                self.told = false;
                feed.iter_mut().for_each(Feed::end);
            }
        }
    }
}
