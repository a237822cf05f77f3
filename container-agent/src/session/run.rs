//! One command of a session, from its order to its result.

mod phase;

use std::time::Duration;

use cabana_protocol::{
    Error, Signal,
    exec::{ExecResult, Exit},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    ended::Ended,
    line::{self, DROP, Order, Report},
    owner::Owner,
    recovery::{Recovery, asked_for},
    script::{Files, Script},
    streams::Streams,
};
use crate::{
    process::{Feed, Input, Journal, Members, Place, Stdin, tree},
    waiting::if_any,
};
use phase::{Happened, Pending, Phase};

/// How long a shell may take to come back to its senses.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status of what an interrupt ended, as shells count.
const INTERRUPTED: i32 = 128 + 2;

/// A command for a session.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) place: Place,
    pub(super) script: Script,
    pub(super) stdin: Stdin,
    pub(super) timeout: Duration,
    pub(super) journal: Journal,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) cancel: CancellationToken,
}

/// A command while it runs.
pub(super) struct Run<'a> {
    owner: &'a mut Owner,
    place: Place,
    journal: Journal,
    inputs: mpsc::Receiver<Input>,
    /// Somebody may still tell it something.
    told: bool,
    cancel: CancellationToken,
    started: Instant,
    timeout: Duration,
    streams: Streams,
    /// What it has started.
    members: Members,
    /// The names of its files.
    scripts: Vec<&'static str>,
    surrounded: bool,
    /// The number of its last report, if nothing is interrupted.
    reports: u64,
    /// `$?`, as it has been reported.
    status: Option<i32>,
    phase: Phase,
    /// A signal on its way to what it has started.
    signalling: Option<Pending>,
    /// There may be more output.
    printing: bool,
}

impl<'a> Run<'a> {
    /// Has the shell begin.
    pub(super) fn begin(owner: &'a mut Owner, command: Command) -> Result<Self, Error> {
        let Command { place, script, stdin, timeout, journal, inputs, cancel } = command;
        let Files { scripts, surrounded } = script.files(owner.kind, owner.directory.path());
        for (name, text) in &scripts {
            owner.directory.write(name, text.as_bytes())?;
        }
        if owner.status != 0 {
            owner.directory.write("last", format!("\\return {}\n", owner.status).as_bytes())?;
        }
        let reads = !matches!(stdin, Stdin::Empty);
        let streams = Streams::new(&owner.directory, stdin)?;
        let (mark, members) = (owner.shell.mark(&place.record.id), owner.shell.members_of(&place.record.id));
        owner.runs += 1;
        let directory = owner.directory.path();
        let order = Order {
            shell: owner.kind,
            directory,
            run: owner.runs,
            mark: &mark,
            restores_status: owner.status != 0,
            surrounded,
            reads,
        };
        owner.console.tell(&order.lines()).map_err(|error| super::directory::failure(&error))?;
        let reports = order.reports();
        Ok(Self {
            owner,
            place,
            journal,
            inputs,
            told: true,
            cancel,
            started: Instant::now(),
            timeout,
            streams,
            members,
            scripts: scripts.iter().map(|(name, _)| *name).collect(),
            surrounded,
            reports,
            status: None,
            phase: Phase::Running { interrupted: None },
            signalling: None,
            printing: true,
        })
    }

    /// Sees it through until the shell can take the next one.
    pub(super) async fn see_through(mut self) -> Ended {
        loop {
            if let Phase::Done { exit, session_ended } = self.phase {
                return self.ended(exit, session_ended);
            }
            let happened = self.next().await;
            self.apply(happened);
        }
    }

    /// The next thing that happens. Every branch may be dropped without loss.
    async fn next(&mut self) -> Happened {
        let Self { owner, streams, journal, inputs, cancel, phase, signalling, .. } = self;
        let running = matches!(phase, Phase::Running { .. });
        let closing = matches!(phase, Phase::Closing { .. } | Phase::Closed { .. });
        let (ask, until) = match phase {
            Phase::Running { interrupted } => (interrupted.as_ref().map(Recovery::again), None),
            Phase::Recovering { recovery, until, .. } => (Some(recovery.again()), Some(*until)),
            _ => (None, None),
        };
        let gone = match phase {
            Phase::Stopping { gone, .. } | Phase::Sweeping { gone, .. } | Phase::Closing { gone, .. } => Some(gone),
            _ => None,
        };
        let (ending, signals) = (gone.is_some(), signalling.is_some());
        let feeding = streams.feed.as_ref().is_some_and(Feed::busy);
        tokio::select! {
            report = owner.console.report() => report.map_or(Happened::ShellEnded(Exit::Lost), Happened::Reported),
            chunk = streams.pipes.print(journal), if self.printing => Happened::Printed(chunk),
            done = if_any(streams.feed.as_mut().map(Feed::write)), if feeding => Happened::Fed(done),
            input = inputs.recv(), if self.told && !signals => Happened::Told(input),
            exit = owner.shell.wait(), if !ending && !signals => Happened::ShellEnded(exit),
            () = if_any(gone), if ending => Happened::Gone,
            () = if_any(signalling.as_mut()), if signals => Happened::Signalled,
            () = if_any(ask.map(sleep_until)), if ask.is_some() => Happened::Ask,
            () = if_any(until.map(sleep_until)), if until.is_some() => Happened::SessionMustEnd(Exit::Lost),
            () = sleep_until(self.started + self.timeout), if running => Happened::MustEnd(Exit::TimedOut),
            () = cancel.cancelled(), if running => Happened::MustEnd(Exit::Cancelled),
            () = owner.ties.end.cancelled(), if !closing => Happened::SessionMustEnd(Exit::Cancelled),
            () = owner.ties.agent_ends.cancelled(), if !closing => Happened::SessionMustEnd(Exit::Lost),
        }
    }

    fn apply(&mut self, happened: Happened) {
        match happened {
            Happened::Printed(Some(chunk)) => self.journal.push(chunk),
            Happened::Printed(None) => self.printing = false,
            Happened::Fed(done) => self.streams.feed = self.streams.feed.take().filter(|_| !done),
            Happened::Told(input) => self.tell(input),
            Happened::Reported(report) => self.hear(report),
            Happened::ShellEnded(exit) => {
                self.phase = Phase::Done { exit: self.phase.decided().unwrap_or(exit), session_ended: true };
            }
            Happened::MustEnd(exit) => self.stop(exit),
            Happened::SessionMustEnd(exit) => self.close(exit),
            Happened::Gone => self.go_on(),
            Happened::Signalled => self.signalling = None,
            Happened::Ask => self.ask(),
        }
    }

    /// Halts the shell, so that it cannot go on to what comes next, and ends what the command has started.
    fn stop(&mut self, exit: Exit) {
        self.owner.shell.signal(Signal::STOP);
        self.phase = Phase::Stopping { exit, gone: Box::pin(tree::end(self.members.clone(), self.owner.ties.grace)) };
    }

    /// Ends the whole session.
    fn close(&mut self, exit: Exit) {
        let exit = self.phase.decided().unwrap_or(exit);
        // An interactive shell does not hear SIGTERM.
        self.owner.shell.signal(Signal::HUP);
        let gone = Box::pin(tree::end(self.owner.shell.members(), self.owner.ties.grace));
        self.phase = Phase::Closing { exit, gone };
    }

    /// What was to be ended is gone.
    fn go_on(&mut self) {
        self.phase = match self.phase {
            Phase::Stopping { exit, .. } => {
                // Whatever it reads is at its end: where a caller traps SIGINT, nothing else ends a `read`.
                self.streams.unplug();
                [Some(Signal::INT), Signal::from_number(DROP), Some(Signal::CONT)]
                    .into_iter()
                    .flatten()
                    .for_each(|signal| self.owner.shell.signal(signal));
                Phase::Recovering { exit, recovery: Recovery::new(true), until: Instant::now() + PATIENCE }
            }
            Phase::Sweeping { exit, .. } => Phase::Done { exit, session_ended: false },
            Phase::Closing { exit, .. } => Phase::Closed { exit },
            _ => return,
        };
    }

    fn ask(&mut self) {
        let (Phase::Running { interrupted: Some(recovery) } | Phase::Recovering { recovery, .. }) = &mut self.phase else {
            return;
        };
        let question = line::ask(self.owner.kind, self.owner.directory.path(), self.owner.runs, recovery.ask(), self.surrounded);
        // Where the pipe is full, there are questions enough.
        let _ = self.owner.console.tell(&question);
    }

    /// Hears a report. Those of earlier runs, which nobody waited for, mean nothing.
    fn hear(&mut self, report: Report) {
        match report {
            Report::Opened { run } if run == self.owner.runs => self.streams.opened(),
            Report::Reached { run, report, status } if run == self.owner.runs => self.reach(report, status),
            _ => {}
        }
    }

    fn reach(&mut self, report: u64, status: i32) {
        let grace = self.owner.ties.grace;
        let recovering = |exit| Phase::Recovering { exit, recovery: Recovery::new(true), until: Instant::now() + PATIENCE };
        if report == 0 {
            self.status = Some(status);
        }
        let exit = Exit::Exited { code: self.status.unwrap_or(INTERRUPTED) };
        let last = report == self.reports || asked_for(report);
        self.phase = match &mut self.phase {
            Phase::Running { interrupted: None } if last => Phase::Done { exit, session_ended: false },
            // The interrupt must not hit the next command.
            Phase::Running { interrupted: Some(_) } if last => recovering(exit),
            Phase::Recovering { exit, recovery, .. } => match (recovery.answer(report), *exit) {
                (false, _) => return,
                (true, exit @ Exit::Exited { .. }) => Phase::Done { exit, session_ended: false },
                (true, exit) => Phase::Sweeping { exit, gone: Box::pin(tree::end(self.members.clone(), grace)) },
            },
            _ => return,
        };
    }

    fn tell(&mut self, input: Option<Input>) {
        match (input, &mut self.streams.feed) {
            (Some(Input::Signal(signal) | Input::SignalTree(signal)), _) => self.signal(signal),
            (Some(Input::Stdin(bytes, room)), Some(feed)) => feed.push(bytes, room),
            (Some(Input::Eof), Some(feed)) => feed.end(),
            (Some(_), _) => {}
            (None, feed) => {
                self.told = false;
                feed.iter_mut().for_each(Feed::end);
            }
        }
    }

    /// Signals what the command has started; the shell itself hears of an interrupt alone, as at ctrl-C.
    fn signal(&mut self, signal: Signal) {
        if let Phase::Running { interrupted } = &mut self.phase {
            if signal == Signal::INT {
                self.owner.shell.signal(signal);
                *interrupted = Some(Recovery::new(false));
            }
            self.signalling = Some(Box::pin(tree::signal(self.members.clone(), signal)));
        }
    }

    fn ended(self, exit: Exit, session_ended: bool) -> Ended {
        let Self { owner, place, journal, started, streams, .. } = self;
        owner.status = match exit {
            Exit::Exited { code } => code,
            _ => 0,
        };
        self.scripts.iter().for_each(|name| owner.directory.remove(name));
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let result = ExecResult { process: place.record.id.clone(), exit: Some(exit), duration_ms, session_ended, usage: None };
        let pipes = streams.finish(&owner.directory);
        Ended { session_ended, result, pipes, journal, place, agent_ends: owner.ties.agent_ends.clone() }
    }
}
