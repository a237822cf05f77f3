//! What the cases need: a fresh [`Sandbox`], on the target that the environment names, and the ways to speak to it.
//!
//! `CABANA_TEST_TARGET` is `agent` (the default: the program `CABANA_AGENT_BIN`, started for each case) or `stack` (a deployed or local
//! service at `CABANA_TEST_URL`, with the key `CABANA_TEST_API_KEY`). The cases cannot tell the difference.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

mod agent;
mod caller;
mod issuer;
mod sandbox;
pub mod soak;
mod socket;

pub use caller::Caller;
pub use issuer::{Issuer, PrivateKey, Publication};
pub use sandbox::{Answer, Sandbox, drain, gather};
pub use socket::Socket;

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;

/// How long a case may take before it is taken to hang. No case asserts a time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Where the cases run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The agent alone.
    Agent,
    /// Worker, Durable Object, container and agent.
    Stack,
}

impl Target {
    /// The one that the environment names.
    pub fn get() -> Self {
        match std::env::var("CABANA_TEST_TARGET").as_deref() {
            Ok("stack") => Self::Stack,
            Ok("agent") | Err(_) => Self::Agent,
            Ok(other) => panic!("CABANA_TEST_TARGET is agent or stack, not {other}"),
        }
    }
}

/// Runs a case in a sandbox of its own, which is destroyed afterwards, whatever came of the case.
pub async fn in_sandbox(case: impl AsyncFnOnce(&Sandbox)) {
    run(Sandbox::create().await, case).await;
}

/// Runs a case in a sandbox, and once more on an agent that walks paths itself, as where the kernel's way to confine them is refused.
pub async fn in_either_confinement(case: impl AsyncFn(&Sandbox)) {
    in_sandbox(&case).await;
    in_agent(&[("CABANA_CONFINEMENT", "walk")], &case).await;
}

/// Runs a case on an agent that is configured by these variables. Through the whole stack nobody can set them, and nothing is run.
pub async fn in_agent(variables: &[(&str, &str)], case: impl AsyncFnOnce(&Sandbox)) {
    in_agent_by(&[], variables, case).await;
}

/// The same for an agent that is started by another program, which becomes it: these words come before its own.
pub async fn in_agent_by(starter: &[&str], variables: &[(&str, &str)], case: impl AsyncFnOnce(&Sandbox)) {
    if Target::get() == Target::Agent {
        run(Sandbox::of_agent(agent::Agent::start(starter, variables)), case).await;
    }
}

async fn run(sandbox: Sandbox, case: impl AsyncFnOnce(&Sandbox)) {
    let case = AssertUnwindSafe(tokio::time::timeout(PATIENCE, case(&sandbox))).catch_unwind().await;
    sandbox.destroy().await;
    match case {
        Ok(finished) => finished.expect("the case hangs"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}
