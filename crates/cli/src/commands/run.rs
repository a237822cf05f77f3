//! `cabana run`.

use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    create::SandboxSettings,
    exec::{Options, Words},
};
use crate::{command_line::Label, context::Context, failure};

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    options: Options,
    /// Keep the sandbox, and print its id on stderr
    #[arg(long)]
    keep: bool,
    /// What the sandbox is found by
    #[arg(short, long = "label", value_name = "NAME=VALUE")]
    labels: Vec<Label>,
    /// The kind of sandbox, see `cabana kinds`
    #[arg(value_name = "KIND")]
    kind: String,
    #[command(flatten)]
    words: Words,
}

impl Run {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client()?;
        let settings =
            SandboxSettings { kind: Some(self.kind), labels: self.labels, ephemeral: !self.keep, ..SandboxSettings::default() };
        let request = self.options.request(self.words.command())?;
        let made = client.create(&settings.request(None)?).await?;
        let sandbox = client.sandbox(made.id.clone());
        let outcome = self.options.attend(&sandbox, request, context.output()).await;
        if self.keep {
            eprintln!("cabana: kept {}", made.id);
            return outcome;
        }
        if let Err(error) = sandbox.delete().await {
            // What came of the command is the answer all the same.
            let error = anyhow::Error::from(error).context(format!("destroy {}", made.id));
            failure::report(&error, context.json());
        }
        outcome.with_context(|| made.id.to_string())
    }
}
