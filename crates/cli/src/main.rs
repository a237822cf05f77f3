//! The `cabana` command: sandboxes from a terminal.

mod arguments;
mod attended;
mod command_line;
mod commands;
mod context;
mod dev;
mod escape;
mod failure;
mod id;
mod output;
mod profiles;
mod ssh;
mod table;
mod terminal;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use failure::OWN_FAILURE;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help and versions go to stdout and are no failure. Everything else is one of this program, not of a command in a sandbox.
        Err(error) => {
            let printed = error.print();
            return if error.use_stderr() || printed.is_err() { ExitCode::from(OWN_FAILURE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cabana: the runtime does not start: {error}");
            return ExitCode::from(OWN_FAILURE);
        }
    };
    let code = runtime.block_on(arguments.run());
    // A thread that still reads stdin is not waited for.
    runtime.shutdown_background();
    ExitCode::from(code)
}
