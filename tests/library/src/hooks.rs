//! A class with hooks.

#![allow(missing_docs, reason = "what #[durable_object] generates has none")]

use std::time::Duration;

use cabana::{
    Code, CreateSandbox, Error, Handle, Hooks, Result, SandboxId, Stopped,
    protocol::{
        sandbox::{State, UpdateSandbox},
        variables::VariableChanges,
    },
};
use worker::{Delay, Env};

use crate::{check, sandbox_of_kind};

/// Notes in a sandbox's labels what has become of it.
#[derive(Debug)]
pub(crate) struct Noting;

impl Hooks for Noting {
    fn variables(env: &Env, id: &SandboxId) -> VariableChanges {
        let greeting = env.var("GREETING").map(|value| value.to_string()).ok();
        [("GREETING".to_owned(), greeting), ("SELF".to_owned(), Some(id.to_string()))].into()
    }

    async fn started(_: Env, sandbox: Handle) -> Result<()> {
        // Commands run from here on.
        let output = sandbox.exec("date +%s%N >> started; grep -c . started").await?;
        note(&sandbox, "started", output.stdout.to_string().trim()).await
    }

    async fn stopped(_: Env, sandbox: Handle, end: Stopped) -> Result<()> {
        note(&sandbox, "stopped", &format!("{:?}", end.state)).await
    }
}

cabana::sandbox_class!(NotingSandbox, hooks: Noting);

async fn note(sandbox: &Handle, name: &str, value: &str) -> Result<()> {
    let labels = [(name.to_owned(), Some(value.to_lowercase()))].into();
    sandbox.update(&UpdateSandbox { labels, ..UpdateSandbox::default() }).await.map(drop)
}

/// Waits until a hook has noted this.
async fn until_noted(sandbox: &Handle, name: &str, value: &str) -> Result<State> {
    for _ in 0..300 {
        let shown = sandbox.show().await?;
        if shown.labels.get(name).is_some_and(|noted| noted == value) {
            return Ok(shown.state);
        }
        Delay::from(Duration::from_millis(100)).await;
    }
    Err(Error::new(Code::Timeout, format!("{name} is not {value}: {:?}", sandbox.show().await?.labels)))
}

pub(crate) async fn hooks_run_when_a_sandbox_starts_and_stops(env: &Env) -> Result<()> {
    let sandbox = sandbox_of_kind(env, "noting", "hooked")?;
    sandbox.exec("true").await?;
    until_noted(&sandbox, "started", "1").await?;
    sandbox.stop().await?;
    let state = until_noted(&sandbox, "stopped", "sleeping").await?;
    check(state == State::Sleeping, state)?;
    sandbox.exec("true").await?;
    until_noted(&sandbox, "started", "2").await.map(drop)
}

pub(crate) async fn variables_of_a_class_are_below_those_of_its_sandboxes(env: &Env) -> Result<()> {
    let sandbox = sandbox_of_kind(env, "noting", "layered")?;
    let told = sandbox.exec("echo $GREETING $SELF $KIND").await?;
    check(told.stdout.to_string() == format!("hello {} noting\n", sandbox.id()), told)?;
    let own = CreateSandbox { env: [("GREETING".to_owned(), Some("own".to_owned()))].into(), ..CreateSandbox::default() };
    let told = sandbox_of_kind(env, "noting", "own")?.with(own).exec("echo $GREETING").await?;
    check(told.stdout.to_string() == "own\n", told)
}
