//! Bringing a sandbox to rest before its files are saved.

use cabana_protocol::{
    Operation, decode_own,
    exec::{Command, Exec, Exit},
    process::End,
};
use worker::{Fetcher, Method};

use crate::wire;

/// Longest that a sandbox's own command may take, in milliseconds.
pub(super) const BEFORE_SLEEP_MS: u64 = 60_000;

/// Longest that processes may take to end after SIGTERM, in milliseconds.
const GRACE_MS: u64 = 2_000;

/// Longest that the kernel may take to write out what programs have written, in milliseconds.
const SYNC_MS: u64 = 30_000;

/// Runs the command, ends every process, and has the kernel write out what is buffered. Every step is tried; the first failure is told.
pub(super) async fn quiesce(agent: Fetcher, secret: String, before: Option<Command>) -> Result<(), String> {
    let agent = Caller { agent, secret };
    let prepared = match before {
        Some(command) => agent.run("before_sleep", command, BEFORE_SLEEP_MS).await,
        None => Ok(()),
    };
    let end = End { process: None, all: true, grace_ms: Some(GRACE_MS), keep_restarts: true };
    let ended = match agent.call(&end).await {
        // The agent of an older image does not know the field.
        Err(_) => agent.call(&End { keep_restarts: false, ..end }).await.map(drop),
        Ok(_) => Ok(()),
    };
    let sync = Command::Argv(["sync", "-f", "/"].map(str::to_owned).to_vec());
    let written = agent.run("sync", sync, SYNC_MS).await;
    prepared.and(ended).and(written)
}

/// Calls the agent of a container that is to end: no lease is to be had any more.
struct Caller {
    agent: Fetcher,
    secret: String,
}

impl Caller {
    async fn run(&self, what: &str, command: Command, timeout_ms: u64) -> Result<(), String> {
        let exec = Exec { timeout_ms: Some(timeout_ms), ..Exec::new(command) };
        match self.call(&exec).await?.exit {
            Some(Exit::Exited { code: 0 }) => Ok(()),
            exit => Err(format!("{what} did not succeed: {exit:?}")),
        }
    }

    async fn call<O: Operation>(&self, operation: &O) -> Result<O::Response, String> {
        let path = format!("/v1/{}", O::NAME.replace('.', "/"));
        let failed = |error: worker::Error| format!("{}: {error}", O::NAME);
        let request = wire::request(Method::Post, &path, Some(operation)).map_err(|error| error.message)?;
        request.headers().set("authorization", &format!("Bearer {}", self.secret)).map_err(failed)?;
        let mut answer = self.agent.fetch_request(request).await.map_err(failed)?;
        match answer.status_code() {
            200 => decode_own(&answer.bytes().await.map_err(failed)?).map_err(|error| format!("{}: {}", O::NAME, error.message)),
            status => Err(format!("{}: the agent answered {status}", O::NAME)),
        }
    }
}
