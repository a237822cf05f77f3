//! The operations on processes.

use std::{sync::Arc, time::Duration};

use cabana_protocol::{
    Code, Data, Error,
    exec::{ExecEvent, ExecResult, MAX_TIMEOUT_MS, Stdin, Tty},
    file::Done,
    process::{self, Attach, Get, List, Log, Logs, Remove, Resize, SendSignal, Wait, Waited},
};
use tokio::time::timeout;

use super::{Entry, Input, STDIN_BYTES, Stream, condition};
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
        let record = self.processes.find(&request.process)?;
        let from = request.from.unwrap_or_else(|| record.journal.bounds().0);
        let mut log = Log { from, to: from, stdout: Data::default(), stderr: Data::default(), exit: None };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut reader = record.journal.read(from);
        while let Some(entry) = reader.next_kept().await {
            match entry {
                Entry::Chunk(chunk) => {
                    log.to = chunk.offset + chunk.bytes.len() as u64;
                    if chunk.stream == Stream::Stdout { &mut stdout } else { &mut stderr }.extend_from_slice(&chunk.bytes);
                }
                Entry::Gap { to, .. } => (log.from, log.to) = (to, to),
                Entry::End(result) => {
                    log.exit = result.exit;
                    break;
                }
            }
        }
        Ok(Log { stdout: stdout.into(), stderr: stderr.into(), ..log })
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
    async fn run(&self, request: Attach, channel: Channel<Attach>) -> Result<ExecResult, Error> {
        let record = self.processes.find(&request.process)?;
        let (from, (_, end)) = (request.from.unwrap_or(0), record.journal.bounds());
        if from > end {
            return Err(Error::invalid_request(format!("only {end} bytes have been printed")));
        }
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

fn ended() -> Error {
    Error::new(Code::Conflict, "the process has ended")
}
