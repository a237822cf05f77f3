//! `cabana doctor`.

use anyhow::Result;
use cabana_client::{
    Client,
    protocol::{
        exec::Exec,
        sandbox::{CreateSandbox, ListSandboxes},
    },
};
use clap::Args;
use serde::Serialize;

use crate::context::Context;

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Run a command in a new sandbox, too
    #[arg(long)]
    run: bool,
}

/// What was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    says: String,
}

impl Doctor {
    /// Looks at one thing after another, and stops at the first that does not work: the later ones need it.
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let mut checks = Vec::new();
        let mut note = |name, outcome: Result<String>| {
            let (ok, says) = outcome.map_or_else(|error| (false, format!("{error:#}")), |says| (true, says));
            checks.push(Check { name, ok, says });
            ok
        };
        let service = context.service();
        let found = service.as_ref().map(|service| format!("{}, from {}", service.url, service.source));
        if note("settings", found.map_err(|error| anyhow::anyhow!("{error:#}")))
            && let Ok(client) = context.client()
            && note("service", client.health().await.map(|health| health.to_string()).map_err(Into::into))
        {
            let filter = ListSandboxes { limit: 1, ..ListSandboxes::default() };
            let admitted = note("key", client.list(&filter).await.map(|_| "the service knows it".to_owned()).map_err(Into::into));
            if admitted && self.run {
                note("sandbox", first_command(&client).await);
            }
        }
        let all = checks.iter().all(|check| check.ok);
        context.output().show(&checks, |checks| {
            let line = |check: &Check| format!("{} {:<10}{}", if check.ok { "ok    " } else { "failed" }, check.name, check.says);
            checks.iter().map(line).collect::<Vec<_>>().join("\n")
        })?;
        Ok(if all { 0 } else { 1 })
    }
}

async fn first_command(client: &Client) -> Result<String> {
    let made = client.create(&CreateSandbox { ephemeral: Some(true), ..CreateSandbox::default() }).await?;
    let sandbox = client.sandbox(made.id);
    let output = sandbox.call(Exec::new("uname -sm")).await;
    sandbox.delete().await?;
    let output = output?;
    Ok(format!("{} ran a command on {}", sandbox.id(), String::from_utf8_lossy(&output.stdout.0).trim()))
}
