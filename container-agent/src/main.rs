//! `cabana-agent`: reads its environment, listens, and serves until SIGTERM or SIGINT.

use anyhow::Context;
use cabana_agent::{
    Config, process, run,
    secret::{self, Secret},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

fn main() -> anyhow::Result<()> {
    // Before any thread or child exists: no secret must be left where a command of the sandbox could read it.
    secret::close_memory();
    let secret = secret::take("CABANA_AGENT_SECRET").map(Secret::new).context("CABANA_AGENT_SECRET is not set")?;
    let sandbox_env = secret::take("CABANA_SANDBOX_ENV");
    let config = Config::from_env(secret, sandbox_env.as_deref(), std::env::vars_os())?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    process::keep_descriptors().context("cannot keep inherited descriptors from children")?;
    process::adopt_orphans().context("cannot become the reaper of orphaned processes")?;
    process::go_first();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(config));
    // A system call that hangs must not hold up the end.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    run(listener, config, shutdown).await
}
