//! `cabana ssh-proxy` and `cabana setup ssh`.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use crate::{
    context::Context,
    id::Named,
    ssh::{self, Settings},
};

/// What OpenSSH runs in place of a connection.
#[derive(Debug, Args)]
pub(crate) struct SshProxy {
    /// The sandbox, as `mybox.cabana` or as its id
    #[arg(value_name = "HOST")]
    host: Host,
}

/// A sandbox in the name of a host.
#[derive(Debug, Clone)]
struct Host(Named);

impl std::str::FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_suffix(ssh::SUFFIX).unwrap_or(text).parse().map(Self)
    }
}

impl SshProxy {
    /// Speaks SSH on stdin and stdout until the client hangs up.
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let host_key = Settings::find(None)?.host_key()?;
        let sandbox = context.sandbox(&self.host.0)?;
        // The client would show a refusal as a connection that ended. Here it is told in words, on stderr.
        sandbox.show().await?;
        // Ctrl-C is for the command: the client passes it on as a key.
        let interrupts = tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
        let served = ssh::serve(sandbox, host_key, tokio::io::join(tokio::io::stdin(), tokio::io::stdout())).await;
        interrupts.abort();
        served.map(|()| 0)
    }
}

/// Settings of other programs.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Let ssh, scp, sftp, rsync, git and editors reach sandboxes as `mybox.cabana`
    Ssh(SetupSsh),
}

#[derive(Debug, Args)]
struct SetupSsh {
    /// Take it back
    #[arg(long)]
    undo: bool,
    /// The settings of ssh [default: ~/.ssh/config]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Setup {
    pub(crate) fn run(self, context: &Context) -> Result<u8> {
        let What::Ssh(SetupSsh { undo, config }) = self.what;
        let settings = Settings::find(config)?;
        if undo {
            settings.remove()?;
        } else {
            let program = env::current_exe().context("find this program")?;
            let mut proxy = vec![program.to_string_lossy().into_owned()];
            for (option, value) in [("--profile", context.profile()), ("--tenant", context.tenant())] {
                proxy.extend(value.into_iter().flat_map(|value| [option.to_owned(), value.to_owned()]));
            }
            settings.write(&proxy)?;
        }
        let file = settings.user().display();
        context.output().note(&if undo {
            format!("{file}: without cabana")
        } else {
            format!("{file}: ssh NAME{} reaches the sandbox NAME", ssh::SUFFIX)
        });
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Host;

    #[test]
    fn a_host_is_a_sandbox_with_or_without_the_suffix() {
        let id = |text: &str| text.parse::<Host>().map(|host| host.0.0.to_string()).ok();
        for (text, expected) in [
            ("mybox.cabana", Some("sbx-mybox")),
            ("python-a.cabana", Some("python-a")),
            ("sbx-a", Some("sbx-a")),
            ("a.b.cabana", None),
            (".cabana", None),
        ] {
            assert_eq!(id(text).as_deref(), expected, "{text}");
        }
    }
}
