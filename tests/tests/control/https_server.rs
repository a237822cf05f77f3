//! A server over HTTPS, which echoes on WebSockets, that the Worker reaches by a name, where the stack runs on this machine: see `xtask/src/dev/test_internet.rs`.

use std::{
    convert::Infallible,
    fs,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use cabana_tests::{Sandbox, require};
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::logs;

/// The names that no case chooses itself.
static NEXT: AtomicU8 = AtomicU8::new(1);

/// The last of the names that are given out.
const LAST: u8 = 62;

/// What a server has been asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    /// With the query.
    pub(super) path: String,
    /// In lower case, as they came.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    /// The values of a header.
    pub(super) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// What it answers: status, headers, and the pieces of the body.
pub(super) type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A server that runs until it is dropped.
pub(super) struct HttpsServer {
    pub(super) name: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl HttpsServer {
    /// Serves requests to a name that no other case has. `None` where the stack runs elsewhere, or the port of HTTPS cannot be had.
    pub(super) async fn start<F: Future<Output = Reply> + Send + 'static>(
        answer: impl Fn(Asked) -> F + Clone + Send + Sync + 'static,
    ) -> Option<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number <= LAST, "there are no more names");
        Self::start_as(number, answer).await
    }

    /// The same for the name of this number.
    pub(super) async fn start_as<F: Future<Output = Reply> + Send + 'static>(
        number: u8,
        answer: impl Fn(Asked) -> F + Clone + Send + Sync + 'static,
    ) -> Option<Self> {
        let authority = logs::directory()?.join("internet/authority.pem");
        require("https", authority.exists().then_some(()), "the stack has no names for servers over HTTPS")?;
        let (url, _) = Sandbox::service();
        let [high, low] = url.rsplit(':').next()?.parse::<u16>().unwrap().to_be_bytes();
        let bound = TcpListener::bind((Ipv4Addr::new(127, high, low, number), 443)).await;
        let listener = require("https", bound.ok(), "port 443 of a loopback address cannot be had")?;
        let name = format!("s{number}.cabana.test");
        let acceptor = TlsAcceptor::from(Arc::new(certify(&name, &authority)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let serving = tokio::spawn(accept(listener, acceptor, Arc::clone(&asked), answer));
        Some(Self { name, asked, serving })
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept<F: Future<Output = Reply> + Send + 'static>(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: impl Fn(Asked) -> F + Clone + Send + Sync + 'static,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, asked, answer) = (acceptor.clone(), Arc::clone(&asked), answer.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| serve(request, Arc::clone(&asked), answer.clone()));
            // A client may leave in the middle.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

async fn serve<F: Future<Output = Reply>>(
    mut request: Request<Incoming>,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: impl Fn(Asked) -> F,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let request = Asked {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default(),
    };
    asked.lock().unwrap().push(request.clone());
    if let [key] = request.header("sec-websocket-key")[..] {
        tokio::spawn(echo(upgrade));
        let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
        return Ok(response.header("sec-websocket-accept", derive_accept_key(key.as_bytes())).body(Full::default()).unwrap());
    }
    let (status, headers, body) = answer(request).await;
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(body.into())).unwrap())
}

/// Sends each message of a WebSocket back.
async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(stream) = upgrade.await else { return };
    let (sink, stream) = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await.split();
    // A client may leave in the middle.
    let _ = stream.forward(sink).await;
}

/// What a server of this name answers TLS with, by the authority of the run.
fn certify(name: &str, authority: &Path) -> ServerConfig {
    let pem = fs::read_to_string(authority).unwrap();
    let key = &pem[pem.find("-----BEGIN PRIVATE KEY-----").unwrap()..];
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name.push(DnType::CommonName, "Cabana's tests");
    let issuer = Issuer::new(issuer, KeyPair::from_pem(key).unwrap());
    let own = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    config.with_single_cert(vec![leaf.der().clone()], key).unwrap()
}
