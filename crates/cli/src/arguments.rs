//! The command line.

use clap::{Args, Parser, Subcommand};

use crate::{commands, context::Context, failure};

/// Sandboxes for AI agents, from a terminal.
///
/// The service is found in this order: --profile; CABANA_URL with CABANA_API_KEY; the profile that CABANA_PROFILE names; the default
/// profile; the service that `cargo xtask dev` runs on this machine.
///
/// The exit code is the command's where one runs in a sandbox: 124 after its time limit, 125 where cabana itself fails, 126 and 127 where
/// the program cannot be run or is not there, 128 and the number of the signal that ended it.
#[derive(Debug, Parser)]
#[command(name = "cabana", version, max_term_width = 110, infer_subcommands = false, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print JSON, as the API answers it
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Use this profile of ~/.config/cabana/config.toml; `dev` is the service on this machine
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Act for this tenant, as an operator
    #[arg(long, global = true, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a sandbox, or find the one of that name
    Create(commands::create::Create),
    /// List sandboxes
    #[command(visible_alias = "list")]
    Ls(commands::list::List),
    /// Show sandboxes
    #[command(visible_alias = "inspect")]
    Show(commands::life::Show),
    /// Destroy sandboxes
    Rm(commands::life::Remove),
    /// Start sandboxes, and wait until they answer
    Start(commands::life::Start),
    /// Save the files of sandboxes, and end their containers
    Stop(commands::life::Stop),
    /// Stop and start sandboxes
    Restart(commands::life::Restart),
    /// Run a command in a sandbox
    Exec(commands::exec::Exec),
    /// Run a command in a new sandbox, which is destroyed afterwards
    Run(commands::run::Run),
    /// Open a terminal in a sandbox, which survives a broken connection
    Shell(commands::shell::Shell),
    /// Copy files and directories into a sandbox or out of it
    Cp(commands::copy::Copy),
    /// List the processes of a sandbox
    Ps(commands::processes::Ps),
    /// Show what a process has printed
    Logs(commands::processes::Logs),
    /// End processes with everything that they started
    Kill(commands::processes::Kill),
    /// Give a port a URL, or list the ports
    Port(commands::ports::Port),
    /// Reach ports of a sandbox at ports of this machine, by any protocol
    Forward(commands::forward::Forward),
    /// Save the files of a sandbox, and bring them back
    Snapshot(commands::snapshots::Snapshot),
    /// Make sandboxes that begin with the files of another one
    Fork(commands::snapshots::Fork),
    /// Run code in a context, which keeps its variables
    Code(commands::code::Code),
    /// Show who did what in a sandbox
    Audit(commands::service::Audit),
    /// Make, list and revoke API keys
    Keys(commands::service::Keys),
    /// List the kinds of sandboxes
    Kinds(commands::service::Kinds),
    /// Tell an assistant of your sandboxes
    Connect(commands::connect::Connect),
    /// Serve an assistant on stdin and stdout
    Mcp(commands::mcp::Mcp),
    /// Lead programs of this machine to sandboxes
    Setup(commands::ssh::Setup),
    /// Speak SSH on stdin and stdout, as the ProxyCommand of ssh
    SshProxy(commands::ssh::SshProxy),
    /// Find out why something does not work
    Doctor(commands::doctor::Doctor),
    /// Write a Worker with sandboxes into an empty folder
    Init(commands::init::Init),
    /// Print a script that completes commands in a shell
    Completions(commands::completions::Completions),
    /// Write manual pages
    #[command(hide = true)]
    Man(commands::completions::Man),
    /// Keep the URL of a service and a key, which is asked for, in a profile
    Login(commands::login::Login),
}

impl Arguments {
    /// Runs the command, and answers the exit code.
    pub(crate) async fn run(self) -> u8 {
        let context = Context::new(self.global);
        let outcome = match self.command {
            Command::Create(command) => command.run(&context).await,
            Command::Ls(command) => command.run(&context).await,
            Command::Show(command) => command.run(&context).await,
            Command::Rm(command) => command.run(&context).await,
            Command::Start(command) => command.run(&context).await,
            Command::Stop(command) => command.run(&context).await,
            Command::Restart(command) => command.run(&context).await,
            Command::Exec(command) => command.run(&context).await,
            Command::Run(command) => command.run(&context).await,
            Command::Shell(command) => command.run(&context).await,
            Command::Cp(command) => command.run(&context).await,
            Command::Ps(command) => command.run(&context).await,
            Command::Logs(command) => command.run(&context).await,
            Command::Kill(command) => command.run(&context).await,
            Command::Port(command) => command.run(&context).await,
            Command::Forward(command) => command.run(&context).await,
            Command::Snapshot(command) => command.run(&context).await,
            Command::Fork(command) => command.run(&context).await,
            Command::Code(command) => command.run(&context).await,
            Command::Connect(command) => command.run(&context),
            Command::Mcp(command) => command.run(&context).await,
            Command::Setup(command) => command.run(&context),
            Command::SshProxy(command) => command.run(&context).await,
            Command::Audit(command) => command.run(&context).await,
            Command::Keys(command) => command.run(&context).await,
            Command::Kinds(command) => command.run(&context).await,
            Command::Doctor(command) => command.run(&context).await,
            Command::Init(command) => command.run(&context),
            Command::Completions(command) => Ok(command.run()),
            Command::Man(command) => command.run(),
            Command::Login(command) => command.run(&context).await,
        };
        outcome.unwrap_or_else(|error| failure::report(&error, context.json()))
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let parse = |words: &[&str]| Arguments::try_parse_from(words).map_err(|error| error.to_string());
        parse(&["cabana", "exec", "-it", "sbx-a", "--", "ls", "-l", "--json"]).unwrap();
        parse(&["cabana", "exec", "sbx-a", "ls", "-l"]).unwrap();
        parse(&["cabana", "exec", "sbx-a", "--shell", "ls | wc -l"]).unwrap();
        for words in [&["cabana"][..], &["cabana", "exec", "sbx-a"], &["cabana", "exec", "sbx-a", "--timeout", "soon", "ls"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
