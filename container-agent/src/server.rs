//! Accepts connections and ends in order.

use std::{io, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Agent, Config, http};

/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long processes and connections may take to end once the agent is told to: less than the 5 s that it promises.
const SHUTDOWN_TIME: Duration = Duration::from_millis(4_500);

/// Serves `listener` until `shutdown` completes, then ends all processes and connections, within 5 s.
///
/// Fails when the roots cannot be made, or when the listener is broken for good.
pub async fn run(listener: TcpListener, config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let agent = Agent::new(config)?;
    let reaper = agent.processes.reap_orphans()?;
    let connections = TaskTracker::new();
    let served = tokio::select! {
        result = accept(&listener, &agent, &connections) => result,
        () = shutdown => Ok(()),
    };
    drop(listener);
    connections.close();
    let ended = async {
        agent.processes.end_all().await;
        agent.closing.cancel();
        connections.wait().await;
    };
    if tokio::time::timeout(SHUTDOWN_TIME, ended).await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    reaper.abort();
    Ok(served?)
}

/// Accepts until the listener breaks. A connection beyond the limit waits in the kernel's queue.
async fn accept(listener: &TcpListener, agent: &Agent, tasks: &TaskTracker) -> io::Result<()> {
    let router = http::router(agent.clone());
    loop {
        let permit = Arc::clone(&agent.connections).acquire_owned().await.map_err(io::Error::other)?;
        let stream = accept_one(listener).await?;
        let (router, closing) = (router.clone(), agent.closing.clone());
        tasks.spawn(async move {
            serve(stream, router, closing).await;
            drop(permit);
        });
    }
}

/// Accepts one connection; when the machine is short of descriptors, waits and tries again for up to a minute.
async fn accept_one(listener: &TcpListener) -> io::Result<TcpStream> {
    let mut pause = Duration::from_millis(10);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers leave at once instead of waiting for the client's acknowledgement.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if pause > Duration::from_secs(60) => return Err(error),
            Err(error) => {
                tracing::warn!("cannot accept: {error}");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: axum::Router, closing: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("connection: {error}");
    }
}
