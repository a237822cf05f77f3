//! `cabana-agent [--] [program [argument…]]`: reads its environment, listens, and serves until SIGTERM, SIGINT or SIGQUIT.
//!
//! The program is the image's own command, which runs beside it.

use std::{ffi::OsString, future, io, process::ExitCode};

use anyhow::{Context, ensure};
use cabana_agent::{
    Config, Signals, interception, listen, log, process, run,
    secret::{self, Secret},
    sftp, threads,
};
use tokio::{net::TcpListener, sync::oneshot};

/// Why an agent cannot start, or go on, that gets no threads.
const NO_THREADS: &str = "cannot make the threads for work that blocks";

fn main() -> anyhow::Result<ExitCode> {
    // Commands of the sandbox, by the program that every sandbox has.
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        Some(word) if word == sftp::COMMAND => return Ok(sftp::run()),
        Some(word) if word == listen::COMMAND => return Ok(listen::run(words.next())),
        _ => {}
    }
    // Before any thread or child exists: no secret must be left where a command of the sandbox could read it.
    secret::close_memory();
    let secret = secret::take("CABANA_AGENT_SECRET").map(Secret::new).context("CABANA_AGENT_SECRET is not set")?;
    let sandbox_env = secret::take("CABANA_SANDBOX_ENV");
    let mut config = Config::from_env(secret, sandbox_env.as_deref(), std::env::vars_os())?;
    config.kept_capabilities.limit_children();
    let command = image_command(std::env::args_os().skip(1).collect())?;
    log::begin(config.log_format);
    process::keep_descriptors().context("cannot keep inherited descriptors from children")?;
    process::adopt_orphans().context("cannot become the reaper of orphaned processes")?;
    process::block_child_signal();
    process::raise_self();
    if config.has_network_rules {
        interception::prepare(&mut config.env).context("the network rules of this sandbox cannot be kept")?;
    }
    // Whatever commands use up later, these are there.
    let reserved = threads::reserve().context(NO_THREADS)?;
    process::start_tree_thread().context("cannot make the thread that ends processes")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        tokio::select! {
            served = serve(config, &command) => served,
            error = failure(reserved) => Err(error),
        }
    });
    // A system call that hangs must not hold up the end.
    runtime.shutdown_background();
    Ok(ExitCode::from(served?))
}

/// Waits until the threads could not be reserved.
async fn failure(reserved: oneshot::Receiver<io::Result<()>>) -> anyhow::Error {
    match reserved.await {
        Ok(Ok(())) => future::pending().await,
        Ok(Err(error)) => anyhow::Error::new(error).context(NO_THREADS),
        Err(_) => anyhow::Error::msg(NO_THREADS),
    }
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
