//! The network sidecar: what workerd runs beside every container to reach its ports.
//!
//! With Docker it is a separate image; here the engine implements it. It owns the network that the sandbox joins, listens
//! on a port of 127.0.0.1 and answers `CONNECT` with a tunnel into that network.
//!
//! What the sandbox sends to other addresses goes to workerd, by the rules that workerd announces with `PUT /egress`
//! (see [`egress`]). Where the kernel refuses to capture it, a sandbox has no network but loopback.
//!
//! `PUT /faults/stall`, `/faults/refuse`, `/faults/reset` and `/faults/clear` are not workerd's. By them tests make tunnels stall or break (see
//! `network_fault.rs`). A sidecar has them only where the engine's command line says so.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::engine::Settings;
use crate::http::{self, Response};
use crate::network::Network;
use egress::{Authority, EgressRules, EgressServer, HostServers};
use network_fault::NetworkFault;
use store::{SidecarRecord, SidecarStore};

pub mod egress;
mod network_fault;
pub mod store;
mod tunnel;

/// The header that names the address to reach inside.
const DESTINATION: &str = "x-dst-addr";

/// Limit of the body of a `PUT /egress`, in bytes.
const LARGEST_RULES: usize = 1024 * 1024;

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
    /// Makes the network and listens. A sidecar that the store knows gets its port, if that is free, and its rules back. Where the
    /// engine has faults, clients may inject those of the network.
    pub async fn start(name: &str, image: &str, settings: &Settings) -> io::Result<Self> {
        let store = &settings.sidecars;
        let network = Arc::new(Network::create(name).await?);
        let earlier = store.get(name);
        let port = earlier.as_ref().map_or(0, |record| record.port);
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let egress = earlier.map(|record| record.egress).unwrap_or_default();
        let record = SidecarRecord { image: image.to_owned(), port: listener.local_addr()?.port(), egress };
        store.put(name, &record)?;
        let authority = Arc::new(Authority::new()?);
        let egress = match network.capture().await {
            Ok(captured) => {
                let host =
                    HostServers { proxy_ports: settings.network.proxy_ports.clone(), test_internet: settings.faults.is_some() };
                let rules = record.egress.clone();
                Some(EgressServer::start(captured, rules, host, authority.clone(), stop.clone(), tasks.clone()))
            }
            Err(error) => {
                tracing::debug!(name, %error, "this sandbox has no internet");
                None
            }
        };
        let sidecar = Self {
            port: record.port,
            network: network.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
            exit_code: 0,
            _guard: stop.clone().drop_guard(),
        };
        let record = Arc::new(StoredRecord { name: name.to_owned(), store: store.clone(), record: Mutex::new(record) });
        let server = Server {
            network,
            egress,
            record,
            authority,
            fault: settings.faults.as_ref().map(|_| NetworkFault::none()),
            stop,
            tasks,
        };
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

/// The record of a running sidecar and its place in the store.
struct StoredRecord {
    name: String,
    store: SidecarStore,
    record: Mutex<SidecarRecord>,
}

impl StoredRecord {
    /// Applies a `PUT /egress` and returns the rules that hold then.
    fn update(&self, body: &[u8]) -> io::Result<EgressRules> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.egress.apply(body)?;
        self.store.put(&self.name, &record)?;
        Ok(record.egress.clone())
    }
}

#[derive(Clone)]
struct Server {
    network: Arc<Network>,
    /// `None` where the kernel does not let the engine capture what leaves the network.
    egress: Option<EgressServer>,
    record: Arc<StoredRecord>,
    authority: Arc<Authority>,
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
            (&Method::PUT, "/egress") => self.set_egress(request.into_body()).await,
            (&Method::GET, "/ca") => http::text(StatusCode::OK, self.authority.pem()),
            (&Method::PUT, path) if self.inject(path).is_some() => http::empty(StatusCode::NO_CONTENT),
            (method, path) => http::text(StatusCode::NOT_FOUND, format!("the sidecar has no {method} {path}\n")),
        }
    }

    async fn set_egress(&self, body: Incoming) -> Response {
        let Some(body) = http::body(body, LARGEST_RULES).await else {
            return http::text(StatusCode::BAD_REQUEST, "the rules are incomplete or too large\n");
        };
        match self.record.update(&body) {
            Ok(rules) => {
                tracing::debug!(name = self.record.name, ?rules, "the rules of a sandbox's egress have changed");
                if let Some(egress) = &self.egress {
                    egress.set_rules(rules);
                }
                http::empty(StatusCode::NO_CONTENT)
            }
            Err(error) => http::text(StatusCode::BAD_REQUEST, format!("the rules are malformed: {error}\n")),
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
        if self.fault.as_ref().is_some_and(NetworkFault::refuses) {
            return http::text(StatusCode::BAD_REQUEST, format!("an injected fault refuses {destination}\n"));
        }
        match self.dial(destination).await {
            Ok(inside) => {
                self.tasks.spawn(tunnel::run(request, inside, self.fault.clone(), self.stop.clone()));
                http::empty(StatusCode::OK)
            }
            Err(error) => http::text(StatusCode::BAD_REQUEST, format!("nothing listens at {destination}: {error}\n")),
        }
    }
}

impl Server {
    /// Connects to what listens on this address inside; a program may listen on the other loopback address alone.
    async fn dial(&self, destination: SocketAddr) -> io::Result<TcpStream> {
        match self.network.connect(destination).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && destination.ip() == Ipv4Addr::LOCALHOST => {
                let other = (Ipv6Addr::LOCALHOST, destination.port()).into();
                self.network.connect(other).await.map_err(|_| error)
            }
            outcome => outcome,
        }
    }
}

fn destination(request: &Request<Incoming>) -> Result<SocketAddr, String> {
    let header = request.headers().get(DESTINATION).ok_or_else(|| format!("the header {DESTINATION} is missing\n"))?;
    let address = header.to_str().ok().and_then(|text| text.parse().ok());
    address.ok_or_else(|| format!("{DESTINATION} is not an address with a port: {header:?}\n"))
}
