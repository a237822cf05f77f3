//! What leaves a sandbox: TCP connections, which workerd judges and dials, and DNS queries, which the host's resolver answers.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `authority` | certificates for what workerd intercepts |
//! | `rules` | what workerd allows (`PUT /egress`) |
//! | `connection` | the way of one TCP connection to workerd |
//! | `greeting` | the name that a connection's first bytes give |
//! | `destination` | addresses that no sandbox reaches |
//! | `dns` | answers to DNS queries |
//!
//! For each connection the sidecar asks workerd's gateway by `CONNECT`, with the headers of Cloudflare's own sidecar,
//! [proxy-everything](https://github.com/cloudflare/proxy-everything). workerd applies the Worker's intercepts, or dials
//! the destination where internet is enabled.

mod authority;
mod connection;
mod destination;
mod dns;
mod greeting;
mod rules;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http;
use crate::network::Captured;
use crate::sandbox::host_network::PROXY_ADDRESS;
pub(super) use authority::Authority;
use dns::Resolver;
pub use rules::EgressRules;

/// Connections that one sandbox may have open. Further ones are reset.
const CONNECTIONS: usize = 4096;

/// The address that stands for the host's loopback address where tests need a server outside: of a documentation range (RFC 5737).
const TEST_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Servers on the host's loopback address that sandboxes reach nevertheless.
#[derive(Debug, Default)]
pub(super) struct HostServers {
    /// Ports of proxies, which are reached at [`PROXY_ADDRESS`].
    pub(super) proxy_ports: BTreeSet<u16>,
    /// Whether every port is reached at 192.0.2.1, to which names below `cabana.test` resolve: for tests, whose servers have no other address.
    pub(super) test_internet: bool,
}

impl HostServers {
    fn has(&self, destination: SocketAddr) -> bool {
        let is_proxy = destination.ip() == PROXY_ADDRESS && self.proxy_ports.contains(&destination.port());
        is_proxy || self.test_internet && destination.ip() == TEST_ADDRESS
    }
}

/// The egress of one sandbox. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct EgressServer {
    rules: watch::Sender<EgressRules>,
    connections: Arc<Semaphore>,
    resolver: Arc<Resolver>,
    host: Arc<HostServers>,
    authority: Arc<Authority>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl EgressServer {
    /// Serves what is captured until `stop`, by these rules.
    pub(super) fn start(
        captured: Captured,
        rules: EgressRules,
        host: HostServers,
        authority: Arc<Authority>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let egress = Self {
            rules: watch::Sender::new(rules),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            resolver: Arc::new(Resolver::new(host.test_internet)),
            host: Arc::new(host),
            authority,
            stop,
            tasks,
        };
        for listener in captured.connections {
            egress.tasks.spawn(egress.clone().accept(listener));
        }
        for socket in captured.queries {
            let (resolver, rules) = (egress.resolver.clone(), egress.rules.subscribe());
            egress.tasks.spawn(egress.stop.clone().run_until_cancelled_owned(resolver.serve(socket, rules)));
        }
        egress
    }

    /// Replaces the rules for connections and queries that begin from now on.
    pub(super) fn set_rules(&self, rules: EgressRules) {
        self.rules.send_replace(rules);
    }

    /// The rules.
    pub(super) fn rules(&self) -> EgressRules {
        self.rules.borrow().clone()
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            let client = tokio::select! {
                () = self.stop.cancelled() => return,
                client = http::accept_tcp(&listener) => client,
            };
            let Ok(permit) = self.connections.clone().try_acquire_owned() else {
                connection::reset(client);
                continue;
            };
            let egress = self.clone();
            self.tasks.spawn(async move {
                egress.stop.run_until_cancelled(egress.carry(client)).await;
                drop(permit);
            });
        }
    }

    async fn carry(&self, client: TcpStream) {
        let Some(destination) = original_destination(&client) else {
            return connection::reset(client);
        };
        let rules = self.rules();
        if destination.port() == dns::PORT {
            return self.resolver.serve_stream(client, rules).await;
        }
        let Some(target) = self.target(destination) else {
            return connection::reset(client);
        };
        if let Err(error) = connection::carry(client, target, &rules, &self.authority).await {
            tracing::debug!(%destination, %error, "a connection of a sandbox has failed");
        }
    }

    /// The address that workerd is asked for. `None` where no sandbox may connect to it.
    fn target(&self, destination: SocketAddr) -> Option<SocketAddr> {
        if self.host.has(destination) {
            return Some((Ipv4Addr::LOCALHOST, destination.port()).into());
        }
        destination::is_reachable(destination.ip()).then_some(destination)
    }
}

/// The address that the sandbox connected to. `None` for a connection to the listener itself, which no rule has redirected.
fn original_destination(client: &TcpStream) -> Option<SocketAddr> {
    let listener = client.local_addr().ok()?;
    let destination = match listener {
        SocketAddr::V4(_) => sockopt::ip_original_dst(client).ok()?.into(),
        SocketAddr::V6(_) => sockopt::ipv6_original_dst(client).ok()?.into(),
    };
    (destination != listener).then_some(destination)
}
