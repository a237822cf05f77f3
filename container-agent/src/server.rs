//! Accepts connections and ends in order.

use std::{convert::Infallible, ffi::OsString, io, sync::Arc, time::Duration};

use axum::{Router, http::Request};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::{Agent, Config, Signals, http, process::ImageCommand, signals};

/// How long processes and connections may take to end once the agent is told to: less than the 5 s that it promises.
const SHUTDOWN_TIME: Duration = Duration::from_millis(4_500);

/// Serves `listener`, with the image's own command beside it, until a signal ends the agent or that command fails. Then ends all
/// processes and connections, within 5 s, and gives the command's exit code.
///
/// Fails when the roots cannot be made.
pub async fn run(listener: TcpListener, config: Config, command: &[OsString], mut signals: Signals) -> anyhow::Result<u8> {
    let agent = Agent::new(config)?;
    let reaper = agent.processes.reap_orphans()?;
    let connections = TaskTracker::new();
    tracing::info!("listening on {}", listener.local_addr()?);
    let mut command = agent.processes.start_image_command(command);
    tokio::select! {
        never = accept(&listener, &agent, &connections) => match never {},
        () = supervise(&mut command, &mut signals) => {}
    }
    drop(listener);
    connections.close();
    let ended = async {
        tokio::join!(agent.processes.end_all(command.pid()), see_off(&mut command, &mut signals));
        agent.closing.cancel();
        connections.wait().await;
    };
    if tokio::time::timeout(SHUTDOWN_TIME, ended).await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    agent.processes.kill_all();
    reaper.abort();
    Ok(command.code())
}

/// Passes signals on to the image's command, until one ends the agent too, or the command fails.
async fn supervise(command: &mut ImageCommand, signals: &mut Signals) {
    loop {
        let signal = tokio::select! {
            () = command.failed() => return,
            signal = signals.next() => signal,
        };
        command.signal(signal);
        if signals::ends(signal) {
            return;
        }
    }
}

/// Passes signals on to the image's command until it has ended.
async fn see_off(command: &mut ImageCommand, signals: &mut Signals) {
    loop {
        tokio::select! {
            _ = command.ended() => return,
            signal = signals.next() => command.signal(signal),
        }
    }
}

/// A connection's place among those that may be open; a WebSocket keeps it after its request has been answered.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
    /// The agent's end waits for it.
    _task: TaskTrackerToken,
}

/// Accepts for ever. A connection beyond the limit waits in the kernel's queue.
async fn accept(listener: &TcpListener, agent: &Agent, tasks: &TaskTracker) -> Infallible {
    let router = http::router(agent.clone());
    loop {
        let Ok(permit) = Arc::clone(&agent.connections).acquire_owned().await else { std::future::pending().await };
        let stream = accept_one(listener).await;
        let place = Place { _permit: Arc::new(permit), _task: tasks.token() };
        tasks.spawn(serve(stream, router.clone(), place, agent.clone()));
    }
}

/// Accepts one connection; while the machine is short of descriptors or memory, tries again every now and then.
async fn accept_one(listener: &TcpListener) -> TcpStream {
    let mut pause = Duration::from_millis(10);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = prepare(&stream) {
                    tracing::debug!("connection: {error}");
                }
                return stream;
            }
            Err(error) => {
                tracing::warn!("cannot accept: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

/// Small answers leave at once instead of waiting for the client's acknowledgement, and a peer that has vanished is noticed within
/// a minute, so that what runs for it ends.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    Ok(sockopt::set_tcp_keepcnt(stream, 3)?)
}

async fn serve(stream: TcpStream, router: Router, place: Place, agent: Agent) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(place.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(agent.limits.header_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = agent.closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("connection: {error}");
    }
}
