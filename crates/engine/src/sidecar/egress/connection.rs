//! The way of one TCP connection of a sandbox to workerd's gateway.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use super::greeting::{self, Greeting, Name};
use super::rules::EgressRules;
use crate::sidecar::network_fault::reset_on_close;

/// Bytes buffered in each direction. A full buffer blocks the writer.
const BUFFER: usize = 64 * 1024;

/// How long workerd has to dial a destination: longer than the kernel tries to connect by itself (127 s, tcp(7)).
const DIAL: Duration = Duration::from_secs(150);

/// How long a client has for its part of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Closes a connection with a reset: the client must not take it for a complete exchange.
pub(super) fn reset(client: TcpStream) {
    reset_on_close(&client);
}

/// Carries a connection to its end. Whatever goes wrong resets it.
pub(super) async fn carry(
    mut client: TcpStream,
    destination: SocketAddr,
    rules: &EgressRules,
    authority: &Authority,
) -> io::Result<()> {
    let outcome = exchange(&mut client, destination, rules, authority).await;
    if outcome.is_err() {
        reset(client);
    }
    outcome
}

async fn exchange(client: &mut TcpStream, destination: SocketAddr, rules: &EgressRules, authority: &Authority) -> io::Result<()> {
    let port = rules.port.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "workerd has not told its port yet"))?;
    client.set_nodelay(true)?;
    let Greeting { bytes, name } = greeting::read(client, destination.port()).await?;
    let connecting = connect(port, client.peer_addr()?, destination, name.as_ref());
    let mut gateway = tokio::time::timeout(DIAL, connecting).await??;
    match name {
        Some(Name::Tls(name)) if gateway.is_intercepted => {
            let config = authority.server_config(&name)?;
            let (reader, writer) = client.split();
            let client = tokio::io::join(io::Cursor::new(bytes).chain(reader), writer);
            let mut client = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(client)).await??;
            client.write_all(&gateway.said).await?;
            copy_bidirectional_with_sizes(&mut client, &mut gateway.stream, BUFFER, BUFFER).await?;
        }
        _ => {
            client.write_all(&gateway.said).await?;
            gateway.stream.write_all(&bytes).await?;
            let (_, received) = copy_bidirectional_with_sizes(client, &mut gateway.stream, BUFFER, BUFFER).await?;
            // Without internet workerd accepts what no intercept matches, and closes it at once.
            if received == 0 && gateway.said.is_empty() && !rules.internet {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the sandbox has no internet"));
            }
        }
    }
    Ok(())
}

/// A connection to workerd's gateway.
struct Gateway {
    stream: TcpStream,
    /// What the server has sent by then.
    said: Bytes,
    /// Whether the Worker takes the connection, as HTTP without TLS. workerd has dialed it otherwise.
    is_intercepted: bool,
}

/// Asks workerd for a connection to this destination.
async fn connect(port: u16, source: SocketAddr, destination: SocketAddr, name: Option<&Name>) -> io::Result<Gateway> {
    let gateway = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    gateway.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(gateway)).await.map_err(io::Error::other)?;
    let request = connect_request(source, destination, name)?;
    let mut connection = pin!(connection.with_upgrades());
    let mut respond = pin!(sender.send_request(request));
    let mut is_upgraded = false;
    let response = tokio::select! {
        biased;
        response = &mut respond => response,
        // The connection ends as HTTP once it has handed over the response to CONNECT.
        ended = &mut connection => {
            is_upgraded = ended.is_ok();
            respond.await
        }
    };
    let response = response.map_err(io::Error::other)?;
    if !matches!(response.status(), StatusCode::OK | StatusCode::ACCEPTED) {
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("workerd answered {}", response.status())));
    }
    if !is_upgraded {
        connection.await.map_err(io::Error::other)?;
    }
    let is_intercepted = response.status() == StatusCode::OK;
    let upgraded = hyper::upgrade::on(response).await.map_err(io::Error::other)?;
    // The bare socket, without hyper's layers, copies faster.
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| io::Error::other("the connection is not TCP"))?;
    Ok(Gateway { stream: parts.io.into_inner(), said: parts.read_buf, is_intercepted })
}

fn connect_request(source: SocketAddr, destination: SocketAddr, name: Option<&Name>) -> io::Result<Request<Empty<Bytes>>> {
    let target = destination.to_string();
    let source = source.ip().to_string();
    let mut request = Request::connect(&target).body(Empty::new()).map_err(io::Error::other)?;
    let headers = request.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).map_err(io::Error::other);
    headers.insert(HOST, value(&target)?);
    headers.insert(USER_AGENT, value(&format!("proxy-everything/0.0.1/{source}"))?);
    headers.insert("x-forwarded-for", value(&source)?);
    headers.insert("x-proto", HeaderValue::from_static("tcp"));
    match name {
        Some(Name::Tls(name)) => headers.insert("x-tls-sni", value(name)?),
        Some(Name::Http(name)) => headers.insert("x-hostname", value(name)?),
        None => None,
    };
    Ok(request)
}
