//! `cabana-agent [--] [program [argument…]]`: reads its environment, listens, and serves until SIGTERM, SIGINT or SIGQUIT.
//!
//! The program is the image's own command, which runs beside it.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, ensure};
use cabana_agent::{
    Config, Signals, log, process, run,
    secret::{self, Secret},
    threads,
};
use tokio::net::TcpListener;

fn main() -> anyhow::Result<ExitCode> {
    // Before any thread or child exists: no secret must be left where a command of the sandbox could read it.
    secret::close_memory();
    let secret = secret::take("CABANA_AGENT_SECRET").map(Secret::new).context("CABANA_AGENT_SECRET is not set")?;
    let sandbox_env = secret::take("CABANA_SANDBOX_ENV");
    let config = Config::from_env(secret, sandbox_env.as_deref(), std::env::vars_os())?;
    let command = image_command(std::env::args_os().skip(1).collect())?;
    log::begin(config.log_format);
    process::keep_descriptors().context("cannot keep inherited descriptors from children")?;
    process::adopt_orphans().context("cannot become the reaper of orphaned processes")?;
    process::go_first();
    // Whatever commands use up later, these are there.
    threads::reserve().context("cannot make the threads for work that blocks")?;
    process::start_tree_thread().context("cannot make the thread that ends processes")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(config, &command));
    // A system call that hangs must not hold up the end.
    runtime.shutdown_background();
    Ok(ExitCode::from(served?))
}

async fn serve(config: Config, command: &[OsString]) -> anyhow::Result<u8> {
    let signals = Signals::listen(!command.is_empty())?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    run(listener, config, command, signals).await
}

/// The image's own command: what Docker puts behind the entry point. An option would be lost on a program that does not start.
fn image_command(mut arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    if arguments.first().is_some_and(|first| first == "--") {
        arguments.remove(0);
    } else {
        let option = arguments.first().is_some_and(|first| first.as_encoded_bytes().starts_with(b"-"));
        ensure!(!option, "usage: cabana-agent [--] [program [argument…]]; the environment configures the agent");
    }
    Ok(arguments)
}
