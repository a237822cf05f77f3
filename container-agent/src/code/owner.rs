//! The task that owns a context: it has the kernel run one cell after the other, until the context ends.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cabana_protocol::{
    Error,
    code::{Bundle, ContextState, RunEvent, RunResult, RunStatus},
    exec::Exit,
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::Channel,
    content::{ExecuteReply, InputRequest, execution},
    context::{CellRequest, Command, Context, Ends},
    history,
    kernel::{Incoming, Kernel},
    message::Message,
    prelude,
    progress::{Progress, Step, Stop},
    router::Cell,
    starter::Starter,
};
use crate::waiting::if_any;

/// How long a kernel may take to begin a subshell.
const SUBSHELL_LIMIT: Duration = Duration::from_secs(2);

/// Questions that wait for the kernel's answer.
const MAX_ASKED: usize = 32;

/// The owner of a context.
pub(super) struct Owner {
    context: Arc<Context>,
    starter: Starter,
    kernel: Option<Kernel>,
    running: Option<Running>,
    asked: HashMap<String, oneshot::Sender<Result<Value, Error>>>,
    /// The subshell that answers while a cell runs.
    subshell: Option<String>,
    used: Instant,
}

/// The cell that runs.
struct Running {
    id: String,
    progress: Progress,
    cell: Arc<Cell>,
    started: Instant,
    cancel: CancellationToken,
    /// Answers to what it asks; `None` once there will be none.
    replies: Option<mpsc::Receiver<String>>,
    /// The header of its question, while it waits for the answer.
    question: Option<bytes::Bytes>,
    execution_count: Option<u32>,
    /// How it has failed, where it has not said so itself.
    failure: Option<RunEvent>,
    /// The documentation that it has asked for.
    pages: Vec<Bundle>,
    answer: oneshot::Sender<Result<RunResult, Error>>,
}

/// What the owner turns to next.
enum Turn {
    End,
    Reap,
    Cell(CellRequest),
    Command(Command),
    Incoming(Incoming),
    Due,
    Cancelled,
    Reply(Option<String>),
}

impl Owner {
    /// The owner of a context whose kernel has not been started.
    pub(super) fn new(context: Arc<Context>, starter: Starter) -> Self {
        Self { context, starter, kernel: None, running: None, asked: HashMap::new(), subshell: None, used: Instant::now() }
    }

    /// Owns the context to its end.
    pub(super) async fn run(mut self, mut ends: Ends) {
        let started = self.start().await;
        let refusal = match &started {
            Ok(()) => {
                self.context.note_ready(started);
                self.serve(&mut ends).await;
                if let Some(kernel) = self.kernel.take() {
                    let exit = kernel.end(self.running.is_none()).await;
                    self.finish_dead(exit, Some(RunStatus::Cancelled));
                }
                self.context.gone()
            }
            Err(error) => error.clone(),
        };
        ends.cells.close();
        while let Some(cell) = ends.cells.recv().await {
            let _ = cell.answer.send(Err(refusal.clone()));
        }
        self.context.note_ready(Err(refusal));
    }

    /// Starts a kernel.
    async fn start(&mut self) -> Result<(), Error> {
        self.context.with(|status| (status.state, status.pid, status.exit) = (ContextState::Starting, None, None));
        let starting = self.starter.start(&self.context.launch);
        let started = self.context.end.run_until_cancelled(starting).await;
        match started.unwrap_or_else(|| Err(self.context.gone())) {
            Ok(kernel) => {
                kernel.router().attach(Arc::clone(&self.context.history));
                self.context.with(|status| {
                    (status.state, status.pid) = (ContextState::Idle, Some(kernel.pid()));
                    status.kernel.clone_from(&kernel.spec().name);
                    status.language_info = kernel.language_info().clone();
                    status.execution_count = 0;
                });
                (self.kernel, self.subshell, self.used) = (Some(kernel), None, Instant::now());
                Ok(())
            }
            Err(error) => {
                self.context.with(|status| status.state = ContextState::Ended);
                Err(error)
            }
        }
    }

    async fn serve(&mut self, ends: &mut Ends) {
        loop {
            match self.next(ends).await {
                Turn::End => return,
                Turn::Reap => {
                    self.context.reap();
                    return;
                }
                Turn::Cell(cell) => self.begin(cell).await,
                Turn::Command(command) => self.command(command).await,
                Turn::Incoming(incoming) => self.incoming(incoming).await,
                Turn::Due => {
                    let step =
                        self.running.as_mut().and_then(|running| running.progress.look(Instant::now(), running.cell.outputs()));
                    self.step(step).await;
                }
                Turn::Cancelled => self.stop(Stop::Cancelled).await,
                Turn::Reply(reply) => self.reply(reply).await,
            }
        }
    }

    async fn next(&mut self, ends: &mut Ends) -> Turn {
        let is_idle = self.running.is_none();
        let reap_at = is_idle.then(|| self.used + self.starter.idle_limit());
        let end = self.context.end.clone();
        let agent_ends = self.starter.agent_ends().clone();
        let (due, cancel, replies) = match &mut self.running {
            None => (None, None, None),
            Some(running) => {
                let cancel = running.progress.may_be_stopped().then(|| running.cancel.clone());
                let asks = running.question.is_some();
                (Some(running.progress.due()), cancel, running.replies.as_mut().filter(|_| asks))
            }
        };
        tokio::select! {
            biased;
            () = end.cancelled() => Turn::End,
            () = agent_ends.cancelled() => Turn::End,
            Some(command) = ends.commands.recv() => Turn::Command(command),
            incoming = if_any(self.kernel.as_mut().map(|kernel| kernel.next())) => Turn::Incoming(incoming),
            () = if_any(cancel.as_ref().map(CancellationToken::cancelled)) => Turn::Cancelled,
            () = if_any(due.map(sleep_until)) => Turn::Due,
            reply = if_any(replies.map(|replies| replies.recv())) => Turn::Reply(reply),
            Some(cell) = ends.cells.recv(), if is_idle => Turn::Cell(cell),
            () = if_any(reap_at.map(sleep_until)) => Turn::Reap,
        }
    }

    /// Begins with a cell.
    async fn begin(&mut self, request: CellRequest) {
        let CellRequest { code, timeout, settings, created, takes_input, sink, replies, cancel, answer } = request;
        self.used = Instant::now();
        if cancel.is_cancelled() {
            let _ = answer.send(Ok(self.result(RunStatus::Cancelled, true, None, None, Duration::ZERO)));
            return;
        }
        let Some(kernel) = &mut self.kernel else {
            let _ = answer.send(Err(self.context.kernel_has_ended()));
            return;
        };
        let (context, language) = (self.context.id.clone(), self.context.launch.language.clone());
        sink.put(RunEvent::Started { context, language, created });
        if let Err(error) = prelude::apply(&settings, kernel).await {
            let _ = answer.send(Err(error));
            return;
        }
        let id = kernel.next_id();
        let cell = kernel.router().begin(&id, &code, sink);
        let content = execution(&code, false, takes_input);
        let trails = kernel.spec().flush(&id).is_some();
        // One that cannot be told has ended, or will be ended when the cell's time is up.
        let _ = kernel.request(&id, "execute_request", None, &content).await;
        let started = Instant::now();
        let progress = Progress::new(started + timeout, self.starter.grace(), trails);
        let replies = takes_input.then_some(replies);
        self.running = Some(Running {
            id,
            progress,
            cell,
            started,
            cancel,
            replies,
            question: None,
            execution_count: None,
            failure: None,
            pages: Vec::new(),
            answer,
        });
        self.note_use(ContextState::Busy);
    }

    fn note_use(&mut self, state: ContextState) {
        self.used = Instant::now();
        self.context.with(|status| (status.state, status.last_used_at) = (state, SystemTime::now()));
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Interrupt(answer) => {
                if self.kernel.is_none() {
                    let _ = answer.send(Err(self.context.kernel_has_ended()));
                    return;
                }
                let runs = self.running.is_some();
                self.stop(Stop::Interrupted).await;
                let _ = answer.send(Ok(runs));
            }
            Command::Restart(answer) => {
                if let Some(kernel) = self.kernel.take() {
                    let exit = kernel.end(self.running.is_none()).await;
                    self.finish_dead(exit, Some(RunStatus::Cancelled));
                }
                let started = self.start().await;
                let _ = answer.send(started);
            }
            Command::Ask(kind, content, answer) => self.ask(kind, content, answer).await,
        }
    }

    /// Asks the kernel something that is no cell.
    async fn ask(&mut self, kind: &'static str, content: Value, answer: oneshot::Sender<Result<Value, Error>>) {
        self.asked.retain(|_, answer| !answer.is_closed());
        let is_busy = self.running.is_some();
        let Some(kernel) = &mut self.kernel else {
            let _ = answer.send(Err(self.context.kernel_has_ended()));
            return;
        };
        if self.asked.len() >= MAX_ASKED {
            let _ = answer.send(Err(crate::limits::reached(MAX_ASKED, "questions wait for this kernel")));
            return;
        }
        self.used = Instant::now();
        if is_busy && self.subshell.is_none() && kernel.has_subshells() {
            self.subshell = self.begin_subshell().await;
        }
        let (Some(kernel), subshell) = (&mut self.kernel, self.subshell.as_deref().filter(|_| is_busy)) else { return };
        let id = kernel.next_id();
        if kernel.request(&id, kind, subshell, &content).await.is_ok() {
            self.asked.insert(id, answer);
        }
    }

    /// Begins a subshell, which answers beside a cell. What comes from the kernel meanwhile is looked at as always.
    async fn begin_subshell(&mut self) -> Option<String> {
        let kernel = self.kernel.as_mut()?;
        let id = kernel.next_id();
        kernel.control(&id, "create_subshell_request", &json!({})).await.ok()?;
        let limit = Instant::now() + SUBSHELL_LIMIT;
        loop {
            let incoming = tokio::time::timeout_at(limit, self.kernel.as_mut()?.next()).await.ok()?;
            if let Incoming::Message(Channel::Control, message) = &incoming
                && message.parent.as_deref() == Some(id.as_str())
            {
                return message.read::<Value>()?["subshell_id"].as_str().map(str::to_owned);
            }
            self.incoming(incoming).await;
        }
    }

    async fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Heard => {}
            Incoming::Idle(parent) => {
                let running = self.running.as_mut().filter(|running| running.id == parent);
                let step = running.and_then(|running| running.progress.idle(Instant::now(), running.cell.outputs()));
                self.step(step).await;
            }
            Incoming::Flushed => self.step(self.running.is_some().then_some(Step::Finish)).await,
            Incoming::Message(Channel::Stdin, message) if message.kind == "input_request" => self.question(message).await,
            Incoming::Message(_, message) => self.answered(message).await,
            Incoming::Lost(why) => {
                tracing::debug!("the kernel of context {} is lost: {why}", self.context.id);
                if let Some(kernel) = self.kernel.take() {
                    let exit = kernel.end_lost().await;
                    self.finish_dead(exit.filter(|exit| *exit != Exit::Cancelled), None);
                }
            }
            Incoming::Ended(exit) => {
                if let Some(mut kernel) = self.kernel.take() {
                    kernel.note_end(exit);
                }
                self.finish_dead(exit, None);
            }
        }
    }

    /// A reply of the kernel's.
    async fn answered(&mut self, message: Message) {
        let Some(parent) = &message.parent else { return };
        if let Some(answer) = self.asked.remove(parent) {
            let _ = answer.send(message.read().ok_or_else(|| Error::internal("the kernel's answer cannot be read")));
            return;
        }
        let Some(running) = self.running.as_mut().filter(|running| running.id == *parent) else { return };
        if message.kind != "execute_reply" {
            return;
        }
        let reply: Option<ExecuteReply> = message.read();
        let failed = reply.as_ref().is_some_and(|reply| reply.status != "ok");
        if let Some(mut reply) = reply {
            running.pages = reply.take_pages();
            running.execution_count = reply.execution_count.filter(|count| *count > 0);
            if failed && !running.cell.has_failed() {
                // Output before it may still come; the event waits for that.
                running.failure = Some(reply.failure.into_event());
            }
        }
        let step = running.progress.answered(failed, Instant::now(), running.cell.outputs());
        self.step(step).await;
    }

    /// A cell asks for a line.
    async fn question(&mut self, message: Message) {
        let Some(InputRequest { prompt, password }) = message.read() else { return };
        let running = self.running.as_mut().filter(|running| message.parent.as_deref() == Some(running.id.as_str()));
        let (Some(running), Some(kernel)) = (running, &self.kernel) else { return };
        if running.replies.is_none() {
            return self.step(Some(Step::Interrupt)).await;
        }
        running.question = Some(message.header.clone());
        kernel.router().show(&running.cell, RunEvent::InputRequest { prompt, password }, 64).await;
    }

    /// The caller has answered, or never will.
    async fn reply(&mut self, reply: Option<String>) {
        let (Some(running), Some(kernel)) = (&mut self.running, &mut self.kernel) else { return };
        let Some(header) = running.question.take() else { return };
        match reply {
            Some(text) => drop(kernel.reply(&header, &text).await),
            None => {
                running.replies = None;
                kernel.interrupt().await;
            }
        }
    }

    async fn stop(&mut self, stop: Stop) {
        let step = self.running.as_mut().and_then(|running| running.progress.stop(stop, Instant::now()));
        self.step(step).await;
    }

    async fn step(&mut self, step: Option<Step>) {
        match step {
            None => {}
            Some(Step::Interrupt) => {
                if let Some(kernel) = &mut self.kernel {
                    kernel.interrupt().await;
                }
            }
            Some(Step::Kill) => {
                if let Some(kernel) = self.kernel.take() {
                    let exit = kernel.end(false).await;
                    self.finish_dead(exit, None);
                }
            }
            Some(Step::Flush) => self.flush().await,
            Some(Step::Finish) => self.finish().await,
        }
    }

    /// Has the kernel print a sentinel. If the request fails, a pause in the output ends the cell.
    async fn flush(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        let sentinel = kernel.next_id();
        if let Some(code) = kernel.spec().flush(&sentinel) {
            kernel.router().flush(&sentinel);
            let _ = kernel.request(&sentinel, "execute_request", None, &execution(&code, true, false)).await;
        }
    }

    /// The cell is over, and its kernel goes on.
    async fn finish(&mut self) {
        let (Some(running), Some(kernel)) = (self.running.take(), &self.kernel) else { return };
        let router = Arc::clone(kernel.router());
        let Running { progress, cell, started, execution_count, failure, pages, answer, .. } = running;
        for data in pages {
            let bytes = history::size(&data);
            let event = RunEvent::Display { display_id: None, data, metadata: Bundle::new() };
            router.show(&cell, event, bytes).await;
        }
        if let Some(failure) = failure.filter(|_| !cell.has_failed()) {
            router.fail(&cell, failure);
        }
        router.end();
        let count = cell.execution_count().or(execution_count);
        let result = self.result(progress.status(), true, count, None, started.elapsed());
        self.note_use(ContextState::Idle);
        self.context.with(|status| status.execution_count = count.unwrap_or(status.execution_count));
        let _ = answer.send(Ok(result));
    }

    /// The kernel has ended, and with it the cell, if one ran.
    fn finish_dead(&mut self, exit: Option<Exit>, status: Option<RunStatus>) {
        self.asked.clear();
        self.context.with(|status| (status.state, status.pid, status.exit) = (ContextState::Ended, None, exit));
        let Some(running) = self.running.take() else { return };
        let Running { progress, cell, started, execution_count, answer, .. } = running;
        cell.end();
        let count = cell.execution_count().or(execution_count);
        let status = status.unwrap_or_else(|| progress.status_at_end(exit));
        let _ = answer.send(Ok(self.result(status, false, count, exit, started.elapsed())));
    }

    fn result(
        &self,
        status: RunStatus,
        state_kept: bool,
        execution_count: Option<u32>,
        exit: Option<Exit>,
        took: Duration,
    ) -> RunResult {
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        RunResult { context: self.context.id.clone(), status, state_kept, execution_count, exit, duration_ms }
    }
}
