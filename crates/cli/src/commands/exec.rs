//! `cabana exec`.

use std::io::{IsTerminal, stdin};

use anyhow::Result;
use cabana_client::{
    Sandbox,
    protocol::exec::{self, Command, ExecOutput, Stdin},
};
use clap::Args;

use crate::{
    attended::{Attended, Keys},
    command_line::{Assignment, span},
    context::Context,
    failure,
    id::Named,
    output::Output,
    terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    options: Options,
    /// Leave the command running, and print its process
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"])]
    detach: bool,
    /// The name of a detached command, by which the same request finds it again
    #[arg(long, requires = "detach")]
    name: Option<String>,
    /// The sandbox; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Named,
    #[command(flatten)]
    words: Words,
}

/// How a command runs.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Pass stdin to the command
    #[arg(short, long)]
    interactive: bool,
    /// Run the command on a terminal
    #[arg(short, long)]
    tty: bool,
    /// A variable of the command; the value of NAME alone comes from this environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<Assignment>,
    /// The directory that it runs in
    #[arg(short = 'w', long, visible_alias = "workdir", value_name = "PATH")]
    cwd: Option<String>,
    /// The user that it runs as
    #[arg(short, long)]
    user: Option<String>,
    /// End it after this time, such as 90s or 2h [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = span)]
    timeout: Option<u64>,
    /// The session that it runs in, by its name; made where there is none
    #[arg(long, conflicts_with = "user")]
    session: Option<String>,
}

/// The command itself.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// A script for the shell, in place of COMMAND
    #[arg(short = 'c', long = "shell", value_name = "SCRIPT", conflicts_with = "command")]
    script: Option<String>,
    /// The program and its arguments, passed on as they are
    #[arg(trailing_var_arg = true, required_unless_present = "script", value_name = "COMMAND", allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Words {
    pub(crate) fn command(self) -> Command {
        self.script.map_or(Command::Argv(self.command), Command::Shell)
    }
}

impl Options {
    pub(crate) fn request(&self, command: Command) -> Result<exec::Exec> {
        Ok(exec::Exec {
            env: self.env.iter().map(Assignment::pair).collect::<Result<_>>()?,
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            timeout_ms: self.timeout,
            session: self.session.clone(),
            create_session: self.session.is_some(),
            tty: self.tty.then(terminal::size),
            stdin: (self.interactive && !self.tty).then_some(Stdin::Live { stream: true }),
            ..exec::Exec::new(command)
        })
    }

    /// Runs the command to its end, with this program's stdin, stdout and stderr.
    pub(crate) async fn attend(&self, sandbox: &Sandbox, request: exec::Exec, output: Output) -> Result<u8> {
        let keys = match (self.interactive, self.tty && stdin().is_terminal()) {
            (false, _) => Keys::None,
            (true, false) => Keys::Piped,
            (true, true) => Keys::Raw,
        };
        let mut running = sandbox.stream(request).await?;
        if self.tty {
            running.allow_lost_inputs();
        }
        Attended::new(keys, self.tty, output).run(running).await
    }
}

impl Exec {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let sandbox = context.sandbox(&self.id)?;
        let mut request = self.options.request(self.words.command())?;
        let output = context.output();
        if self.detach {
            (request.detach, request.name) = (true, self.name);
            let started = sandbox.call(request).await?;
            output.show(&started.result, |result| result.process.to_string())?;
            return Ok(0);
        }
        if context.json() && !self.options.interactive {
            let answer: ExecOutput = sandbox.call(request).await?;
            output.print_json(&answer)?;
            return Ok(failure::exit_code(answer.result.exit).0);
        }
        self.options.attend(&sandbox, request, output).await
    }
}
