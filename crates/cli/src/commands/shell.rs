//! `cabana shell`.

use std::io::{IsTerminal, stdin};

use anyhow::{Result, bail};
use cabana_client::protocol::{
    exec::{Command, Exec},
    process::{Attach, End},
};
use clap::Args;

use crate::{
    attended::{Attended, Keys},
    command_line::Assignment,
    context::Context,
    id::Named,
    terminal,
};

/// What is run where no other program is named: the user's shell where the image has one, as a login shell.
const SHELL: &str = r#"exec "$(command -v bash || command -v sh)" -l"#;

/// Opens a terminal. It survives a broken connection: cabana connects again, and goes on where it was.
///
/// `~.` at the beginning of a line leaves it. A terminal without a name ends then. One with a name runs on, and the same command joins
/// it again, also from several places at once.
#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// Join the terminal of this name, or start it; it runs on when you leave
    #[arg(long)]
    name: Option<String>,
    /// A variable of the shell; the value of NAME alone comes from this environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<Assignment>,
    /// The directory that it begins in
    #[arg(short = 'w', long, visible_alias = "workdir", value_name = "PATH")]
    cwd: Option<String>,
    /// The user that it runs as
    #[arg(short, long)]
    user: Option<String>,
    /// The sandbox; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Named,
    /// The program, in place of the login shell
    #[arg(trailing_var_arg = true, value_name = "COMMAND", allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Shell {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        if !stdin().is_terminal() {
            bail!("stdin is no terminal: use `cabana exec`");
        }
        let sandbox = context.sandbox(&self.id)?;
        let command = if self.command.is_empty() { Command::Shell(SHELL.to_owned()) } else { Command::Argv(self.command) };
        let request = Exec {
            env: self.env.iter().map(Assignment::pair).collect::<Result<_>>()?,
            cwd: self.cwd,
            user: self.user,
            tty: Some(terminal::size()),
            detach: true,
            name: self.name.clone(),
            ..Exec::new(command)
        };
        let process = sandbox.call(request).await?.result.process.to_string();
        // One that others have used already is shown as it is now, not from its first byte on.
        let screen = self.name.is_some();
        let mut running = sandbox.stream(Attach { process: process.clone(), from: None, screen }).await?;
        running.allow_lost_inputs();
        let attended = Attended::new(Keys::RawWithEscape, true, context.output());
        let outcome = attended.run(running).await;
        if self.name.is_none() {
            // It has ended already, or nobody could find it again.
            let _ = sandbox.call(End { process: Some(process), ..End::default() }).await;
        }
        outcome
    }
}
