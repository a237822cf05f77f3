//! `cabana show`, `rm`, `start`, `stop` and `restart`.

use anyhow::{Context as _, Result};
use cabana_client::{Sandbox, protocol::sandbox::Sandbox as Shown};
use clap::Args;

use crate::{context::Context, failure, id::Named, table::printable};

/// Some sandboxes.
#[derive(Debug, Args)]
struct Ids {
    /// The sandboxes; a name alone is of the kind sbx
    #[arg(required = true, value_name = "ID")]
    ids: Vec<Named>,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident: $verb:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Args)]
        pub(crate) struct $name {
            #[command(flatten)]
            ids: Ids,
        }

        impl $name {
            pub(crate) async fn run(self, context: &Context) -> Result<u8> {
                self.ids.each(context, async |sandbox| Ok(sandbox.$verb().await?)).await
            }
        }
    )*};
}

commands! {
    /// `cabana show`
    Show: show,
    /// `cabana start`
    Start: start,
    /// `cabana stop`
    Stop: stop,
    /// `cabana restart`
    Restart: restart,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    ids: Ids,
}

impl Remove {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let mut code = 0;
        for id in &self.ids.ids {
            match context.sandbox(id)?.delete().await {
                Ok(()) => context.output().note(&format!("{} is destroyed", id.0)),
                Err(error) => code = failure::report(&anyhow::Error::from(error).context(id.0.to_string()), context.json()),
            }
        }
        Ok(code)
    }
}

impl Ids {
    /// Does this to each of them. One that fails does not keep the others from it.
    async fn each(&self, context: &Context, act: impl AsyncFn(&Sandbox) -> Result<Shown>) -> Result<u8> {
        let (mut code, mut shown) = (0, Vec::new());
        for id in &self.ids {
            match act(&context.sandbox(id)?).await.with_context(|| id.0.to_string()) {
                Ok(sandbox) => shown.push(sandbox),
                Err(error) => code = failure::report(&error, context.json()),
            }
        }
        let output = context.output();
        match shown.as_slice() {
            [] => {}
            [one] => output.show(one, describe)?,
            several => output.show(&several, |several| several.iter().map(describe).collect::<Vec<_>>().join("\n"))?,
        }
        Ok(code)
    }
}

/// What there is to say of a sandbox, a line each.
fn describe(sandbox: &Shown) -> String {
    let mut lines = vec![
        ("id", sandbox.id.to_string()),
        ("state", sandbox.state.as_str().to_owned()),
        ("kind", sandbox.kind.clone()),
        ("created", sandbox.created_at.clone()),
        ("starts", sandbox.starts.to_string()),
    ];
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add("project", sandbox.project.clone());
    add("sleeps at", sandbox.sleeps_at.clone());
    add("expires at", sandbox.expires_at.clone());
    add("saved at", sandbox.saved_at.clone());
    add("lost since", sandbox.lost_since.clone());
    add("snapshot", sandbox.snapshot.as_ref().map(ToString::to_string));
    let failure = sandbox.last_failure.as_ref();
    add("last failure", failure.map(|failure| format!("{} at {}", failure.reason.details(), failure.at)));
    for (name, value) in &sandbox.labels {
        add("label", Some(format!("{name}={value}")));
    }
    lines.iter().map(|(name, value)| format!("{name:<14}{}\n", printable(value))).collect()
}
