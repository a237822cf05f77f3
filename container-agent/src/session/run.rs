//! One command of a session: how it ends, and how the shell is brought back when it is ended.

use std::{sync::Arc, time::Duration};

use cabana_protocol::{
    Error, Signal,
    exec::{Exec, Exit},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    fifo::{FIFOS, Held, failure},
    recovery::{Recovery, asked_for},
    script::{self, DROP, Files, Order, Report, Script},
    task::SessionTask,
};
use crate::{
    process::{
        Attendance, Audience, Input, Journal, Members, Outcome, Stdin, Stdio, Supervisor, SupervisorContext, TableGuard, Target,
        TreeEnd, command, tree,
    },
    threads,
    waiting::if_any,
};

/// How long a shell may take to come back to its senses.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status of what an interrupt ended, as shells count.
const INTERRUPTED: i32 = 128 + 2;

/// A command for a session.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) guard: TableGuard,
    pub(super) script: Script,
    pub(super) stdin: Stdin,
    pub(super) merges_stderr: bool,
    pub(super) timeout: Duration,
    pub(super) journal: Journal,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) attendance: Arc<Attendance>,
}

impl Command {
    /// What this request asks for, as the process that the guard keeps known.
    pub(super) fn new(
        request: &Exec,
        script: Script,
        (guard, inputs): (TableGuard, mpsc::Receiver<Input>),
        journal: Journal,
        attendance: Arc<Attendance>,
    ) -> Self {
        let timeout = Duration::from_millis(request.timeout_ms.unwrap_or(cabana_protocol::exec::DEFAULT_TIMEOUT_MS));
        let (stdin, merges_stderr) = (command::stdin(request), request.stderr.is_some());
        Self { guard, script, stdin, merges_stderr, timeout, journal, inputs, attendance }
    }
}

/// A command while it runs.
pub(super) struct Run<'a> {
    task: &'a mut SessionTask,
    held: Held,
    /// What it has started.
    members: Members,
    surrounded: bool,
    /// The number of its last report, if nothing is interrupted.
    reports: u64,
    /// `$?`, as it has been reported.
    status: Option<i32>,
    state: State,
}

/// How far the shell has come with it.
enum State {
    /// It runs. Once somebody has interrupted it, its report may be lost, and is asked for.
    Running { interrupted: Option<Recovery> },
    /// The shell drops what it was doing. `sweeps` where it has been ended: what the shell has started on its way is ended too.
    Recovering { recovery: Recovery, until: Instant, sweeps: bool },
    /// That is being ended.
    Sweeping(Pending),
    /// The whole session is being ended.
    Closing(Pending),
    /// All that the session had started is gone; the shell is to be waited for.
    Closed,
}

type Pending = std::pin::Pin<Box<dyn Future<Output = TreeEnd> + Send>>;

/// What is seen of the shell.
enum Seen {
    Report(Report),
    /// It has ended, or cannot be spoken to.
    ShellEnded(Exit),
    /// It is time to ask for a report.
    Ask,
    /// The whole session is to end.
    MustClose,
    /// What was to be ended is gone, or does not go.
    TreeEnded(TreeEnd),
}

impl<'a> Run<'a> {
    /// Has the shell begin, and gives what supervises the command.
    pub(super) async fn begin(task: &'a mut SessionTask, command: Command) -> Result<Supervisor<Self>, Error> {
        let Command { guard, script, stdin, merges_stderr, timeout, journal, inputs, attendance } = command;
        let Files { scripts, surrounded } = script.files(task.kind, task.directory.path());
        let (directory, status, reads) = (Arc::clone(&task.directory), task.status, !matches!(stdin, Stdin::Empty));
        let prepared = threads::run_next(move || -> Result<(Held, Stdio), Error> {
            for (name, text) in &scripts {
                directory.write(name, text.as_bytes())?;
            }
            if status != 0 {
                directory.write("last", format!("\\return {status}\n").as_bytes())?;
            }
            Held::new(&directory, stdin, merges_stderr)
        });
        let (held, stdio) = prepared.await.ok_or_else(|| Error::internal("the command cannot be prepared"))??;
        let process = guard.process.id.clone();
        let (mark, members) = (task.shell.mark(&process), task.shell.members_of(&process));
        task.runs += 1;
        let directory = task.directory.path();
        let order = Order {
            shell: task.kind,
            directory,
            run: task.runs,
            mark: &mark,
            restores_status: task.status != 0,
            surrounded,
            reads,
            merges_stderr,
        };
        task.console.tell(&order.lines()).map_err(|error| failure(&error))?;
        let context = SupervisorContext {
            process,
            guard,
            journal,
            inputs,
            attendance,
            session_ends: Some(task.context.end.clone()),
            agent_ends: task.context.agent_ends.clone(),
            timeout: Some(timeout),
            grace: task.context.grace,
        };
        let (reports, state) = (order.reports(), State::Running { interrupted: None });
        let run = Self { task, held, members, surrounded, reports, status: None, state };
        Ok(Supervisor::new(context, run, stdio, Instant::now()))
    }

    /// Removes a command's files, of which a script may be large.
    pub(super) async fn clean_up(task: &SessionTask) {
        let directory = Arc::clone(&task.directory);
        let clean = move || FIFOS.into_iter().chain(script::FILES).for_each(|name| directory.remove(name));
        threads::run_next(clean).await;
    }

    /// What is seen next. Every branch may be dropped without loss.
    async fn next(&mut self) -> Seen {
        let (ask, until) = match &self.state {
            State::Running { interrupted } => (interrupted.as_ref().map(Recovery::again), None),
            State::Recovering { recovery, until, .. } => (Some(recovery.again()), Some(*until)),
            _ => (None, None),
        };
        // Of a command that runs the supervisor sees these.
        let recovers = matches!(self.state, State::Recovering { .. } | State::Sweeping(_));
        let gone = match &mut self.state {
            State::Sweeping(gone) | State::Closing(gone) => Some(gone),
            _ => None,
        };
        let ending = gone.is_some();
        let SessionTask { shell, console, context, .. } = &mut *self.task;
        tokio::select! {
            report = console.report() => report.map_or(Seen::ShellEnded(Exit::Lost), Seen::Report),
            exit = shell.wait(), if !ending => Seen::ShellEnded(exit),
            end = if_any(gone), if ending => Seen::TreeEnded(end),
            () = if_any(ask.map(sleep_until)), if ask.is_some() => Seen::Ask,
            () = if_any(until.map(sleep_until)), if until.is_some() => Seen::MustClose,
            () = context.end.cancelled(), if recovers => Seen::MustClose,
            () = context.agent_ends.cancelled(), if recovers => Seen::MustClose,
        }
    }

    /// What follows; an outcome once it has ended.
    fn apply(&mut self, seen: Seen) -> Option<Outcome> {
        match seen {
            Seen::Report(report) => self.take_report(report),
            Seen::ShellEnded(exit) => Some(outcome(exit, true)),
            Seen::Ask => {
                self.ask();
                None
            }
            Seen::MustClose => {
                let members = self.close();
                self.state = State::Closing(Box::pin(tree::end(members, self.task.context.grace)));
                None
            }
            Seen::TreeEnded(end) => match (&self.state, end) {
                (State::Sweeping(_), _) => Some(outcome(self.exit(), false)),
                (_, TreeEnd::Gone) => {
                    self.state = State::Closed;
                    None
                }
                (_, TreeEnd::Stuck) => Some(outcome(Exit::Lost, true)),
            },
        }
    }

    /// Has the shell hang up, and gives all that the session has started. An interactive shell ignores SIGTERM.
    fn close(&mut self) -> Members {
        self.task.shell.signal(Signal::HUP);
        self.task.shell.members()
    }

    fn ask(&mut self) {
        let (State::Running { interrupted: Some(recovery) } | State::Recovering { recovery, .. }) = &mut self.state else {
            return;
        };
        let (directory, runs) = (self.task.directory.path(), self.task.runs);
        let question = script::ask(self.task.kind, directory, runs, recovery.ask(), self.surrounded);
        // Where the pipe is full, there are questions enough.
        let _ = self.task.console.tell(&question);
    }

    /// Those of earlier runs, which nobody waited for, mean nothing.
    fn take_report(&mut self, report: Report) -> Option<Outcome> {
        match report {
            Report::Opened { run } if run == self.task.runs => {
                self.held.release_input();
                None
            }
            Report::Reached { run, report, status } if run == self.task.runs => self.reach(report, status),
            _ => None,
        }
    }

    fn reach(&mut self, report: u64, status: i32) -> Option<Outcome> {
        if report == 0 {
            self.status = Some(status);
        }
        let last = report == self.reports || asked_for(report);
        match &mut self.state {
            State::Running { interrupted: None } if last => Some(outcome(self.exit(), false)),
            // The interrupt must not hit the next command.
            State::Running { interrupted: Some(_) } if last => {
                self.state = recovering(false);
                None
            }
            State::Recovering { recovery, sweeps, .. } => {
                let (answered, sweeps) = (recovery.answer(report), *sweeps);
                if !answered || !sweeps {
                    return answered.then(|| outcome(self.exit(), false));
                }
                self.state = State::Sweeping(Box::pin(tree::end(self.members.clone(), self.task.context.grace)));
                None
            }
            _ => None,
        }
    }

    fn exit(&self) -> Exit {
        Exit::Exited { code: self.status.unwrap_or(INTERRUPTED) }
    }
}

fn outcome(exit: Exit, session_ended: bool) -> Outcome {
    Outcome { exit, usage: None, session_ended }
}

fn recovering(sweeps: bool) -> State {
    State::Recovering { recovery: Recovery::new(true), until: Instant::now() + PATIENCE, sweeps }
}

impl Target for Run<'_> {
    async fn ended(&mut self) -> Outcome {
        loop {
            let seen = self.next().await;
            if let Some(outcome) = self.apply(seen) {
                self.held.release();
                return outcome;
            }
        }
    }

    /// Halts the shell, so that it cannot go on to what comes next. What the command has started is ended, or all of the session's where
    /// the session is to end.
    fn stop(&mut self) -> Members {
        if self.task.context.must_end() {
            self.state = State::Closed;
            return self.close();
        }
        self.task.shell.signal(Signal::STOP);
        self.members.clone()
    }

    fn settle(&mut self, end: TreeEnd) -> Option<Outcome> {
        self.held.release_input();
        match (&self.state, end) {
            (State::Closed, TreeEnd::Gone) => None,
            (State::Closed, TreeEnd::Stuck) => {
                self.held.release();
                Some(outcome(Exit::Lost, true))
            }
            _ => {
                let drop = [Some(Signal::INT), Signal::from_number(DROP), Some(Signal::CONT)];
                drop.into_iter().flatten().for_each(|signal| self.task.shell.signal(signal));
                self.state = recovering(true);
                None
            }
        }
    }

    /// Signals what the command has started; the shell itself is only interrupted, as at ctrl-C.
    fn signal(&mut self, signal: Signal, _: Audience) -> Option<Members> {
        let State::Running { interrupted } = &mut self.state else { return None };
        if signal == Signal::INT {
            self.task.shell.signal(signal);
            *interrupted = Some(Recovery::new(false));
        }
        Some(self.members.clone())
    }
}
