//! Accepts connections and ends in order.

use std::{convert::Infallible, ffi::OsString, fs::File, io, time::Duration};

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
use tokio::net::{TcpListener, TcpStream};

use crate::{
    Agent, Config, Signals,
    connections::{Connection, Connections},
    http,
    process::{self, ImageCommand},
    signals,
};

/// How long processes and connections may take to end once the agent is told to: less than the 5 s that it promises.
const SHUTDOWN_TIME: Duration = Duration::from_millis(4_500);

/// How often the runtime wakes up at least. A timer that is due before its next wake-up wakes a thread that waits for events, only to tell
/// it so; every request sets several, of this length or longer.
const TICK: Duration = Duration::from_secs(5);

/// What hyper may buffer of a request's head, and of an answer that its client does not read. One piece of an answer comes on top.
const BUFFER_BYTES: usize = 128 << 10;

/// Serves `listener`, with the image's own command beside it, until a signal ends the agent or that command fails. Then ends all
/// processes and connections, within 5 s, and gives the command's exit code.
///
/// Fails when the roots cannot be made, or the kernel does not give a thread.
pub async fn run(listener: TcpListener, config: Config, command: &[OsString], mut signals: Signals) -> anyhow::Result<u8> {
    let agent = Agent::new(config)?;
    agent.processes.reap_orphans()?;
    process::note_signals();
    tracing::info!("listening on {}", listener.local_addr()?);
    let mut command = agent.processes.start_image_command(command);
    // Before the first request passes: connections wait in the listener's queue.
    process::start_again(&agent).await;
    agent.contexts.warm();
    tokio::select! {
        never = accept(&listener, &agent) => match never {},
        never = tick() => match never {},
        () = supervise(&mut command, &mut signals) => {}
    }
    drop(listener);
    let ended = async {
        tokio::join!(agent.processes.end_all(command.pid()), stop_gracefully(&mut command, &mut signals));
        agent.closing.cancel();
        agent.connections.ended().await;
    };
    if tokio::time::timeout(SHUTDOWN_TIME, ended).await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    agent.processes.kill_all();
    Ok(command.code())
}

/// Keeps a timer that is due within a [`TICK`].
async fn tick() -> Infallible {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
    }
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
async fn stop_gracefully(command: &mut ImageCommand, signals: &mut Signals) {
    loop {
        tokio::select! {
            _ = command.ended() => return,
            signal = signals.next() => command.signal(signal),
        }
    }
}

/// Accepts for ever, whatever is open already: `/health` must be reached.
async fn accept(listener: &TcpListener, agent: &Agent) -> Infallible {
    let router = http::router(agent.clone());
    let mut spares = Spares::default();
    loop {
        let stream = accept_one(listener, &agent.connections, &mut spares).await;
        tokio::spawn(serve(stream, router.clone(), agent.connections.open(), agent.clone()));
    }
}

/// Accepts one connection. Where no descriptor is to be had, a spare one makes room, and idle connections are closed.
async fn accept_one(listener: &TcpListener, connections: &Connections, spares: &mut Spares) -> TcpStream {
    let mut pause = Duration::from_millis(1);
    spares.refill();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = prepare(&stream) {
                    tracing::debug!("connection: {error}");
                }
                return stream;
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                connections.shed();
                if !spares.release() {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
            }
        }
    }
}

/// Open descriptors that are kept to be closed when no other can be had: one connection after the other can then ask for `/health`.
#[derive(Debug, Default)]
struct Spares(Vec<File>);

impl Spares {
    const COUNT: usize = 4;

    /// Makes room for one descriptor. False where no spare one is left.
    fn release(&mut self) -> bool {
        self.0.pop().is_some()
    }

    /// Opens those that were released, as far as that is possible.
    fn refill(&mut self) {
        while self.0.len() < Self::COUNT {
            let Ok(spare) = File::open("/dev/null") else { return };
            self.0.push(spare);
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

async fn serve(stream: TcpStream, router: Router, connection: Connection, agent: Agent) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        router.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(agent.limits.header_timeout)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = &mut served => result,
        () = connection.closing().cancelled() => Ok(()),
        () = agent.closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    connection.end();
    if let Err(error) = result {
        tracing::debug!("connection: {error}");
    }
}
