//! The operations on processes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cabana_protocol::{
    Code, Data, Error,
    exec::{DEFAULT_OUTPUT_BYTES, ExecEvent, ExecResult, MAX_OUTPUT_BYTES, MAX_TIMEOUT_MS, Tty},
    file::Done,
    names::{excluded_field, invalid_field},
    process::{
        self, Attach, End, Get, List, Log, Logs, MAX_GRACE_MS, ProcessState, Remove, Removed, Resize, SendSignal, Wait, Waited,
    },
};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::timeout;

use super::{Input, Journal, STDIN_BYTES, exec, logs, screen, wait};
use crate::{
    Agent,
    dispatch::{Channel, Handle, Run},
};

/// How long a wait lasts that sets no limit.
const DEFAULT_WAIT: Duration = Duration::from_secs(10 * 60);

impl Handle<List> for Agent {
    async fn handle(&self, request: List) -> Result<process::Processes, Error> {
        let all = self.processes.list().into_iter().map(|process| process.describe());
        let wanted = |process: &process::Process| match request.state {
            None => true,
            Some(ProcessState::Running) => process.exit.is_none(),
            Some(ProcessState::Ended) => process.exit.is_some(),
        };
        Ok(process::Processes { processes: all.filter(wanted).collect() })
    }
}

impl Handle<Get> for Agent {
    async fn handle(&self, request: Get) -> Result<process::Process, Error> {
        Ok(self.processes.find(&request.process)?.describe())
    }
}

impl Handle<process::Input> for Agent {
    async fn handle(&self, request: process::Input) -> Result<Done, Error> {
        let process = self.processes.find(&request.process)?;
        if !process.launch.terminal && !process.launch.takes_input {
            let message = format!("process {} has no stream as its stdin; start it with stdin {{\"stream\": true}}", process.id);
            return Err(Error::new(Code::Conflict, message).because("no_stdin"));
        }
        if let Some(Data(bytes)) = request.data {
            let too_large = || Error::new(Code::PayloadTooLarge, format!("data must have at most {STDIN_BYTES} bytes at once"));
            let length =
                u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= STDIN_BYTES).ok_or_else(too_large)?;
            let room = Arc::clone(&process.room).acquire_many_owned(length).await.map_err(|_| ended())?;
            process.inputs.send(Input::Stdin(bytes, room)).await.map_err(|_| ended())?;
        }
        if request.eof {
            process.inputs.send(Input::Eof).await.map_err(|_| ended())?;
        }
        Ok(Done {})
    }
}

impl Handle<Resize> for Agent {
    async fn handle(&self, request: Resize) -> Result<Done, Error> {
        let process = self.processes.find(&request.process)?;
        if !process.launch.terminal {
            return Err(no_terminal(&process));
        }
        let size = Tty { cols: request.cols, rows: request.rows };
        process.inputs.send(Input::Resize(size)).await.map_err(|_| ended())?;
        Ok(Done {})
    }
}

impl Handle<SendSignal> for Agent {
    async fn handle(&self, request: SendSignal) -> Result<Done, Error> {
        let process = self.processes.find(&request.process)?;
        process.inputs.send(Input::SignalTree(request.signal)).await.map_err(|_| ended())?;
        Ok(Done {})
    }
}

impl Handle<Wait> for Agent {
    async fn handle(&self, request: Wait) -> Result<Waited, Error> {
        let limit = match request.timeout_ms {
            None => DEFAULT_WAIT,
            Some(limit @ 1..=MAX_TIMEOUT_MS) => Duration::from_millis(limit),
            Some(_) => return Err(invalid_field("timeout_ms", &format!("a whole number from 1 to {MAX_TIMEOUT_MS}"))),
        };
        let process = self.processes.find(&request.process)?;
        if let Some(from) = request.from {
            check_offset(&process.journal, from)?;
        }
        let what = wait::describe(&request.until);
        match timeout(limit, wait::wait(&process.journal, request.until, request.from)).await {
            Ok(waited) => waited,
            Err(_) => {
                let error = Error::new(Code::Timeout, format!("timed out after {} ms waiting for {what}", limit.as_millis()));
                Err(error.with_details(json!({ "output": logs::tail(&process.journal).await })))
            }
        }
    }
}

impl Handle<Logs> for Agent {
    async fn handle(&self, request: Logs) -> Result<Log, Error> {
        let most = match request.max_bytes.unwrap_or(DEFAULT_OUTPUT_BYTES) {
            most @ 0..=MAX_OUTPUT_BYTES => most,
            _ => return Err(invalid_field("max_bytes", &format!("a whole number from 0 to {MAX_OUTPUT_BYTES}"))),
        };
        let journal = &self.processes.find(&request.process)?.journal;
        let from = request.from.unwrap_or_else(|| journal.bounds().0);
        check_offset(journal, from)?;
        Ok(logs::page(journal, from, most as usize).await)
    }
}

impl Handle<End> for Agent {
    async fn handle(&self, request: End) -> Result<process::Processes, Error> {
        let grace = match request.grace_ms {
            Some(grace) if grace > MAX_GRACE_MS => {
                return Err(invalid_field("grace_ms", &format!("a whole number from 0 to {MAX_GRACE_MS}, got {grace}")));
            }
            grace => grace.map(Duration::from_millis),
        };
        let processes = match (&request.process, request.all) {
            (Some(process), false) => vec![self.processes.find(process)?],
            (None, true) => self.processes.list().into_iter().filter(|process| process.journal.result().is_none()).collect(),
            _ => return Err(excluded_field("all", "or `process` says what is to end, and not both")),
        };
        join_all(processes.iter().map(async |process| {
            process.ends_with_container.fetch_or(request.keep_restarts, Ordering::Relaxed);
            // Fails where it has ended already.
            let _ = process.inputs.send(Input::End(grace)).await;
            wait::exited(&process.journal).await;
        }))
        .await;
        Ok(process::Processes { processes: processes.iter().map(|process| process.describe()).collect() })
    }
}

impl Handle<Remove> for Agent {
    async fn handle(&self, request: Remove) -> Result<Removed, Error> {
        let processes = match (&request.process, request.ended) {
            (Some(process), false) => vec![self.processes.find(process)?],
            (None, true) => self.processes.list().into_iter().filter(|process| process.journal.result().is_some()).collect(),
            _ => return Err(excluded_field("ended", "or `process` says what to remove, and not both")),
        };
        if let Some(running) = processes.iter().find(|process| process.journal.result().is_none()) {
            let message = format!("process {} is still running; end it first", running.id);
            return Err(Error::new(Code::Conflict, message).because("running"));
        }
        processes.iter().for_each(|process| self.processes.forget(process));
        Ok(Removed { removed: processes.len() as u64 })
    }
}

impl Run<Attach> for Agent {
    async fn run(self, request: Attach, channel: Channel<Attach>) -> Result<ExecResult, Error> {
        let process = self.processes.find(&request.process)?;
        let from = if request.screen { 0 } else { request.from.unwrap_or(0) };
        check_offset(&process.journal, from)?;
        let size = process.size().filter(|_| request.screen);
        if request.screen && size.is_none() {
            return Err(no_terminal(&process));
        }
        channel.caller.started(&process.id);
        exec::say(&channel.events, ExecEvent::Started { process: process.id.clone(), pid: process.pid }).await?;
        let mut output = process.journal.attach(from);
        if let Some(size) = size {
            let (screen, ended) = screen::paint(&mut output, size, process.journal.bounds().1).await?;
            exec::say(&channel.events, screen).await?;
            if let Some(result) = ended {
                return Ok(result);
            }
        }
        let stopped = || Error::new(Code::Interrupted, "the attach was cancelled; the process runs on");
        tokio::select! {
            ended = exec::relay(&mut output, &channel.events) => ended,
            never = exec::feed(process.inputs.clone(), channel.inputs, false) => match never {},
            () = channel.cancel.cancelled() => Err(stopped()),
        }
    }
}

fn no_terminal(process: &super::Process) -> Error {
    Error::new(Code::Conflict, format!("process {} has no terminal", process.id)).because("no_terminal")
}

/// Whether there is something to read from this offset on, now or later.
fn check_offset(journal: &Journal, from: u64) -> Result<(), Error> {
    match journal.bounds() {
        (_, end) if from > end => {
            let error = invalid_field("from", &format!("a whole number from 0 to {end}, the bytes that the process has printed"));
            Err(error.with_details(json!({ "output_bytes": end })))
        }
        _ => Ok(()),
    }
}

fn ended() -> Error {
    Error::new(Code::Conflict, "the process has ended").because("ended")
}
