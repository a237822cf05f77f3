//! `exec`: checks the request, starts a process, and relays what it says.

mod command;

use std::convert::Infallible;

use cabana_protocol::{
    Data, Error,
    exec::{Exec, ExecEvent, ExecInput, ExecResult, MAX_OUTPUT_BYTES, MAX_TIMEOUT_MS},
};
use tokio::sync::mpsc;

use crate::{
    Agent,
    dispatch::{Channel, Run, Told},
    process::{Chunk, Entry, Input, Reader, Stream},
};

impl Run<Exec> for Agent {
    async fn run(&self, request: Exec, channel: Channel<Exec>) -> Result<ExecResult, Error> {
        check(&request)?;
        let command = command::resolve(request, &self.processes)?;
        let (mut process, inputs) = self.processes.start(command, channel.cancel)?;
        let started = ExecEvent::Started { process: process.id.clone(), pid: process.pid };
        say(&channel.events, started).await?;
        let feed = feed(inputs, channel.inputs);
        tokio::select! {
            ended = relay(&mut process.output, &channel.events) => ended,
            never = feed => match never {},
        }
    }
}

fn check(request: &Exec) -> Result<(), Error> {
    if request.timeout_ms.is_some_and(|timeout| !(1..=MAX_TIMEOUT_MS).contains(&timeout)) {
        return Err(Error::invalid_request(format!("timeout_ms is 1 to {MAX_TIMEOUT_MS}")));
    }
    if request.max_output_bytes.is_some_and(|limit| limit > MAX_OUTPUT_BYTES) {
        return Err(Error::invalid_request(format!("max_output_bytes is at most {MAX_OUTPUT_BYTES}")));
    }
    Ok(())
}

/// Passes on what the process prints, until it has ended.
async fn relay(output: &mut Reader, events: &mpsc::Sender<ExecEvent>) -> Result<ExecResult, Error> {
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

/// Passes on what the client says, until it says no more.
async fn feed(process: mpsc::Sender<Input>, mut inputs: mpsc::UnboundedReceiver<Told<ExecInput>>) -> Infallible {
    while let Some(Told { input, room }) = inputs.recv().await {
        let input = match input {
            ExecInput::Stdin { bytes } => Input::Stdin(bytes.0, room),
            ExecInput::Eof => Input::Eof,
            ExecInput::Signal { signal } => Input::Signal(signal),
        };
        // Fails when the process has ended: then its result is on the way.
        let _ = process.send(input).await;
    }
    drop(process);
    std::future::pending().await
}

async fn say(events: &mpsc::Sender<ExecEvent>, event: ExecEvent) -> Result<(), Error> {
    events.send(event).await.map_err(|_| Error::internal("nobody listens any more"))
}
