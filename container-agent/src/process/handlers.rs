//! The operations on processes.

use std::{sync::Arc, time::Duration};

use cabana_protocol::{
    Code, Data, Error,
    exec::{DEFAULT_OUTPUT_BYTES, ExecEvent, ExecResult, MAX_OUTPUT_BYTES, MAX_TIMEOUT_MS, Stdin, Tty},
    file::Done,
    process::{self, Attach, Get, List, Log, Logs, Remove, Resize, SendSignal, Wait, Waited},
};
use serde_json::json;
use tokio::time::timeout;

use super::{Input, Journal, STDIN_BYTES, condition, logs};
use crate::{
    Agent,
    dispatch::{Channel, Handle, Run},
    exec,
};

/// How long a wait lasts that sets no limit.
const DEFAULT_WAIT: Duration = Duration::from_secs(10 * 60);

impl Handle<List> for Agent {
    async fn handle(&self, _: List) -> Result<process::Processes, Error> {
        let processes = self.processes.list().iter().map(|record| record.describe()).collect();
        Ok(process::Processes { processes })
    }
}

impl Handle<Get> for Agent {
    async fn handle(&self, request: Get) -> Result<process::Process, Error> {
        Ok(self.processes.find(&request.process)?.describe())
    }
}

impl Handle<process::Input> for Agent {
    async fn handle(&self, request: process::Input) -> Result<Done, Error> {
        let record = self.processes.find(&request.process)?;
        if record.request.tty.is_none() && record.request.stdin != Some(Stdin::Live { stream: true }) {
            return Err(Error::new(Code::Conflict, "its stdin is not a stream"));
        }
        if let Some(Data(bytes)) = request.data {
            let too_large = || Error::new(Code::PayloadTooLarge, format!("at most {STDIN_BYTES} bytes at once"));
            let length =
                u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= STDIN_BYTES).ok_or_else(too_large)?;
            let room = Arc::clone(&record.room).acquire_many_owned(length).await.map_err(|_| ended())?;
            record.inputs.send(Input::Stdin(bytes, room)).await.map_err(|_| ended())?;
        }
        if request.eof {
            record.inputs.send(Input::Eof).await.map_err(|_| ended())?;
        }
        Ok(Done {})
    }
}

impl Handle<Resize> for Agent {
    async fn handle(&self, request: Resize) -> Result<Done, Error> {
        let record = self.processes.find(&request.process)?;
        if record.request.tty.is_none() {
            return Err(Error::new(Code::Conflict, "it has no terminal"));
        }
        let size = Tty { cols: request.cols, rows: request.rows };
        record.inputs.send(Input::Resize(size)).await.map_err(|_| ended())?;
        Ok(Done {})
    }
}

impl Handle<SendSignal> for Agent {
    async fn handle(&self, request: SendSignal) -> Result<Done, Error> {
        let record = self.processes.find(&request.process)?;
        record.inputs.send(Input::SignalTree(request.signal)).await.map_err(|_| ended())?;
        Ok(Done {})
    }
}

impl Handle<Wait> for Agent {
    async fn handle(&self, request: Wait) -> Result<Waited, Error> {
        let limit = match request.timeout_ms {
            None => DEFAULT_WAIT,
            Some(limit @ 1..=MAX_TIMEOUT_MS) => Duration::from_millis(limit),
            Some(_) => return Err(Error::invalid_request(format!("timeout_ms is 1 to {MAX_TIMEOUT_MS}"))),
        };
        let record = self.processes.find(&request.process)?;
        let late = || Error::new(Code::Timeout, format!("it has not happened within {} ms", limit.as_millis()));
        timeout(limit, condition::happened(&record.journal, request.until)).await.map_err(|_| late())?
    }
}

impl Handle<Logs> for Agent {
    async fn handle(&self, request: Logs) -> Result<Log, Error> {
        let most = match request.max_bytes.unwrap_or(DEFAULT_OUTPUT_BYTES) {
            most @ 0..=MAX_OUTPUT_BYTES => most,
            _ => return Err(Error::invalid_request(format!("max_bytes is at most {MAX_OUTPUT_BYTES}"))),
        };
        let journal = &self.processes.find(&request.process)?.journal;
        let from = request.from.unwrap_or_else(|| journal.bounds().0);
        check_offset(journal, from)?;
        Ok(logs::page(journal, from, most as usize).await)
    }
}

impl Handle<Remove> for Agent {
    async fn handle(&self, request: Remove) -> Result<Done, Error> {
        let record = self.processes.find(&request.process)?;
        if record.journal.result().is_none() {
            return Err(Error::new(Code::Conflict, "it runs"));
        }
        self.processes.forget(&record);
        Ok(Done {})
    }
}

impl Run<Attach> for Agent {
    async fn run(self, request: Attach, channel: Channel<Attach>) -> Result<ExecResult, Error> {
        let record = self.processes.find(&request.process)?;
        let from = request.from.unwrap_or(0);
        check_offset(&record.journal, from)?;
        exec::say(&channel.events, ExecEvent::Started { process: record.id.clone(), pid: record.pid }).await?;
        let mut output = record.journal.read(from);
        let stopped = || Error::new(Code::Interrupted, "no longer listening; the process runs on");
        tokio::select! {
            ended = exec::relay(&mut output, &channel.events) => ended,
            never = exec::feed(record.inputs.clone(), channel.inputs, false) => match never {},
            () = channel.cancel.cancelled() => Err(stopped()),
        }
    }
}

/// Whether there is something to read from this offset on, now or later.
fn check_offset(journal: &Journal, from: u64) -> Result<(), Error> {
    match journal.bounds() {
        (_, end) if from > end => {
            let error = Error::invalid_request(format!("only {end} bytes have been printed"));
            Err(error.with_details(json!({ "output_bytes": end })))
        }
        _ => Ok(()),
    }
}

fn ended() -> Error {
    Error::new(Code::Conflict, "the process has ended")
}
