//! `cabana forward`.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use cabana_client::{Sandbox, protocol::port::Connect};
use clap::Args;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};

use crate::{context::Context, id::Named, terminal::Signals};

/// Connections of all ports that are open at once; more wait to be accepted. The service runs 256 operations for one WebSocket.
const CONNECTIONS: usize = 200;

/// How long nothing is accepted after a failure, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct Forward {
    /// The address of this machine to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    address: IpAddr,
    /// The sandbox; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Named,
    /// A port here, and a port of the sandbox, of a host that it reaches, or a Unix socket; one port alone is both, and 0 here is a free one
    #[arg(value_name = "[LOCAL:]REMOTE", required = true)]
    ports: Vec<Route>,
}

/// A port of this machine, and where its connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    local: u16,
    remote: Remote,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Remote {
    Port(u16),
    Host(String, u16),
    Path(String),
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let takes = || "a port is REMOTE, LOCAL:REMOTE, LOCAL:HOST:REMOTE or LOCAL:/PATH, such as 5432 or 8080:80".to_owned();
        let number = |text: &str| text.parse::<u16>().map_err(|_| takes());
        let (local, remote) = match text.split_once(':') {
            None => (number(text)?, Remote::Port(number(text)?)),
            Some((local, path)) if path.starts_with('/') => (number(local)?, Remote::Path(path.to_owned())),
            Some((local, rest)) => {
                let remote = match rest.rsplit_once(':') {
                    None => Remote::Port(number(rest)?),
                    Some((host, port)) => {
                        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                        Remote::Host(host.to_owned(), number(port)?)
                    }
                };
                (number(local)?, remote)
            }
        };
        match &remote {
            Remote::Port(0) | Remote::Host(_, 0) => Err(takes()),
            Remote::Host(host, _) if host.is_empty() => Err(takes()),
            _ => Ok(Self { local, remote }),
        }
    }
}

impl Remote {
    fn request(&self) -> Connect {
        match self {
            Self::Port(port) => Connect::port(*port),
            Self::Host(host, port) => Connect { host: Some(host.clone()), ..Connect::port(*port) },
            Self::Path(path) => Connect::path(path.as_str()),
        }
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(port) => write!(formatter, "{port}"),
            Self::Host(host, port) => write!(formatter, "{host}:{port}"),
            Self::Path(path) => formatter.write_str(path),
        }
    }
}

impl Forward {
    /// Forwards until a signal comes.
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let sandbox = context.sandbox(&self.id)?;
        // A sandbox that is not there, and a key that is not valid, are told before anything listens.
        sandbox.show().await?;
        let mut signals = Signals::listen()?;
        let output = context.output();
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let mut listeners = JoinSet::new();
        for Route { local, remote } in self.ports {
            let address = SocketAddr::from((self.address, local));
            let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
            let address = listener.local_addr()?;
            let announced = serde_json::json!({ "local": address.to_string(), "remote": remote.to_string() });
            output.show(&announced, |_| format!("{address} -> {remote}"))?;
            listeners.spawn(serve(listener, remote, sandbox.clone(), connections.clone()));
        }
        tokio::select! {
            _ = signals.next() => Ok(0),
            Some(failed) = listeners.join_next() => failed?.map(|()| 0),
        }
    }
}

async fn serve(listener: TcpListener, remote: Remote, sandbox: Sandbox, connections: Arc<Semaphore>) -> Result<()> {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let permit = connections.clone().acquire_owned().await?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("cabana: a connection to {remote} was not accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (sandbox, remote) = (sandbox.clone(), remote.clone());
        open.spawn(async move {
            if let Err(error) = relay(&sandbox, &remote, stream).await {
                eprintln!("cabana: {error:#}");
            }
            drop(permit);
        });
    }
}

/// Carries one connection to its end. One that breaks off is broken off here, too: its end must not look like that of a whole answer.
async fn relay(sandbox: &Sandbox, remote: &Remote, mut stream: TcpStream) -> Result<()> {
    let _ = stream.set_nodelay(true);
    let carried = async { sandbox.tunnel(remote.request()).await?.relay(&mut stream).await }.await;
    if carried.is_err() {
        let _ = stream.set_zero_linger();
    }
    carried.map(drop).with_context(|| format!("a connection to {remote}"))
}

#[cfg(test)]
mod tests {
    use super::{Remote, Route};

    #[test]
    fn a_port_here_leads_to_one_there() {
        let route = |local, remote| Some(Route { local, remote });
        let host = |name: &str, port| Remote::Host(name.to_owned(), port);
        for (text, expected) in [
            ("5432", route(5_432, Remote::Port(5_432))),
            ("8080:80", route(8_080, Remote::Port(80))),
            ("0:80", route(0, Remote::Port(80))),
            ("1:db.internal:2", route(1, host("db.internal", 2))),
            ("1:[::1]:2", route(1, host("::1", 2))),
            ("1:/run/a:b.sock", route(1, Remote::Path("/run/a:b.sock".to_owned()))),
            ("", None),
            ("http", None),
            ("0", None),
            ("1:0", None),
            ("1:", None),
            (":1", None),
            ("1::2", None),
            ("70000", None),
        ] {
            assert_eq!(text.parse::<Route>().ok(), expected, "{text}");
        }
    }
}
