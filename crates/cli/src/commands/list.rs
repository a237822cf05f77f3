//! `cabana ls`.

use anyhow::Result;
use cabana_client::protocol::sandbox::{ListSandboxes, MAX_LIMIT, Sandbox, Sandboxes, State};
use clap::Args;

use crate::{context::Context, table::Table};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those with this label
    #[arg(short, long = "label", value_name = "NAME[=VALUE]", value_parser = label)]
    labels: Vec<(String, Option<String>)>,
    /// Only those of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only those of this project
    #[arg(long)]
    project: Option<String>,
    /// Only those in this state: created, starting, running, stopping, sleeping or failed
    #[arg(long, value_parser = state)]
    state: Option<State>,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
}

fn label(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
    if name.is_empty() { Err("a label is NAME or NAME=VALUE".to_owned()) } else { Ok((name.to_owned(), value)) }
}

fn state(text: &str) -> Result<State, String> {
    serde_json::from_value(text.into()).map_err(|_| "no such state".to_owned())
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client()?;
        let Self { labels, kind, project, state, quiet } = self;
        let mut filter = ListSandboxes { labels, kind, project, state, limit: MAX_LIMIT, ..ListSandboxes::default() };
        let mut found = Sandboxes::default();
        loop {
            let page = client.list(&filter).await?;
            found.sandboxes.extend(page.sandboxes);
            filter.cursor = page.cursor;
            if filter.cursor.is_none() {
                break;
            }
        }
        if quiet && !context.json() {
            let ids: Vec<&str> = found.sandboxes.iter().map(|sandbox| sandbox.id.as_str()).collect();
            context.output().print(&ids.join("\n"))?;
            return Ok(0);
        }
        context.output().table(&found, |found| table(&found.sandboxes))?;
        Ok(0)
    }
}

fn table(sandboxes: &[Sandbox]) -> Table {
    let mut table = Table::new(&["ID", "STATE", "KIND", "CREATED", "LABELS"]);
    for sandbox in sandboxes {
        let labels: Vec<String> = sandbox.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cells = [sandbox.id.as_str(), sandbox.state.as_str(), &sandbox.kind, &sandbox.created_at, &labels.join(",")];
        table.row(cells.map(str::to_owned));
    }
    table
}
