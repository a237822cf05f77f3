//! The task that owns what runs: it alone reads it, feeds it, signals it, ends it and waits for it.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use cabana_protocol::{
    ProcessId,
    exec::{ExecResult, Exit},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    TreeEnd,
    phase::{Effect, Event, Phase},
    target::{Audience, Target},
    tree,
};
use crate::{
    process::{
        Attendance, Chunk, Input, Journal, TableGuard,
        child::{StdinWriter, Stdio},
    },
    waiting::if_any,
};

/// What connects a supervisor with everybody else.
#[derive(Debug)]
pub(crate) struct SupervisorContext {
    pub(crate) process: ProcessId,
    /// Keeps the process known, if it is, and counted.
    pub(crate) guard: TableGuard,
    /// Where its output goes, and how it ended.
    pub(crate) journal: Journal,
    pub(crate) inputs: mpsc::Receiver<Input>,
    /// What becomes of it without its caller.
    pub(crate) attendance: Arc<Attendance>,
    /// Set when the session that it runs in is to end.
    pub(crate) session_ends: Option<CancellationToken>,
    /// Set when the agent ends.
    pub(crate) agent_ends: CancellationToken,
    /// How long it may run, if there is a limit.
    pub(crate) timeout: Option<Duration>,
    /// How long its tree may take to end after SIGTERM.
    pub(crate) grace: Duration,
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What runs, its surroundings, and how far they have come.
pub(crate) struct Supervisor<T> {
    context: SupervisorContext,
    target: T,
    stdio: Stdio,
    started: Instant,
    phase: Phase,
    /// The tree on its way to its end.
    ending: Option<Pending<TreeEnd>>,
    /// A signal on its way to the whole tree; until it is there nobody waits for the process, whose number it uses.
    signaling: Option<Pending<()>>,
    /// Nobody has waited for it for too long.
    deserted: Pending<()>,
    /// There may be more inputs.
    inputs_open: bool,
    /// There may be more output.
    output_open: bool,
}

/// What was seen next.
enum Seen {
    /// It printed something, or will print no more.
    Output(Option<Chunk>),
    /// Its stdin took some bytes; true when it will take no more.
    StdinWritten(bool),
    /// An input came, or none will come any more.
    Input(Option<Input>),
    /// A signal has reached all of its tree.
    Signaled,
    Event(Event),
}

impl<T: Target> Supervisor<T> {
    pub(crate) fn new(context: SupervisorContext, target: T, stdio: Stdio, started: Instant) -> Self {
        let phase = Phase::Running;
        let (ending, signaling) = (None, None);
        let journal = context.journal.clone();
        let deserted = Box::pin(async move { journal.deserted().await });
        Self { context, target, stdio, started, phase, ending, signaling, deserted, inputs_open: true, output_open: true }
    }

    /// Sees it through to its end, but for the rest of its output. What it leaves behind on purpose lives on.
    pub(crate) async fn run(mut self) -> Epilogue {
        loop {
            if let Phase::Ended(outcome) = self.phase {
                let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let (exit, session_ended, usage) = (Some(outcome.exit), outcome.session_ended, outcome.usage);
                let process = self.context.process.clone();
                let result = ExecResult { process, pid: None, exit, duration_ms, session_ended, usage };
                return Epilogue::new(self.context, self.stdio, result);
            }
            match self.next().await {
                Seen::Output(Some(chunk)) => self.context.journal.push(chunk),
                Seen::Output(None) => self.output_open = false,
                Seen::StdinWritten(done) => self.stdio.stdin = self.stdio.stdin.take().filter(|_| !done),
                Seen::Input(Some(input)) => self.take_input(input),
                Seen::Input(None) => {
                    self.inputs_open = false;
                    self.stdio.stdin.iter_mut().for_each(StdinWriter::end);
                }
                Seen::Signaled => self.signaling = None,
                Seen::Event(event) => self.apply(event),
            }
        }
    }

    /// What happens next. Every branch may be dropped without loss.
    async fn next(&mut self) -> Seen {
        let running = self.phase == Phase::Running;
        let (ending, signaling) = (self.ending.is_some(), self.signaling.is_some());
        let until = self.context.timeout.map(|timeout| self.started + timeout);
        let writing = self.stdio.stdin.as_ref().is_some_and(StdinWriter::busy);
        let SupervisorContext { journal, inputs, attendance, session_ends, agent_ends, .. } = &mut self.context;
        tokio::select! {
            chunk = self.stdio.pipes.print(journal), if self.output_open => Seen::Output(chunk),
            done = if_any(self.stdio.stdin.as_mut().map(StdinWriter::write)), if writing => Seen::StdinWritten(done),
            input = inputs.recv(), if self.inputs_open && !signaling => Seen::Input(input),
            outcome = self.target.ended(), if !ending && !signaling => Seen::Event(Event::Ended(outcome)),
            end = if_any(self.ending.as_mut()), if ending => {
                self.ending = None;
                Seen::Event(Event::TreeEnded(end))
            }
            () = if_any(self.signaling.as_mut()), if signaling => Seen::Signaled,
            () = if_any(until.map(sleep_until)), if running => Seen::Event(Event::MustEnd(Exit::TimedOut)),
            () = attendance.cancel().cancelled(), if running => Seen::Event(Event::MustEnd(Exit::Cancelled)),
            () = &mut self.deserted, if running => Seen::Event(Event::MustEnd(Exit::Cancelled)),
            () = if_any(session_ends.as_ref().map(|ends| ends.cancelled())), if running => Seen::Event(Event::MustEnd(Exit::Cancelled)),
            () = agent_ends.cancelled(), if running => Seen::Event(Event::MustEnd(Exit::Lost)),
        }
    }

    fn apply(&mut self, event: Event) {
        let (phase, effect) = self.phase.apply(event);
        self.phase = phase;
        match effect {
            Effect::Nothing => {}
            Effect::EndTree => {
                self.signaling = None;
                self.ending = Some(Box::pin(tree::end(self.target.stop(), self.context.grace)));
            }
            Effect::Settle(end) => {
                // Whatever a shell reads is at its end: where its caller traps SIGINT, nothing else ends a `read`.
                self.stdio.stdin = None;
                if let Some(outcome) = self.target.settle(end) {
                    self.apply(Event::Ended(outcome));
                }
            }
        }
    }

    fn take_input(&mut self, input: Input) {
        match (input, &mut self.stdio.stdin) {
            (Input::Signal(signal), _) => self.signal(signal, Audience::Group),
            (Input::SignalTree(signal), _) => self.signal(signal, Audience::Tree),
            (Input::Resize(size), _) => {
                self.context.guard.process.resized(size);
                self.target.resize(size);
            }
            (Input::End(grace), _) => {
                self.context.grace = grace.unwrap_or(self.context.grace);
                self.apply(Event::MustEnd(Exit::Cancelled));
            }
            (Input::Stdin(bytes, room), Some(stdin)) => stdin.push(bytes, room),
            (Input::Eof, Some(stdin)) => stdin.end(),
            (Input::Stdin(..) | Input::Eof, None) => {}
        }
    }

    fn signal(&mut self, signal: cabana_protocol::Signal, audience: Audience) {
        if let Some(members) = self.target.signal(signal, audience) {
            self.signaling = Some(Box::pin(tree::signal(members, signal)));
        }
    }
}

/// The rest of what has ended: its last output, and what others still hold open. It delays nobody: a session's shell is at its next
/// command already.
#[derive(Debug)]
pub(crate) struct Epilogue {
    stdio: Stdio,
    journal: Journal,
    guard: TableGuard,
    agent_ends: CancellationToken,
    result: ExecResult,
}

impl Epilogue {
    fn new(context: SupervisorContext, mut stdio: Stdio, result: ExecResult) -> Self {
        stdio.stdin = None;
        stdio.pipes.exited();
        let SupervisorContext { guard, journal, agent_ends, .. } = context;
        Self { stdio, journal, guard, agent_ends, result }
    }

    /// Whether the session in which it ran has ended.
    pub(crate) fn session_ended(&self) -> bool {
        self.result.session_ended
    }

    /// `$?` of what has ended.
    pub(crate) fn code(&self) -> Option<i32> {
        match self.result.exit {
            Some(Exit::Exited { code }) => Some(code),
            _ => None,
        }
    }

    /// Passes on what it has printed and how it ended. What it left in the background is read on, so that no broken pipe ends that.
    pub(crate) async fn run(self) {
        let Self { mut stdio, journal, guard, agent_ends, result } = self;
        journal.renew_grace();
        let rest = async {
            let (mut deserted, mut is_deserted) = (pin!(journal.deserted()), false);
            loop {
                tokio::select! {
                    chunk = stdio.pipes.print(&journal) => match chunk {
                        Some(chunk) => journal.push(chunk),
                        None => return,
                    },
                    () = &mut deserted, if !is_deserted => {
                        is_deserted = true;
                        journal.give_up();
                    }
                }
            }
        };
        agent_ends.run_until_cancelled(rest).await;
        journal.end(result);
        let forgotten = guard.end();
        let held = stdio.pipes.held();
        let rest = async move {
            if held {
                stdio.pipes.discard().await;
            }
        };
        agent_ends.run_until_cancelled_owned(async { tokio::join!(rest, forgotten) }).await;
    }
}
