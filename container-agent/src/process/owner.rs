//! The task that owns a process: it alone reads it, feeds it, signals it, ends it and waits for it.

use std::{pin::Pin, time::Duration};

use cabana_protocol::{
    ProcessId, Signal,
    exec::{ExecResult, Exit, Usage},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Chunk, Input, feed::Feed, orphans, pipes::Pipes, spawn::Child, tree, wait::Exited};

/// The owner's ties to everybody else.
#[derive(Debug)]
pub(super) struct Ties {
    /// Its id.
    pub(super) id: ProcessId,
    /// Who listens.
    pub(super) output: mpsc::Sender<Chunk>,
    /// Who tells it something.
    pub(super) inputs: mpsc::Receiver<Input>,
    /// Set when the caller wants it to end, or is gone.
    pub(super) cancel: CancellationToken,
    /// Set when the agent ends.
    pub(super) agent_ends: CancellationToken,
    /// How long it may run.
    pub(super) timeout: Duration,
    /// How long its tree may take to end after SIGTERM.
    pub(super) grace: Duration,
    /// The children that the orphans' reaper leaves alone.
    pub(super) own: orphans::Own,
    /// Takes over what outlives the process.
    pub(super) tasks: TaskTracker,
}

/// A process, its surroundings, and how far they have come.
pub(super) struct Owner {
    ties: Ties,
    exited: Exited,
    pipes: Pipes,
    feed: Option<Feed>,
    started: Instant,
    /// Read, and not yet taken by whoever listens.
    unheard: Option<Chunk>,
    /// Somebody listens.
    heard: bool,
    /// Somebody may still tell it something.
    told: bool,
    /// There may be more output.
    printing: bool,
    /// What the kernel said of its end.
    ended: Option<(Exit, Option<Usage>)>,
    ending: Option<Ending>,
}

/// A tree on its way to its end.
struct Ending {
    reason: Exit,
    /// Completes when all of it is gone; taken away then.
    gone: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What can happen to a process.
enum Happened {
    /// Whoever listens took a chunk, or is gone.
    Heard(bool),
    /// It printed something, or will print no more.
    Printed(Option<Chunk>),
    /// Its stdin took some bytes; true when it will take no more.
    Fed(bool),
    /// Somebody told it something, or nobody ever will again.
    Told(Option<Input>),
    /// It is to end, for this reason.
    MustEnd(Exit),
    /// It has ended.
    Ended(Exit, Option<Usage>),
    /// All of its tree is gone.
    Gone,
}

impl Owner {
    pub(super) fn new(child: Child, ties: Ties) -> Self {
        let Child { exited, pipes, feed, started } = child;
        let started = Instant::from_std(started);
        let (heard, told, printing) = (true, true, true);
        Self { ties, exited, pipes, feed, started, unheard: None, heard, told, printing, ended: None, ending: None }
    }

    /// Sees the process through to its end. What it leaves behind on purpose lives on.
    pub(super) async fn run(mut self) -> ExecResult {
        let (exit, usage) = loop {
            match self.ended {
                Some(end) if self.settled() => break end,
                _ => {
                    let happened = self.next().await;
                    self.apply(happened);
                }
            }
        };
        self.ties.own.release(self.exited.pid());
        let exit = self.ending.map_or(exit, |ending| ending.reason);
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.pipes.held() {
            self.ties.tasks.spawn(self.ties.agent_ends.run_until_cancelled_owned(self.pipes.discard()));
        }
        ExecResult { process: self.ties.id, exit, duration_ms, usage }
    }

    /// Whether nothing more is to come after its end.
    fn settled(&self) -> bool {
        !self.printing && self.unheard.is_none() && self.ending.as_ref().is_none_or(|ending| ending.gone.is_none())
    }

    /// The next thing that happens. Every branch may be dropped without loss.
    async fn next(&mut self) -> Happened {
        let alive = self.ended.is_none();
        let gone = self.ending.as_mut().and_then(|ending| ending.gone.as_mut());
        let must_end = alive && gone.is_none();
        let room = self.feed.as_ref().is_none_or(Feed::has_room);
        tokio::select! {
            permit = self.ties.output.reserve(), if self.unheard.is_some() => Happened::Heard(match (permit, self.unheard.take()) {
                (Ok(permit), Some(chunk)) => { permit.send(chunk); true }
                _ => false,
            }),
            chunk = self.pipes.next(), if self.printing && self.unheard.is_none() => Happened::Printed(chunk),
            done = write(&mut self.feed), if self.feed.as_ref().is_some_and(Feed::busy) => Happened::Fed(done),
            input = self.ties.inputs.recv(), if self.told && room => Happened::Told(input),
            waited = self.exited.wait(), if alive => waited.map_or(Happened::Ended(Exit::Lost, None), |(exit, usage)| Happened::Ended(exit, Some(usage))),
            () = complete(gone), if !must_end => Happened::Gone,
            () = tokio::time::sleep_until(self.started + self.ties.timeout), if must_end => Happened::MustEnd(Exit::TimedOut),
            () = self.ties.cancel.cancelled(), if must_end => Happened::MustEnd(Exit::Cancelled),
            () = self.ties.agent_ends.cancelled(), if must_end => Happened::MustEnd(Exit::Lost),
        }
    }

    fn apply(&mut self, happened: Happened) {
        match happened {
            Happened::Heard(heard) => self.heard = heard,
            Happened::Printed(Some(chunk)) => self.unheard = Some(chunk).filter(|_| self.heard),
            Happened::Printed(None) => self.printing = false,
            Happened::Fed(done) => self.feed = self.feed.take().filter(|_| !done),
            Happened::Told(input) => self.tell(input),
            Happened::MustEnd(reason) => {
                let members = tree::Members::Process { pid: self.exited.pid(), id: self.ties.id.clone() };
                self.ending = Some(Ending { reason, gone: Some(Box::pin(tree::end(members, self.ties.grace))) });
            }
            Happened::Ended(exit, usage) => {
                self.ended = Some((exit, usage));
                self.pipes.exited();
            }
            Happened::Gone => {
                if let Some(ending) = &mut self.ending {
                    ending.gone = None;
                }
            }
        }
    }

    fn tell(&mut self, input: Option<Input>) {
        match (input, &mut self.feed) {
            (Some(Input::Signal(signal)), _) if self.ended.is_none() => self.signal(signal),
            (Some(Input::Stdin(bytes)), Some(feed)) => feed.push(bytes),
            (Some(Input::Eof), Some(feed)) => feed.end(),
            (Some(_), _) => {}
            (None, feed) => {
                self.told = false;
                feed.iter_mut().for_each(Feed::end);
            }
        }
    }

    /// Signals its process group, whose number is its own while nobody has waited for it.
    fn signal(&self, signal: Signal) {
        tree::signal_group(self.exited.pid(), signal);
    }
}

async fn write(feed: &mut Option<Feed>) -> bool {
    match feed {
        Some(feed) => feed.write().await,
        None => std::future::pending().await,
    }
}

async fn complete(gone: Option<&mut Pin<Box<dyn Future<Output = ()> + Send>>>) {
    match gone {
        Some(gone) => gone.await,
        None => std::future::pending().await,
    }
}
