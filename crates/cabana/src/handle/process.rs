//! A process that runs in the background.

use std::time::Duration;

use cabana_protocol::{
    Signal,
    exec::{Exec, Exit},
    process::{Attach, End, Get, Log, Logs, Process as Description, SendSignal, Until, Wait, Waited},
};

use super::{Handle, Running};
use crate::{Error, Result};

/// A process of a sandbox, by its id or its name. Dropping it ends nothing.
#[derive(Debug, Clone)]
pub struct Process {
    sandbox: Handle,
    id: String,
}

impl Handle {
    /// Starts a command that runs on when its caller leaves. With a `name`, the same request finds the process that runs.
    ///
    /// Fails as [`Exec`] says.
    pub async fn spawn(&self, command: impl Into<Exec>) -> Result<Process> {
        let started = self.call(Exec { detach: true, ..command.into() }).await?;
        Ok(self.process(started.result.process.as_str()))
    }

    /// The process with this id or name. Makes no call.
    pub fn process(&self, id: &str) -> Process {
        Process { sandbox: self.clone(), id: id.to_owned() }
    }
}

impl Process {
    /// Its id, or the name that it was reached by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it is.
    ///
    /// Fails with `not_found`, and with `gone` for one from before the sandbox's last restart; so do all other methods.
    pub async fn show(&self) -> Result<Description> {
        self.sandbox.call(Get { process: self.id.clone() }).await
    }

    /// What it has printed, as far as that is kept, at most 1 MiB: its first page. [`Self::attach`] hears all of it.
    pub async fn logs(&self) -> Result<Log> {
        self.sandbox.call(Logs { process: self.id.clone(), from: None, max_bytes: None }).await
    }

    /// Listens to it: what it has printed since `from`, and what it prints until it ends. Dropping the answer ends the listening alone.
    pub async fn attach(&self, from: u64) -> Result<Running<Attach>> {
        self.sandbox.stream(Attach { process: self.id.clone(), from: Some(from), screen: false }).await
    }

    /// Waits until this port of the sandbox accepts connections.
    ///
    /// Fails with `timeout` after so long, and with `conflict` where the process ends first.
    pub async fn wait_for_port(&self, port: u16, timeout: Duration) -> Result<()> {
        self.reached(self.wait_until(Until::Port { port, http: None }, timeout).await?).map(drop)
    }

    /// Waits for a line of its output that holds this text, and answers the line.
    ///
    /// Fails with `timeout` after so long, and with `conflict` where the process ends first.
    pub async fn wait_for_log(&self, text: &str, timeout: Duration) -> Result<String> {
        let waited = self.wait_until(Until::Log { log: text.to_owned() }, timeout).await?;
        Ok(match self.reached(waited)? {
            Waited::Logged { line, .. } => line.to_string(),
            Waited::Exited { .. } | Waited::Listening { .. } => String::new(),
        })
    }

    /// Waits for its end. Fails with `timeout` after so long.
    pub async fn wait(&self, timeout: Duration) -> Result<Exit> {
        match self.wait_until(Until::EXIT, timeout).await? {
            Waited::Exited { exit } => Ok(exit),
            Waited::Logged { .. } | Waited::Listening { .. } => {
                Err(Error::new(cabana_protocol::Code::AgentUnavailable, "the sandbox's answer cannot be understood"))
            }
        }
    }

    /// Waits for something to happen to it. Fails with `timeout` after so long.
    pub async fn wait_until(&self, until: Until, timeout: Duration) -> Result<Waited> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.sandbox.call(Wait { process: self.id.clone(), until, from: None, timeout_ms: Some(timeout_ms) }).await
    }

    /// Sends a signal to it and to everything that it has started. Fails with `conflict` where it has ended.
    pub async fn signal(&self, signal: Signal) -> Result<()> {
        self.sandbox.call(SendSignal { process: self.id.clone(), signal }).await?;
        Ok(())
    }

    /// Ends it with everything that it has started: SIGTERM first, and SIGKILL after the grace time. Answers when all of that is gone. One that
    /// has ended already stays as it is.
    pub async fn kill(&self) -> Result<()> {
        self.sandbox.call(End { process: Some(self.id.clone()), ..End::default() }).await?;
        Ok(())
    }

    /// What was waited for, unless the process has ended first.
    fn reached(&self, waited: Waited) -> Result<Waited> {
        match waited {
            Waited::Exited { exit } => {
                let message = format!("the process {} has ended first: {exit}", self.id);
                Err(cabana_protocol::Error::new(cabana_protocol::Code::Conflict, message).because("ended").into())
            }
            other => Ok(other),
        }
    }
}
