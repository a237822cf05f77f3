//! `exec`: checks the request, starts a process, and relays what it says.

pub(crate) mod command;

pub(crate) use command::{base, environment, find};

use std::convert::Infallible;

use cabana_protocol::{
    Data, Error, ProcessId,
    exec::{Exec, ExecEvent, ExecInput, ExecResult, Exit, MAX_OUTPUT_BYTES, MAX_TIMEOUT_MS, Tty},
};
use tokio::sync::mpsc;

use crate::{
    Agent,
    dispatch::{Channel, Run, Told},
    process::{Attended, Chunk, Entry, Input, Reader, Record, Stream},
};

impl Run<Exec> for Agent {
    fn run(self, request: Exec, channel: Channel<Exec>) -> impl Future<Output = Result<ExecResult, Error>> + Send {
        let turn = request.session.as_deref().map(|session| self.sessions.line_up(session));
        async move {
            check(&request)?;
            if request.detach {
                return detach(&self, request, &channel.events).await;
            }
            // A client who can say nothing more has closed a stdin, but not a keyboard, on which others may type.
            let (cancel, closes) = (channel.cancel.clone(), request.tty.is_none());
            let attended = match turn {
                None => Some(self.processes.attend(command::resolve(&request, &self.processes)?, request, cancel)?),
                Some(turn) => self.sessions.attend(&self.processes, turn?, request, cancel).await?,
            };
            match attended {
                Some((record, attended)) => listen(&record, attended, channel, closes).await,
                None => Ok(never_begun(self.processes.unused_id())),
            }
        }
    }
}

/// Starts a process that runs for itself.
async fn detach(agent: &Agent, request: Exec, events: &mpsc::Sender<ExecEvent>) -> Result<ExecResult, Error> {
    let record = agent.processes.detach(command::resolve(&request, &agent.processes)?, request)?;
    say(events, started(&record)).await?;
    Ok(so_far(&record))
}

/// Sees to a process that runs for this channel's client.
async fn listen(record: &Record, mut attended: Attended, channel: Channel<Exec>, closes: bool) -> Result<ExecResult, Error> {
    say(&channel.events, started(record)).await?;
    tokio::select! {
        ended = relay(&mut attended.output, &channel.events) => ended,
        never = feed(attended.inputs.clone(), channel.inputs, closes) => match never {},
    }
}

fn started(record: &Record) -> ExecEvent {
    ExecEvent::Started { process: record.id.clone(), pid: record.pid }
}

/// How it ended, or that it runs.
fn so_far(record: &Record) -> ExecResult {
    let duration_ms = record.started_at.elapsed().map_or(0, |run| u64::try_from(run.as_millis()).unwrap_or(u64::MAX));
    let running = || ExecResult { process: record.id.clone(), exit: None, duration_ms, session_ended: false, usage: None };
    record.journal.result().unwrap_or_else(running)
}

/// The result of a command that was cancelled before its turn in a session had come.
fn never_begun(process: ProcessId) -> ExecResult {
    ExecResult { process, exit: Some(Exit::Cancelled), duration_ms: 0, session_ended: false, usage: None }
}

fn check(request: &Exec) -> Result<(), Error> {
    if request.session.is_some() && (request.user.is_some() || request.tty.is_some() || request.detach) {
        return Err(Error::invalid_request("what runs in a session has no user, terminal or life of its own"));
    }
    if request.timeout_ms.is_some_and(|timeout| !(1..=MAX_TIMEOUT_MS).contains(&timeout)) {
        return Err(Error::invalid_request(format!("timeout_ms is 1 to {MAX_TIMEOUT_MS}")));
    }
    if request.max_output_bytes.is_some_and(|limit| limit > MAX_OUTPUT_BYTES) {
        return Err(Error::invalid_request(format!("max_output_bytes is at most {MAX_OUTPUT_BYTES}")));
    }
    let fit = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    match &request.name {
        Some(_) if !request.detach => Err(Error::invalid_request("only a detached process has a name")),
        Some(name) if !(1..=64).contains(&name.len()) || !name.chars().all(fit) => {
            Err(Error::invalid_request("a name has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"))
        }
        _ => Ok(()),
    }
}

/// Passes on what the process prints, until it has ended.
pub(crate) async fn relay(output: &mut Reader, events: &mpsc::Sender<ExecEvent>) -> Result<ExecResult, Error> {
    loop {
        match output.next().await {
            Entry::Chunk(chunk) => relay_chunk(chunk, events).await?,
            Entry::Gap { from, to } => say(events, ExecEvent::Gap { from, to }).await?,
            Entry::End(result) => return Ok(result),
        }
    }
}

async fn relay_chunk(Chunk { stream, mut offset, bytes }: Chunk, events: &mpsc::Sender<ExecEvent>) -> Result<(), Error> {
    for bytes in Data::runs(bytes) {
        let next = offset + bytes.0.len() as u64;
        let event = match stream {
            Stream::Stdout => ExecEvent::Stdout { offset, bytes },
            Stream::Stderr => ExecEvent::Stderr { offset, bytes },
        };
        say(events, event).await?;
        offset = next;
    }
    Ok(())
}

/// Passes on what the client says; when it says no more, stdin ends if that `closes` it.
pub(crate) async fn feed(
    process: mpsc::Sender<Input>,
    inputs: mpsc::UnboundedReceiver<Told<ExecInput>>,
    closes: bool,
) -> Infallible {
    pass_on(&process, inputs).await;
    if closes {
        let _ = process.send(Input::Eof).await;
    }
    std::future::pending().await
}

async fn pass_on(process: &mpsc::Sender<Input>, mut inputs: mpsc::UnboundedReceiver<Told<ExecInput>>) {
    while let Some(Told { input, room }) = inputs.recv().await {
        let input = match input {
            ExecInput::Stdin { bytes } => Input::Stdin(bytes.0, room),
            ExecInput::Eof => Input::Eof,
            ExecInput::Resize { cols, rows } => Input::Resize(Tty { cols, rows }),
            ExecInput::Signal { signal } => Input::Signal(signal),
        };
        // Fails when the process has ended: then its result is on the way.
        let _ = process.send(input).await;
    }
}

/// Says something to whoever listens.
pub(crate) async fn say(events: &mpsc::Sender<ExecEvent>, event: ExecEvent) -> Result<(), Error> {
    events.send(event).await.map_err(|_| Error::internal("nobody listens any more"))
}
