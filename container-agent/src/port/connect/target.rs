//! Where a connection goes.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    time::Duration,
};

use cabana_protocol::{
    Code, Error,
    names::{excluded_field, invalid_field},
    port::{Connect, RESERVED_PORTS},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

use crate::{
    Agent,
    fs::Roots,
    port,
    threads::{self, Length},
};

/// How long a connection may take.
const CONNECTION: Duration = Duration::from_secs(10);

/// How long a socket is left alone whose queue is full.
const RETRY: Duration = Duration::from_millis(50);

/// What the kernel has room for, its NUL left out.
const SOCKET_PATH_BYTES: usize = 107;

/// Longest name of a host, in bytes.
const HOST_BYTES: usize = 253;

pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Where a connection goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a port of the sandbox.
    Loopback(u16),
    /// To a port of a host that the sandbox reaches.
    Host(String, u16),
    /// To a Unix socket.
    Path(PathBuf),
}

impl Target {
    /// Fails with `invalid_request`.
    pub(super) fn parse(request: Connect) -> Result<Self, Error> {
        match (request.port, request.host, request.path) {
            (Some(port), host, None) => {
                if port == 0 {
                    return Err(invalid_field("port", "a whole number from 1 to 65535"));
                }
                // The agent takes every connection from the sandbox for a program's, which has no business there.
                if RESERVED_PORTS.contains(&port) {
                    return Err(invalid_field("port", "no port of Cabana's own (49983 to 49992)"));
                }
                match host.as_deref() {
                    None | Some("localhost") => Ok(Self::Loopback(port)),
                    Some(name) if name.is_empty() || name.len() > HOST_BYTES || name.contains('\0') => {
                        Err(invalid_field("host", &format!("a name or an address of 1 to {HOST_BYTES} bytes")))
                    }
                    Some(name) => Ok(Self::Host(name.to_owned(), port)),
                }
            }
            (None, None, Some(path)) => {
                let bytes = path.as_bytes();
                if !bytes.starts_with(b"/") || bytes.len() > SOCKET_PATH_BYTES || bytes.contains(&0) {
                    return Err(invalid_field("path", &format!("an absolute path of at most {SOCKET_PATH_BYTES} bytes")));
                }
                Ok(Self::Path(std::ffi::OsStr::from_bytes(bytes).into()))
            }
            (None, Some(_), Some(_)) => Err(excluded_field("host", "cannot be combined with `path`")),
            (Some(_), _, Some(_)) => Err(excluded_field("path", "cannot be combined with `port`")),
            (None, _, None) => Err(excluded_field("port", "is missing: the request names a `port` or a `path`")),
        }
    }

    /// Opens the connection.
    pub(super) async fn connect(self, agent: &Agent) -> Result<(Reader, Writer), Error> {
        match self {
            Self::Loopback(port) => {
                let addresses = threads::run(Length::Short, move || port::loopback(port)).await?;
                connect_to_any(addresses.into_iter().map(|address| (address, port).into()), &format!("port {port}")).await
            }
            Self::Host(host, port) => {
                let name = format!("{host}:{port}");
                let resolve = async {
                    let unknown = |error: io::Error| {
                        Error::not_found(format!("the sandbox does not know the host of {name}: {error}")).because("unknown_host")
                    };
                    let addresses = resolve(host.clone(), port).await?.map_err(unknown)?;
                    connect_to_any(addresses, &name).await
                };
                resolve.await
            }
            Self::Path(path) => {
                let stream = timeout(CONNECTION, connect_to_path(agent, path)).await.map_err(|_| late("the socket"))??;
                let (reader, writer) = stream.into_split();
                Ok((Box::new(reader), Box::new(writer)))
            }
        }
    }
}

/// Connects to a Unix socket as the user whom commands run as, by whose rights it opens.
async fn connect_to_path(agent: &Agent, path: PathBuf) -> Result<UnixStream, Error> {
    let address = SocketAddrUnix::new(&path).map_err(|errno| failure(&path.display().to_string(), &errno.into()))?;
    loop {
        let (name, address) = (path.display().to_string(), address.clone());
        let connect = move |_: &Roots| {
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None);
            let socket = socket.map_err(|errno| Error::internal(format!("cannot make a socket: {errno}")))?;
            match rustix::net::connect(&socket, &address) {
                Ok(()) => Ok(Some(socket)),
                // Its queue is full. To wait for that in the call would keep the thread.
                Err(Errno::AGAIN) => Ok(None),
                Err(errno) => Err(failure(&name, &errno.into())),
            }
        };
        if let Some(socket) = agent.fs.run(connect).await? {
            return UnixStream::from_std(socket.into()).map_err(|error| Error::internal(error.to_string()));
        }
        sleep(RETRY).await;
    }
}

async fn resolve(host: String, port: u16) -> Result<io::Result<Vec<SocketAddr>>, Error> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Ok(vec![(address, port).into()]));
    }
    let look_up = threads::run(Length::Long, move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect));
    timeout(CONNECTION, look_up).await.map_err(|_| late("the name server"))?
}

/// Connects to the first address that accepts. The error is that of the last one.
async fn connect_to_any(addresses: impl IntoIterator<Item = SocketAddr>, name: &str) -> Result<(Reader, Writer), Error> {
    let attempts = async {
        let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(other) => error = other,
            }
        }
        Err(failure(name, &error))
    };
    let stream = timeout(CONNECTION, attempts).await.map_err(|_| late(name))??;
    // What a client sends is sent on at once: it has been gathered already.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    Ok((Box::new(reader), Box::new(writer)))
}

fn late(name: &str) -> Error {
    Error::new(Code::Timeout, format!("{name} did not answer within {} s", CONNECTION.as_secs()))
}

fn failure(name: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Error::new(Code::Conflict, format!("{name}: nothing accepts connections there")).because("connection_refused")
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::not_found(format!("{name}: there is no such socket")).because("no_socket")
        }
        io::ErrorKind::PermissionDenied => Error::new(Code::Forbidden, format!("{name}: may not be connected to")),
        _ => Error::new(Code::Unprocessable, format!("{name}: {error}")).because("unreachable"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_place_that_is_not_the_agents() {
        let parse = |json: serde_json::Value| Target::parse(serde_json::from_value(json).unwrap()).ok();
        let long = format!("/{}", "a".repeat(SOCKET_PATH_BYTES));
        for (json, expected) in [
            (serde_json::json!({ "port": 80 }), Some(Target::Loopback(80))),
            (serde_json::json!({ "port": 80, "host": "localhost" }), Some(Target::Loopback(80))),
            (serde_json::json!({ "port": 80, "host": "a.b" }), Some(Target::Host("a.b".to_owned(), 80))),
            (serde_json::json!({ "path": "/run/a b.sock" }), Some(Target::Path("/run/a b.sock".into()))),
            (serde_json::json!({ "port": 80, "path": "/a" }), None),
            (serde_json::json!({ "host": "a", "path": "/a" }), None),
            (serde_json::json!({ "host": "a" }), None),
            (serde_json::json!({}), None),
            (serde_json::json!({ "port": 0 }), None),
            (serde_json::json!({ "port": 49_983 }), None),
            (serde_json::json!({ "port": 49_992, "host": "127.0.0.1" }), None),
            (serde_json::json!({ "port": 80, "host": "" }), None),
            (serde_json::json!({ "path": "relative" }), None),
            (serde_json::json!({ "path": long }), None),
        ] {
            assert_eq!(parse(json.clone()), expected, "{json}");
        }
    }
}
