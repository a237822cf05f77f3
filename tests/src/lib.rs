//! What the cases need: a fresh [`Sandbox`], on the target that the environment names, and the ways to speak to it.
//!
//! `CABANA_TEST_TARGET` is `agent` (the default: the program `CABANA_AGENT_BIN`, started for each case), `image` (a container of
//! `CABANA_TEST_IMAGE`, which a case has for itself) or `stack` (a deployed or local service at `CABANA_TEST_URL`, with the key `CABANA_TEST_API_KEY`).
//! The cases cannot tell the difference.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

mod agent;
mod answer;
mod breaking_proxy;
mod caller;
mod command_line;
mod container;
mod dice;
pub mod http1;
mod issuer;
mod kind;
pub mod process;
mod requirement;
mod sandbox;
pub mod soak;
mod socket;
mod transcript;

pub use answer::Answer;
pub use breaking_proxy::BreakingProxy;
pub use caller::Caller;
pub use command_line::{CommandLine, Pty, Ran};
pub use container::run_in_image;
pub use dice::Dice;
pub use issuer::{Issuer, PrivateKey, Publication};
pub use kind::Kind;
pub use process::Process;
pub use requirement::require;
pub use sandbox::{Sandbox, drain, gather};
pub use socket::Socket;
pub use transcript::Transcript;

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use serde_json::{Value, json};

/// How long a case may take before it is taken to hang: several times what the longest takes on two processors that other cases and a
/// compiler share. No case asserts a time.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The streaming form of an answer with one event a line.
pub const NDJSON: &str = "application/x-ndjson";
/// The streaming form of an answer as server-sent events.
pub const SSE: &str = "text/event-stream";

/// Where the cases run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The agent alone.
    Agent,
    /// The agent in a container of its image.
    Image,
    /// Worker, Durable Object, container and agent.
    Stack,
}

impl Target {
    /// The one that the environment names.
    pub fn get() -> Self {
        match std::env::var("CABANA_TEST_TARGET").as_deref() {
            Ok("stack") => Self::Stack,
            Ok("image") => Self::Image,
            Ok("agent") | Err(_) => Self::Agent,
            Ok(other) => panic!("CABANA_TEST_TARGET is agent, image or stack, not {other}"),
        }
    }

    /// Whether cases speak to the agent itself, with no Worker before it.
    pub fn is_direct(self) -> bool {
        self != Self::Stack
    }
}

/// Runs a case in a sandbox of its own, which is destroyed afterwards, whatever came of the case.
pub async fn in_sandbox(case: impl AsyncFnOnce(&Sandbox)) {
    run(Sandbox::create().await, case).await;
}

/// Runs a case of the stack in a sandbox that is made with these fields.
pub async fn in_sandbox_with(fields: Value, case: impl AsyncFnOnce(&Sandbox)) {
    let sandbox = Sandbox::create_with(fields).await;
    sandbox.start().await;
    run(sandbox, case).await;
}

/// Runs a case of the stack in a sandbox of its own whose container has not been started.
pub async fn in_created_sandbox(case: impl AsyncFnOnce(&Sandbox)) {
    run(Sandbox::create_with(json!({})).await, case).await;
}

/// Runs a case in a sandbox, and on the agent once more with a process that walks paths itself, as where the kernel refuses `openat2`.
pub async fn in_either_confinement(case: impl AsyncFn(&Sandbox)) {
    in_sandbox(&case).await;
    if Target::get() == Target::Agent {
        in_agent(&[("CABANA_CONFINEMENT", "walk")], &case).await;
    }
}

/// Runs a case in a sandbox of a kind of the tests; without the service, in one with the variables of that kind.
pub async fn in_kind(kind: Kind, case: impl AsyncFnOnce(&Sandbox)) {
    match Target::get() {
        Target::Agent => in_agent(&kind.variables(), case).await,
        Target::Image => run(Sandbox::of_container(&kind.variables()).await, case).await,
        Target::Stack if kind.is_served().await => in_sandbox_with(json!({ "kind": kind.name() }), case).await,
        Target::Stack => {}
    }
}

/// Runs a case on an agent that is configured by these variables.
///
/// Panics elsewhere: such a case belongs into a module `agent_only`, which other runs skip.
pub async fn in_agent(variables: &[(&str, &str)], case: impl AsyncFnOnce(&Sandbox)) {
    in_agent_by(&[], variables, case).await;
}

/// Runs a case on an agent that another program starts by becoming it: these words come before the agent's own.
///
/// Panics elsewhere, as [`in_agent`] does.
pub async fn in_agent_by(starter: &[&str], variables: &[(&str, &str)], case: impl AsyncFnOnce(&Sandbox)) {
    assert_eq!(Target::get(), Target::Agent, "this case is for the agent: move it to a module `agent_only`");
    run(Sandbox::of_agent(agent::Agent::start(starter, variables)), case).await;
}

async fn run(sandbox: Sandbox, case: impl AsyncFnOnce(&Sandbox)) {
    let case = AssertUnwindSafe(tokio::time::timeout(PATIENCE, case(&sandbox))).catch_unwind().await;
    if matches!(case, Ok(Ok(()))) {
        return sandbox.release().await;
    }
    sandbox.destroy().await;
    match case {
        Ok(finished) => finished.expect("the case hangs"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Waits until `condition` holds; panics when it does not for half of [`PATIENCE`].
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE / 2, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}
