//! `exec`: checks the request, starts a process, and relays its output and its inputs.

use std::{convert::Infallible, os::fd::OwnedFd, time::Duration};

use bytes::Bytes;
use cabana_protocol::{
    Data, Error, ProcessId,
    exec::{Exec, ExecEvent, ExecInput, ExecResult, Exit, MAX_OUTPUT_BYTES, MAX_TIMEOUT_MS, Stdin, Tty},
    names::{excluded_field, invalid_field},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Attendance, Chunk, Entry, Foreground, Input, Process, Reader, Stream,
    command::{self, Start},
    registry::Detached,
};
use crate::{
    Agent,
    dispatch::{Channel, ReceivedInput, Run},
    file,
    session::Ticket,
};

/// Most bytes of output in one event. In JSON a byte may take six, and several events wait on the way to a client that reads slowly.
const EVENT_BYTES: usize = 32 << 10;

impl Run<Exec> for Agent {
    fn run(self, request: Exec, channel: Channel<Exec>) -> impl Future<Output = Result<ExecResult, Error>> + Send {
        let turn = request.session.as_deref().map(|session| self.sessions.line_up(session));
        async move {
            check(&request)?;
            let mut turn = turn_of(&self, &request, turn).await?;
            let (stdin, runs_apart) = (open_stdin(&self, &request).await?, request.detach || request.tty.is_some());
            let session = match turn.take_if(|_| runs_apart) {
                None => None,
                Some(turn) => Some(self.sessions.state(&self.processes, turn, channel.cancel.child_token()).await?),
            };
            let start = Start { stdin, session };
            if request.detach {
                return detach(&self, request, start, channel).await;
            }
            // End of input closes a pipe. A terminal stays open: other clients may be attached.
            let (attendance, closes) = (Attendance::of(&self, &channel), request.tty.is_none());
            let foreground = match turn {
                None => Some(self.processes.run(request, start, attendance).await?),
                Some(turn) => self.sessions.run(&self.processes, turn, request, attendance).await?,
            };
            match foreground {
                Some(foreground) => listen(foreground, channel, closes).await,
                None => Ok(never_begun(self.processes.unused_id())),
            }
        }
    }
}

/// The place in the session's queue, of a session that is made where the request says so.
async fn turn_of(agent: &Agent, request: &Exec, turn: Option<Result<Ticket, Error>>) -> Result<Option<Ticket>, Error> {
    match (&request.session, turn) {
        (Some(session), Some(Err(_))) if request.create_session => {
            agent.sessions.line_up_or_create(&agent.processes, session).await.map(Some)
        }
        (_, turn) => turn.transpose(),
    }
}

/// The file that the command reads, if it is to read one, opened as operations on files open it.
async fn open_stdin(agent: &Agent, request: &Exec) -> Result<Option<OwnedFd>, Error> {
    let Some(Stdin::File { path }) = &request.stdin else { return Ok(None) };
    let path = path.clone();
    agent.fs.run(move |roots| file::open(roots, &path).map(|opened| Some(opened.file.into()))).await
}

/// Starts a process that runs for itself, and listens to it for as long as the request waits.
async fn detach(agent: &Agent, request: Exec, start: Start, channel: Channel<Exec>) -> Result<ExecResult, Error> {
    let (wait, is_named) = (request.wait_ms.map(Duration::from_millis), request.name.is_some());
    let detached = agent.processes.detach(request, start).await?;
    let (Detached::Started(process) | Detached::Found(process)) = &detached;
    channel.caller.started(&process.id);
    say(&channel.events, started(process)).await?;
    match (wait, &detached) {
        (Some(wait), _) => {
            let mut output = process.journal.attach(0);
            let ended = tokio::select! {
                ended = timeout(wait, relay(&mut output, &channel.events)) => ended.ok().transpose()?,
                () = channel.cancel.cancelled() => None,
            };
            // The answer has all of it.
            if ended.is_some() && !is_named {
                agent.processes.forget(process);
            }
            Ok(ended.unwrap_or_else(|| running(process)))
        }
        // A short one may have ended by now. `process.wait` reports that; the launch reports a running process.
        (None, Detached::Started(_)) => Ok(running(process)),
        (None, Detached::Found(_)) => Ok(process.journal.result().unwrap_or_else(|| running(process))),
    }
}

/// Starts the processes again that the container before has left for that. One that does not start is logged, and tried again with the next
/// container.
pub(crate) async fn start_again(agent: &Agent) {
    let requests = agent.processes.restarts().await.unwrap_or_default();
    for request in requests {
        let name = request.name.clone().unwrap_or_default();
        let start = async {
            let start = Start { stdin: open_stdin(agent, &request).await?, session: None };
            agent.processes.detach(request, start).await
        };
        if let Err(error) = start.await {
            tracing::warn!("process {name:?} was not started again: {}", error.message);
        }
    }
}

/// Relays between a process and this channel's client, for whom it runs.
async fn listen(mut foreground: Foreground, channel: Channel<Exec>, closes: bool) -> Result<ExecResult, Error> {
    say(&channel.events, started(&foreground.process)).await?;
    let inputs = foreground.inputs().clone();
    tokio::select! {
        ended = relay(&mut foreground.output, &channel.events) => ended,
        never = feed(inputs, channel.inputs, closes) => match never {},
    }
}

fn started(process: &Process) -> ExecEvent {
    ExecEvent::Started { process: process.id.clone(), pid: process.pid }
}

/// That it runs.
fn running(process: &Process) -> ExecResult {
    let duration_ms = process.started_at.elapsed().map_or(0, |run| u64::try_from(run.as_millis()).unwrap_or(u64::MAX));
    let pid = Some(process.pid);
    ExecResult { process: process.id.clone(), pid, exit: None, duration_ms, session_ended: false, usage: None }
}

/// The result of a command that was cancelled before its turn in a session had come.
fn never_begun(process: ProcessId) -> ExecResult {
    ExecResult { process, exit: Some(Exit::Cancelled), duration_ms: 0, session_ended: false, usage: None, pid: None }
}

fn check(request: &Exec) -> Result<(), Error> {
    command::check(&request.command)?;
    if request.session.is_some() && request.user.is_some() {
        return Err(excluded_field("user", "cannot be combined with `session`, which has a user"));
    }
    if request.create_session && request.session.is_none() {
        return Err(excluded_field("create_session", "needs `session`, the name of what is created"));
    }
    if matches!(request.stdin, Some(Stdin::File { .. })) && (request.session.is_some() || request.tty.is_some()) {
        return Err(excluded_field("stdin.path", "cannot be combined with `session` and `tty`: write `< file` in the command"));
    }
    if request.timeout_ms.is_some_and(|timeout| !(1..=MAX_TIMEOUT_MS).contains(&timeout)) {
        return Err(invalid_field("timeout_ms", &format!("a whole number from 1 to {MAX_TIMEOUT_MS}")));
    }
    if request.max_output_bytes.is_some_and(|limit| limit > MAX_OUTPUT_BYTES) {
        return Err(invalid_field("max_output_bytes", &format!("a whole number from 0 to {MAX_OUTPUT_BYTES}")));
    }
    if request.wait_ms.is_some() && !request.detach {
        return Err(excluded_field("wait_ms", "needs `detach`: the end of any other command is waited for"));
    }
    if request.wait_ms.is_some_and(|wait| wait > MAX_TIMEOUT_MS) {
        return Err(invalid_field("wait_ms", &format!("a whole number from 0 to {MAX_TIMEOUT_MS}")));
    }
    if request.restart && (request.name.is_none() || request.session.is_some()) {
        return Err(excluded_field("restart", "needs `detach` and `name`, and cannot be combined with `session`"));
    }
    match &request.name {
        Some(_) if !request.detach => Err(excluded_field("name", "needs `detach`: only a detached process has a name")),
        Some(name) => check_name(name),
        None => Ok(()),
    }
}

/// Whether this can be the name of a process or session. Fails with `invalid_request`.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let fit = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    if (1..=64).contains(&name.len()) && name.chars().all(fit) {
        return Ok(());
    }
    Err(invalid_field("name", "1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"))
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
    for bytes in Pieces(bytes).flat_map(Data::runs) {
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

/// Cuts output into what one event carries, not within a character of a text.
struct Pieces(Bytes);

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let Self(rest) = self;
        let continues = |at: &usize| rest.get(*at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
        // A character has at most four bytes.
        let cut = (EVENT_BYTES - 3..=EVENT_BYTES).rev().find(|at| !continues(at)).unwrap_or(EVENT_BYTES);
        (!rest.is_empty()).then(|| rest.split_to(cut.min(rest.len())))
    }
}

/// Passes on what the client says; when it says no more, stdin ends if that `closes` it.
pub(crate) async fn feed(
    process: mpsc::Sender<Input>,
    inputs: mpsc::UnboundedReceiver<ReceivedInput<ExecInput>>,
    closes: bool,
) -> Infallible {
    pass_on(&process, inputs).await;
    if closes {
        let _ = process.send(Input::Eof).await;
    }
    std::future::pending().await
}

async fn pass_on(process: &mpsc::Sender<Input>, mut inputs: mpsc::UnboundedReceiver<ReceivedInput<ExecInput>>) {
    while let Some(ReceivedInput { input, room }) = inputs.recv().await {
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

/// Sends an event to the client, if there still is one.
pub(crate) async fn say(events: &mpsc::Sender<ExecEvent>, event: ExecEvent) -> Result<(), Error> {
    events.send(event).await.map_err(|_| Error::internal("the client has disconnected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_between_characters() {
        let edge = "x".repeat(EVENT_BYTES - 1);
        for (output, first) in [
            (String::new(), None),
            ("short".to_owned(), Some(5)),
            (format!("{edge}xy"), Some(EVENT_BYTES)),
            (format!("{edge}é"), Some(EVENT_BYTES - 1)),
            (format!("{edge}🌊"), Some(EVENT_BYTES - 1)),
            (format!("{}é", &edge[1..]), Some(EVENT_BYTES)),
        ] {
            let pieces: Vec<_> = Pieces(output.clone().into()).collect();
            assert_eq!(pieces.first().map(Bytes::len), first);
            assert!(pieces.concat() == output.as_bytes());
        }
        let binary = Bytes::from(vec![0x80; 3 * EVENT_BYTES]);
        assert!(Pieces(binary).all(|piece| piece.len() == EVENT_BYTES), "what is no text is cut anywhere");
    }
}
