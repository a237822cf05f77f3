//! The engine's command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use cabana_engine::docker::{self, DockerCommand};
use cabana_engine::sandbox::init;
use cabana_engine::{limits, prune, rootless, serve};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// A Docker-free container engine for `wrangler dev` on Linux.
#[derive(Parser)]
#[command(name = "cabana-engine", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer the Docker Engine API until SIGTERM or SIGINT.
    ///
    /// The log goes to standard error; CABANA_ENGINE_LOG sets its level (default "info").
    Serve(Serve),
    /// The commands of the docker command line that wrangler runs.
    Docker(DockerCommand),
    /// Remove the images and layers of a state directory that are not listed; prints what is left as JSON. No engine may use the directory.
    Prune(Prune),
    /// Remove the cgroups of engines that were killed.
    Sweep,
    /// The first process of a sandbox; the engine starts it.
    #[command(hide = true)]
    Init,
}

#[derive(clap::Args)]
struct Serve {
    /// Unix socket to answer on.
    #[arg(long)]
    socket: PathBuf,
    /// The standard input is the socket, which listens already: connections made while no engine runs wait for the next one.
    #[arg(long)]
    listening: bool,
    /// Program that becomes PID 1 of each sandbox.
    #[arg(long)]
    agent: PathBuf,
    /// State directory; two engines must not share one.
    #[arg(long)]
    state: PathBuf,
    /// File or directory to hide from sandboxes; may be repeated.
    #[arg(long)]
    hide: Vec<PathBuf>,
    /// Directory with kernels of Jupyter, below `share/jupyter/kernels`: sandboxes may read it, wherever it is, and find the kernels.
    #[arg(long)]
    kernels: Option<PathBuf>,
    /// File to write once the engine answers: `{"socket", "pid", "warnings"}`.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// For tests: let clients inject faults (`PUT /faults/start/<name>` here, `PUT /faults/<fault>` on a sidecar), and let sandboxes reach the
    /// host's loopback address at 192.0.2.1 and at names below cabana.test.
    #[arg(long)]
    faults: bool,
}

#[derive(clap::Args)]
struct Prune {
    /// State directory.
    #[arg(long)]
    state: PathBuf,
    /// File with the references of the images to keep, a line each.
    #[arg(long)]
    keep: PathBuf,
}

fn main() -> ExitCode {
    let outcome = match arguments().command {
        // Before any thread is started.
        Command::Init => std::process::exit(init::run()),
        Command::Serve(arguments) => run_serve(arguments).map(|()| ExitCode::SUCCESS),
        Command::Docker(command) => run_docker(command),
        Command::Prune(arguments) => run_prune(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Sweep => {
            log_to_standard_error();
            limits::remove_all_stale();
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("cabana-engine: {error:#}");
        ExitCode::FAILURE
    })
}

/// Under the name `docker`, every argument belongs to the docker command.
fn arguments() -> Arguments {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let named_docker = arguments.first().is_some_and(|program| Path::new(program).file_name() == Some("docker".as_ref()));
    if named_docker {
        arguments.insert(1, "docker".into());
    }
    Arguments::parse_from(arguments)
}

fn run_serve(arguments: Serve) -> Result<()> {
    // Before any thread is started.
    rootless::become_root()?;
    log_to_standard_error();
    let config = serve::ServeConfig {
        socket: arguments.socket,
        listening: arguments.listening,
        agent: arguments.agent,
        state: arguments.state,
        hidden: arguments.hide,
        kernels: arguments.kernels,
        ready_file: arguments.ready_file,
        faults: arguments.faults,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        serve::run(config, shutdown).await
    })
}

fn run_prune(arguments: &Prune) -> Result<()> {
    // Layers have files of users that only root of the engine's namespace may remove.
    rootless::become_root()?;
    log_to_standard_error();
    let pruned = prune::run(&arguments.state, &arguments.keep)?;
    println!("{}", serde_json::to_string(&pruned)?);
    Ok(())
}

fn log_to_standard_error() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("CABANA_ENGINE_LOG").unwrap_or_else(|_| "info".into()))
        .init();
}

fn run_docker(command: DockerCommand) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(docker::run(command))
}
