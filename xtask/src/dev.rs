//! `cargo xtask dev`: the whole service on this machine.

mod announcement;
pub(crate) mod client;
mod database;
pub(crate) mod directory;
pub(crate) mod example;
pub(crate) mod interrupt;
mod kept;
mod port;
mod ready;
mod saving;
pub(crate) mod service;
pub(crate) mod stack;
mod test_internet;
mod test_kinds;

use crate::artifacts::{self, Profile, WasmOpt};
use crate::progress::say;
use crate::{disk, paths, setup};
use announcement::Announcement;
use anyhow::{Context, Result, anyhow};
use interrupt::{Interrupt, Interrupted};
use ready::Ready;
use stack::{Engine, Layout, Options, Stack};
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// How often the services and the terminal are looked at once everything runs.
const LOOK: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write {"url", "api_key"} as JSON to this file once the service is ready
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Listen on this port of 127.0.0.1 [default: 8787, or a free one when it is taken]
    #[arg(long)]
    port: Option<u16>,
    /// What runs the sandboxes
    #[arg(long, value_enum, default_value_t = Engine::Cabana)]
    engine: Engine,
    /// Show what engine and wrangler write, as they write it
    #[arg(long)]
    log: bool,
    /// Inject faults where a client asks the engine for them, and add the kinds of tests/sandboxes: the integration cases need both
    #[arg(long)]
    testing: bool,
    /// Forget the sandboxes, files and snapshots of earlier runs
    #[arg(long)]
    fresh: bool,
}

/// Runs until Ctrl-C, SIGTERM or SIGHUP, which end it well, or until a service ends, which is an error.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    port::check(arguments.port)?;
    disk::check()?;
    let Arguments { port, engine, log, testing, .. } = *arguments;
    let mut options = Options {
        port,
        engine,
        profile: Profile::Dev,
        wasm_opt: WasmOpt::Skip,
        log,
        testing,
        internet: testing,
        kernels: None,
        variables: variables(),
    };
    let mut layout = Layout::create()?;
    // A run for tests begins with nothing, and Docker keeps images of its own.
    if engine == Engine::Cabana && !testing {
        layout.keep_state(arguments.fresh)?;
    }
    // Beside the tools and the Worker: cargo and the linker leave a processor idle now and then. A thread that nobody waits for, because
    // a tool that cannot be had ends this program, and the build with it. Its failure is shown when it happens, minutes before the rest ends.
    let build = || artifacts::build_programs(Profile::Dev).inspect_err(|error| say(&format!("error: {error:#}")));
    let programs = (engine == Engine::Cabana).then(|| thread::spawn(build));
    // Without them everything but running code works. A package registry may be out of reach.
    let install = || setup::provide_kernels().inspect_err(|error| say(&format!("no kernels to run code: {error:#}")));
    let kernels = (engine == Engine::Cabana).then(|| thread::spawn(install));
    let tools = setup::run()?;
    layout.build_worker(&tools, &options)?;
    match programs {
        Some(programs) => layout.copy_programs(&programs.join().map_err(|_| anyhow!("the build of the programs panicked"))??)?,
        None => layout.provide_docker()?,
    }
    options.kernels = kernels.and_then(|kernels| kernels.join().ok()?.ok());
    // Until here an interrupt ends this program and its children at once; from here on there are sandboxes to end.
    let interrupt = Interrupt::listen()?;
    let mut stack = layout.start(&tools, &options, &interrupt)?;
    let outcome = serve(&mut stack, arguments, &interrupt);
    stack.save_sandboxes();
    say("ending the sandboxes and everything else");
    stack.stop();
    match outcome {
        Err(error) if error.is::<Interrupted>() => Ok(()),
        other => other,
    }
}

/// Variables of the shell that are passed to the Worker, besides those of JWTs.
const PASSED: [&str; 3] = ["CABANA_INTERNET", "CABANA_NETWORK_GROUPS", "CABANA_TOKEN_SECRET"];

/// What this program's own environment says about tokens, for the Worker.
fn variables() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with("CABANA_JWT_") || PASSED.contains(&name.as_str())).collect()
}

fn serve(stack: &mut Stack, arguments: &Arguments, interrupt: &Interrupt) -> Result<()> {
    let first = stack.first_command()?;
    let ready = Ready { url: stack.url(), api_key: stack.api_key(), first: &first, kept: stack.kept() };
    writeln!(stdout(), "{}", ready.block(stack.directory())).context("say that the service is ready")?;
    if let Some(file) = &arguments.ready_file {
        ready.write(file)?;
    }
    // Without it only the `cabana` command needs to be told where the service is.
    let _announcement = Announcement::publish(&paths::repository()?, stack.url(), stack.api_key())
        .inspect_err(|error| say(&format!("the `cabana` command does not find this service by itself: {error:#}")));
    loop {
        interrupt.check()?;
        stack.check()?;
        thread::sleep(LOOK);
    }
}
