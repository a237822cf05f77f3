//! `cabana port`.

use anyhow::Result;
use cabana_client::protocol::{
    port::List,
    preview::{ExposePort, ExposedPort, PortAccess},
};
use clap::Args;

use crate::{command_line::span, context::Context, id::Named, table::Table};

#[derive(Debug, Args)]
pub(crate) struct Port {
    /// Everyone may visit it: the URL has no secret
    #[arg(long, conflicts_with_all = ["private", "remove"], requires = "port")]
    public: bool,
    /// Only callers of the API may visit it
    #[arg(long, conflicts_with = "remove", requires = "port")]
    private: bool,
    /// What to call it
    #[arg(long, requires = "port")]
    name: Option<String>,
    /// The URL ends after this time, such as 2h
    #[arg(long, value_name = "TIME", value_parser = span, requires = "port")]
    expires: Option<u64>,
    /// Take the URL away
    #[arg(long, requires = "port")]
    remove: bool,
    /// The sandbox; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Named,
    /// The port that gets a URL; without it the ports are listed
    port: Option<u16>,
}

impl Port {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let sandbox = context.sandbox(&self.id)?;
        let Some(port) = self.port else {
            let exposed = sandbox.exposed().await?;
            let listening = sandbox.call(List {}).await?;
            let mut table = Table::new(&["PORT", "LISTENS", "ACCESS", "URL"]);
            let mut ports: Vec<u16> = exposed.ports.iter().map(|port| port.port).collect();
            ports.extend(listening.ports.iter().map(|port| port.port));
            ports.sort_unstable();
            ports.dedup();
            for port in ports {
                let listens = listening.ports.iter().any(|listening| listening.port == port);
                let shown = exposed.ports.iter().find(|exposed| exposed.port == port);
                let access = shown.map_or(String::new(), |port| access(port.access).to_owned());
                table.row([
                    port.to_string(),
                    if listens { "yes" } else { "no" }.to_owned(),
                    access,
                    shown.map(url).unwrap_or_default(),
                ]);
            }
            context.output().table(&exposed, |_| table)?;
            return Ok(0);
        };
        if self.remove {
            sandbox.hide(port).await?;
            return Ok(0);
        }
        let access = match (self.public, self.private) {
            (true, _) => Some(PortAccess::Public),
            (_, true) => Some(PortAccess::Private),
            _ => None,
        };
        let request = ExposePort { port, name: self.name, access, expires_in_ms: self.expires, ..ExposePort::default() };
        context.output().show(&sandbox.expose(&request).await?, url)?;
        Ok(0)
    }
}

/// Where it is visited. A deployment without a domain for previews has only the path of its API.
fn url(port: &ExposedPort) -> String {
    port.url.clone().unwrap_or_else(|| port.path.clone())
}

fn access(access: PortAccess) -> &'static str {
    match access {
        PortAccess::Public => "public",
        PortAccess::Token => "token",
        PortAccess::Private => "private",
    }
}
