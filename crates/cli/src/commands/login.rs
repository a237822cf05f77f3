//! `cabana login`.

use std::io::{IsTerminal, Write, stderr, stdin};

use anyhow::{Context as _, Result, bail};
use cabana_client::{Client, protocol::sandbox::ListSandboxes};
use clap::Args;

use crate::{
    context::Context,
    profiles::{Profile, Profiles},
    terminal::Hidden,
};

/// The profile that is made where none is named.
const FIRST: &str = "default";

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The URL of the service, with its scheme
    url: String,
    /// Forget the profile instead
    #[arg(long)]
    forget: bool,
}

impl Login {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let name = context.profile().unwrap_or(FIRST).to_owned();
        let path = Profiles::path()?;
        let mut profiles = Profiles::load(&path)?;
        if self.forget {
            if profiles.profiles.remove(&name).is_none() {
                bail!("there is no profile {name:?}");
            }
            profiles.default = profiles.default.filter(|default| *default != name);
            profiles.save(&path)?;
            context.output().note(&format!("the profile {name} is forgotten"));
            return Ok(0);
        }
        let api_key = read_key()?;
        // A key that does not work is not kept.
        let client = Client::new(&self.url, &api_key)?;
        client.list(&ListSandboxes { limit: 1, ..ListSandboxes::default() }).await.context("try the key")?;
        let url = client.url().to_owned();
        profiles.profiles.insert(name.clone(), Profile { url, api_key });
        profiles.default.get_or_insert_with(|| name.clone());
        profiles.save(&path)?;
        context.output().note(&format!("the profile {name} is kept in {}", path.display()));
        Ok(0)
    }
}

/// The key, from a pipe or a person. It is no argument: everyone on this machine can read those.
fn read_key() -> Result<String> {
    let hidden = if stdin().is_terminal() {
        write!(stderr(), "API key: ").context("ask for the key")?;
        Some(Hidden::enter()?)
    } else {
        None
    };
    let mut line = String::new();
    stdin().read_line(&mut line).context("read the key")?;
    if hidden.is_some() {
        writeln!(stderr()).context("ask for the key")?;
    }
    let key = line.trim();
    if key.is_empty() {
        bail!("no key was given");
    }
    Ok(key.to_owned())
}
