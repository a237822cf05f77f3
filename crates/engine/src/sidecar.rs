//! The network sidecar: what workerd runs beside every container to reach its ports.
//!
//! With Docker it is a separate image; here the engine implements it. It owns the network that the sandbox joins, listens
//! on a port of 127.0.0.1 and answers `CONNECT` with a tunnel into that network.
//!
//! A sandbox has no network but loopback. `PUT /egress`, by which workerd announces what may be reached outside, is
//! answered and has no effect.
//!
//! `PUT /faults/stall`, `/faults/reset` and `/faults/clear` are not workerd's. By them tests make tunnels stall or break (see
//! `network_fault.rs`). A sidecar has them only where the engine's command line says so.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::http::{self, Response};
use crate::network::Network;
use network_fault::NetworkFault;

mod certificate;
mod network_fault;
pub mod store;
mod tunnel;

/// The header that names the address to reach inside.
const DESTINATION: &str = "x-dst-addr";

/// A running sidecar. Dropping it closes its listener and its tunnels.
#[derive(Debug)]
pub struct Sidecar {
    port: u16,
    network: Arc<Network>,
    stop: CancellationToken,
    tasks: TaskTracker,
    exit_code: i32,
    _guard: DropGuard,
}

impl Sidecar {
    /// Makes the network and listens: on this port, if it is free. With `faults`, clients may inject faults.
    pub async fn start(name: &str, port: Option<u16>, faults: bool) -> io::Result<Self> {
        let network = Arc::new(Network::create(name).await?);
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        };
        let stop = CancellationToken::new();
        let sidecar = Self {
            port: listener.local_addr()?.port(),
            network: network.clone(),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
            exit_code: 0,
            _guard: stop.clone().drop_guard(),
        };
        let fault = faults.then(NetworkFault::none);
        let server = Server { network, fault, stop, tasks: sidecar.tasks.clone() };
        sidecar.tasks.spawn(server.accept(listener));
        Ok(sidecar)
    }

    /// The port of 127.0.0.1 it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The network it holds.
    pub fn network(&self) -> Arc<Network> {
        self.network.clone()
    }

    /// A signal that would end a process ends the sidecar.
    pub fn signal(&mut self, signal: Signal) {
        let terminating = [Signal::HUP, Signal::INT, Signal::KILL, Signal::QUIT, Signal::TERM];
        if terminating.contains(&signal) && !self.stop.is_cancelled() {
            self.exit_code = 128 + signal.as_raw();
            self.stop.cancel();
            self.tasks.close();
        }
    }

    /// Waits until a signal has ended it and all its connections are closed; returns 128 + the signal.
    pub async fn wait(&mut self) -> i32 {
        self.stop.cancelled().await;
        self.tasks.wait().await;
        self.exit_code
    }
}

#[derive(Clone)]
struct Server {
    network: Arc<Network>,
    /// `None` where the engine does not allow any.
    fault: Option<NetworkFault>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    async fn accept(self, listener: TcpListener) {
        loop {
            let stream = tokio::select! {
                () = self.stop.cancelled() => return,
                stream = http::accept_tcp(&listener) => stream,
            };
            self.tasks.spawn(self.clone().serve(stream));
        }
    }

    async fn serve(self, stream: TcpStream) {
        // Small writes of an interactive tunnel must not wait for one another.
        let _ = stream.set_nodelay(true);
        let stop = self.stop.clone();
        let service = service_fn(|request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::select! {
            () = stop.cancelled() => {}
            // A client may disconnect at any time.
            _ = connection => {}
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response {
        match (request.method(), request.uri().path()) {
            (&Method::CONNECT, _) => self.connect(request).await,
            (&Method::PUT, "/egress") => http::empty(StatusCode::NO_CONTENT),
            (&Method::GET, "/ca") => http::text(StatusCode::OK, certificate::PEM),
            (&Method::PUT, path) if self.inject(path).is_some() => http::empty(StatusCode::NO_CONTENT),
            (method, path) => http::text(StatusCode::NOT_FOUND, format!("the sidecar has no {method} {path}\n")),
        }
    }

    fn inject(&self, path: &str) -> Option<()> {
        self.fault.as_ref()?.inject(path.strip_prefix("/faults/")?)
    }

    async fn connect(&self, request: Request<Incoming>) -> Response {
        let destination = match destination(&request) {
            Ok(destination) => destination,
            Err(problem) => return http::text(StatusCode::BAD_REQUEST, problem),
        };
        match self.network.connect(destination).await {
            Ok(inside) => {
                self.tasks.spawn(tunnel::run(request, inside, self.fault.clone(), self.stop.clone()));
                http::empty(StatusCode::OK)
            }
            Err(error) => http::text(StatusCode::BAD_REQUEST, format!("nothing listens at {destination}: {error}\n")),
        }
    }
}

fn destination(request: &Request<Incoming>) -> Result<SocketAddr, String> {
    let header = request.headers().get(DESTINATION).ok_or_else(|| format!("the header {DESTINATION} is missing\n"))?;
    let address = header.to_str().ok().and_then(|text| text.parse().ok());
    address.ok_or_else(|| format!("{DESTINATION} is not an address with a port: {header:?}\n"))
}
