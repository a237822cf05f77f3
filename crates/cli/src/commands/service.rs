//! `cabana kinds`, `keys` and `audit`.

use anyhow::{Result, bail};
use cabana_client::protocol::{
    audit::AuditPage,
    key::{CreateKey, Key, KeyId, KeyPage},
    sandbox::Instance,
};
use clap::{Args, Subcommand};

use crate::{command_line::span, context::Context, id::Named, table::Table};

#[derive(Debug, Args)]
pub(crate) struct Kinds {}

impl Kinds {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        context.output().table(&context.client()?.kinds().await?, |found| {
            let mut table = Table::new(&["KIND", "SIZE", "VCPU", "MIB", "DESCRIPTION"]);
            for kind in &found.kinds {
                let size = match kind.instance {
                    Instance::Named(size) => size.as_str().to_owned(),
                    Instance::Custom(_) => "custom".to_owned(),
                };
                let (processors, memory) = (kind.resources.vcpu.to_string(), kind.resources.memory_mib.to_string());
                table.row([kind.name.clone(), size, processors, memory, kind.description.clone()]);
            }
            table
        })?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// Make a key, and print it; nothing can show it again
    Create {
        /// What the key is good for, as JSON: {"sandboxes": …}; by default what your own is
        #[arg(long, value_name = "JSON")]
        scopes: Option<String>,
        /// End it after this time, such as 30days
        #[arg(long, value_name = "TIME", value_parser = span)]
        expires: Option<u64>,
        /// What the key is for
        name: String,
    },
    /// List keys
    Ls {
        /// Show those that were revoked, too
        #[arg(long)]
        revoked: bool,
    },
    /// Revoke keys
    Rm {
        /// The ids of the keys
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
}

impl Keys {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let (client, output) = (context.client()?, context.output());
        match self.action {
            KeyAction::Create { scopes, expires, name } => {
                let scopes = match scopes.as_deref().map(serde_json::from_str).transpose() {
                    Ok(scopes) => scopes,
                    Err(error) => bail!("--scopes: {error}"),
                };
                let request = CreateKey { name, scopes, expires_in_ms: expires, ..CreateKey::default() };
                output.show(&client.create_key(&request).await?, |made| made.key.clone())?;
            }
            KeyAction::Ls { revoked } => {
                let mut found = KeyPage { keys: Vec::new(), cursor: None };
                loop {
                    let page = client.keys(revoked, found.cursor.as_deref()).await?;
                    found.keys.extend(page.keys);
                    found.cursor = page.cursor;
                    if found.cursor.is_none() {
                        break;
                    }
                }
                output.table(&found, |found| keys(&found.keys))?;
            }
            KeyAction::Rm { keys } => {
                for key in keys {
                    client.revoke_key(&key.parse::<KeyId>()?).await?;
                }
            }
        }
        Ok(0)
    }
}

fn keys(keys: &[Key]) -> Table {
    let mut table = Table::new(&["KEY", "NAME", "TENANT", "CREATED", "ENDS", "LAST USED"]);
    for key in keys {
        let ends =
            key.revoked_at.as_ref().map(|at| format!("revoked {at}")).or_else(|| key.expires_at.clone()).unwrap_or_default();
        let (tenant, used) = (key.tenant.to_string(), key.last_used_at.clone().unwrap_or_default());
        table.row([key.id.to_string(), key.name.clone(), tenant, key.created_at.clone(), ends, used]);
    }
    table
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Check that no record was changed or taken out
    #[arg(long)]
    verify: bool,
    /// How many entries to show at most
    #[arg(short = 'n', long, default_value_t = 100, conflicts_with = "verify")]
    limit: usize,
    /// The sandbox; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Named,
}

impl Audit {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let (sandbox, output) = (context.sandbox(&self.id)?, context.output());
        if self.verify {
            let mut cursor = None;
            loop {
                let page = sandbox.verify_audit(cursor.as_deref()).await?;
                if let Some(at) = page.broken_at.filter(|_| !page.intact) {
                    output.show(&page, |_| format!("record {at} is not as it was written"))?;
                    return Ok(1);
                }
                cursor.clone_from(&page.cursor);
                if cursor.is_none() {
                    output.show(&page, |page| format!("intact up to record {}, hash {}", page.last, page.head))?;
                    return Ok(0);
                }
            }
        }
        let mut found = AuditPage::default();
        while found.entries.len() < self.limit {
            let page = sandbox.audit(found.cursor.as_deref()).await?;
            found.entries.extend(page.entries);
            found.cursor = page.cursor;
            if found.cursor.is_none() {
                break;
            }
        }
        found.entries.truncate(self.limit);
        output.table(&found, audit)?;
        Ok(0)
    }
}

fn audit(found: &AuditPage) -> Table {
    let mut table = Table::new(&["AT", "WHO", "OPERATION", "OUTCOME", "MS", "ABOUT"]);
    for entry in &found.entries {
        let duration = entry.duration_ms.map(|ms| ms.to_string()).unwrap_or_default();
        let about: String = entry.agent_summary.as_deref().unwrap_or_default().chars().take(60).collect();
        let (outcome, who) = (entry.outcome.to_string(), entry.principal.clone());
        table.row([entry.at.clone(), who, entry.operation.clone(), outcome, duration, about]);
    }
    table
}
