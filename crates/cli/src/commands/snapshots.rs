//! `cabana snapshot` and `fork`.

use anyhow::Result;
use cabana_client::protocol::sandbox::{CreateSnapshot, ForkSandbox, SnapshotId};
use clap::{Args, Subcommand};

use crate::{context::Context, id::Named, table::Table};

#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Save the files of a sandbox, and print the snapshot's id
    Create {
        /// What to call it
        #[arg(long)]
        name: Option<String>,
        /// The sandbox; a name alone is of the kind sbx
        #[arg(value_name = "ID")]
        id: Named,
    },
    /// List the snapshots of a sandbox
    Ls {
        /// The sandbox; a name alone is of the kind sbx
        #[arg(value_name = "ID")]
        id: Named,
    },
    /// Bring back the files of a snapshot
    Restore {
        /// The sandbox; a name alone is of the kind sbx
        #[arg(value_name = "ID")]
        id: Named,
        snapshot: SnapshotId,
    },
    /// Forget a snapshot
    Rm {
        /// The sandbox; a name alone is of the kind sbx
        #[arg(value_name = "ID")]
        id: Named,
        snapshot: SnapshotId,
    },
}

impl Snapshot {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let output = context.output();
        match self.action {
            Action::Create { name, id } => {
                let made = context.sandbox(&id)?.snapshot(&CreateSnapshot { name }).await?;
                output.show(&made, |made| made.id.to_string())?;
            }
            Action::Ls { id } => output.table(&context.sandbox(&id)?.snapshots().await?, |found| {
                let mut table = Table::new(&["SNAPSHOT", "NAME", "CREATED", "MIB"]);
                for snapshot in &found.snapshots {
                    let (name, size) = (snapshot.name.clone().unwrap_or_default(), (snapshot.size_bytes >> 20).to_string());
                    table.row([snapshot.id.to_string(), name, snapshot.created_at.clone(), size]);
                }
                table
            })?,
            Action::Restore { id, snapshot } => {
                let shown = context.sandbox(&id)?.restore(&snapshot).await?;
                output.show(&shown, |shown| shown.state.as_str().to_owned())?;
            }
            Action::Rm { id, snapshot } => context.sandbox(&id)?.delete_snapshot(&snapshot).await?,
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// How many sandboxes to make, 1 to 16
    #[arg(short = 'n', long, value_name = "NUMBER")]
    count: Option<u32>,
    /// The sandbox whose files they begin with
    #[arg(value_name = "ID")]
    id: Named,
    /// The part of the new id after the kind; of several, a number follows it
    name: Option<String>,
}

impl Fork {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let made = context.sandbox(&self.id)?.fork(&ForkSandbox { count: self.count, name: self.name }).await?;
        context.output().show(&made, |made| {
            let ids: Vec<&str> = made.sandboxes.iter().map(|sandbox| sandbox.id.as_str()).collect();
            ids.join("\n")
        })?;
        Ok(0)
    }
}
