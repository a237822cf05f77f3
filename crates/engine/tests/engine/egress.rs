//! What leaves a sandbox, with a gateway in the place of workerd.

use std::sync::{Arc, Mutex};

use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{Engine, IMAGE};

/// A stand-in for workerd's gateway: it remembers the heads that it was sent, and greets and then echoes.
struct Gateway {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Gateway {
    /// A gateway that answers every `CONNECT` with this status.
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::spawn(answer(listener.accept().await.unwrap().0, status, seen.clone()));
            }
        });
        Self { port, heads, task }
    }

    /// The only head that it was sent.
    fn head(&self) -> String {
        let heads = self.heads.lock().unwrap();
        assert_eq!(heads.len(), 1, "{heads:?}");
        heads[0].to_lowercase()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, status: u16, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    stream.write_all(format!("HTTP/1.1 {status} OK\r\n\r\n").as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
}

/// A request to a sidecar; returns the head's first line and the body.
async fn ask(sidecar: u16, request: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", sidecar)).await.unwrap();
    let length = body.len();
    let request = format!("{request} HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// A `PUT /egress`; returns the status line.
async fn put_rules(sidecar: u16, rules: &str) -> String {
    ask(sidecar, "PUT /egress", rules).await.0
}

/// An engine with a sidecar by these rules.
async fn engine_with(rules: &str) -> (Engine, u16) {
    let engine = Engine::start().await;
    let sidecar = engine.start_sidecar("box-proxy").await;
    assert_eq!(put_rules(sidecar, rules).await, "HTTP/1.1 204 No Content");
    (engine, sidecar)
}

/// Runs Python in the sandbox. Fails unless it ends with 0.
async fn python(engine: &Engine, name: &str, program: &str) {
    engine.run_in("box-proxy", name, &["python3", "-c", &format!("import socket, sys, errno\n{program}")]).await;
    assert_eq!(engine.code(name).await, 0, "{}", engine.log());
}

#[tokio::test]
async fn a_connection_goes_through_the_gateway_with_its_address_and_name() {
    for (address, said, expected) in [
        ("192.0.2.7", "GET / HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\n", "x-hostname: a.example\r\n"),
        ("192.0.2.7", "no http\\r\\n\\r\\n", ""),
    ] {
        let gateway = Gateway::start(202).await;
        let (engine, _) = engine_with(&format!(r#"{{"port":{}}}"#, gateway.port)).await;
        let program = format!(
            "s = socket.create_connection(('{address}', 80), timeout=20)
s.sendall(b'{said}')
s.shutdown(socket.SHUT_WR)
echo = b''.join(iter(lambda: s.recv(4096), b''))
assert echo == b'{said}', echo"
        );
        python(&engine, "box", &program).await;
        let head = gateway.head();
        assert!(head.starts_with("connect 192.0.2.7:80 http/1.1\r\n"), "{head}");
        assert!(head.contains("host: 192.0.2.7:80\r\n") && head.contains("x-proto: tcp\r\n"), "{head}");
        assert!(head.contains("user-agent: proxy-everything/0.0.1/198.18.0.2\r\n"), "{head}");
        assert_eq!(head.contains("x-hostname"), !expected.is_empty(), "{head}");
        assert!(head.contains(expected), "{head}");
    }
}

/// An archive with one file.
fn archive(path: &str, content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len().try_into().unwrap());
    header.set_mode(0o644);
    builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}

#[tokio::test]
async fn intercepted_tls_ends_at_the_sidecar_by_the_certificate_that_was_placed() {
    let gateway = Gateway::start(200).await;
    let (engine, sidecar) = engine_with(&format!(r#"{{"port":{}}}"#, gateway.port)).await;
    let (status, certificate) = ask(sidecar, "GET /ca", "").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let program = "import socket, ssl
context = ssl.create_default_context(cafile='/etc/cloudflare/certs/ca.crt')
context.set_alpn_protocols(['h2', 'http/1.1'])
s = context.wrap_socket(socket.create_connection(('192.0.2.7', 8443), timeout=20), server_hostname='a.example')
assert s.selected_alpn_protocol() == 'http/1.1'
s.sendall(b'hello')
assert s.recv(5) == b'hello'
try:
    ssl.create_default_context().wrap_socket(socket.create_connection(('192.0.2.7', 8443), timeout=20), server_hostname='a.example')
    raise SystemExit('trusted without the certificate')
except ssl.SSLCertVerificationError:
    pass";
    let host_config = json!({ "NetworkMode": "container:box-proxy" });
    engine.create(201, "box", json!({ "Image": IMAGE, "Cmd": ["python3", "-c", program], "HostConfig": host_config })).await;
    for (status, path, body) in [
        (400, "etc", archive("cloudflare/certs/ca.crt", "")),
        (400, "/etc", b"no archive, though it is long enough for one ".repeat(20)),
        (413, "/etc", archive("big", &"x".repeat(2 << 20))),
        (200, "/etc", archive("cloudflare/certs/ca.crt", &certificate)),
    ] {
        engine.expect(status, Method::PUT, &format!("/containers/box/archive?path={path}"), body).await;
    }
    engine.act(204, "box", "start").await;
    assert_eq!(engine.code("box").await, 0, "{}", engine.log());
    engine.run_in("box-proxy", "late", &["sh", "-c", "until [ -e /workspace/new/a ]; do sleep 0.01; done"]).await;
    engine.expect(200, Method::PUT, "/containers/late/archive?path=/workspace/new", archive("a", "")).await;
    assert_eq!(engine.code("late").await, 0, "{}", engine.log());
    let heads = gateway.heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 2);
    assert!(heads.iter().all(|head| head.to_lowercase().contains("x-tls-sni: a.example\r\n")), "{heads:?}");
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard() {
    let gateway = Gateway::start(202).await;
    let (engine, _) = engine_with(&format!(r#"{{"port":{}}}"#, gateway.port)).await;
    // The stand-in echoes, so that this client reads before it has sent anything only if the tunnel is open by then.
    let program = "s = socket.create_connection(('192.0.2.7', 22), timeout=20)
import time
time.sleep(0.5)
s.sendall(b'late')
assert s.recv(10) == b'late'";
    python(&engine, "box", program).await;
    assert!(gateway.head().starts_with("connect 192.0.2.7:22 "));
}

#[tokio::test]
async fn refused_and_forbidden_destinations_are_reset() {
    let gateway = Gateway::start(403).await;
    let (engine, sidecar) = engine_with(&format!(r#"{{"port":{}}}"#, gateway.port)).await;
    let reset = |address: &str, port: u16| {
        format!(
            "try:
    s = socket.create_connection(('{address}', {port}), timeout=20)
    s.sendall(b'x')
    sys.exit('answered: %r' % s.recv(1))
except socket.timeout:
    sys.exit('not in time')
except OSError:
    pass"
        )
    };
    python(&engine, "refused", &reset("192.0.2.7", 7)).await;
    assert_eq!(gateway.heads.lock().unwrap().len(), 1);
    for (name, address) in [("metadata", "169.254.169.254"), ("multicast", "224.0.0.9"), ("reserved", "240.0.0.1")] {
        python(&engine, name, &reset(address, 80)).await;
    }
    assert_eq!(gateway.heads.lock().unwrap().len(), 1, "the gateway is not asked for them");
    // workerd's own port, by the host's loopback address: inside that is the sandbox's own.
    python(&engine, "loopback", &reset("127.0.0.1", gateway.port)).await;
    python(&engine, "listener", &reset("127.0.0.1", 49992)).await;
    assert_eq!(gateway.heads.lock().unwrap().len(), 1, "nor for these");
    drop(gateway);
    assert_eq!(put_rules(sidecar, r#"{"port":1}"#).await, "HTTP/1.1 204 No Content");
    python(&engine, "gone", &reset("192.0.2.7", 7)).await;
}

#[tokio::test]
async fn datagrams_are_refused_at_once() {
    let (engine, _) = engine_with("{}").await;
    let program = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
try:
    s.connect(('192.0.2.7', 123))
    s.send(b'x')
    s.recv(1)
    sys.exit('answered')
except socket.timeout:
    sys.exit('not in time')
except OSError:
    pass";
    python(&engine, "box", program).await;
}

#[tokio::test]
async fn names_without_internet_do_not_exist_unless_they_are_intercepted() {
    let (engine, _) = engine_with(r#"{"internet":{"enabled":false},"dns":{"allowHostnames":["*.in.example"]}}"#).await;
    let program = "assert socket.gethostbyname('a.in.example') == '11.0.0.1'
try:
    socket.gethostbyname('a.out.example')
    sys.exit('resolved')
except socket.gaierror as error:
    assert error.errno == socket.EAI_NONAME, error
# Over TCP too, and at any server.
import struct
query = bytes.fromhex('000701000001000000000000') + b'\\x01a\\x02in\\x07example\\x00' + struct.pack('>HH', 1, 1)
s = socket.create_connection(('192.0.2.7', 53), timeout=20)
s.sendall(struct.pack('>H', len(query)) + query)
length = struct.unpack('>H', s.recv(2))[0]
answer = s.recv(length)
assert answer[:2] == b'\\x00\\x07' and answer.endswith(bytes([11, 0, 0, 1])), answer";
    python(&engine, "box", program).await;
}

#[tokio::test]
async fn malformed_rules_are_refused_and_change_nothing() {
    let gateway = Gateway::start(202).await;
    let (engine, sidecar) = engine_with(&format!(r#"{{"port":{}}}"#, gateway.port)).await;
    for rules in ["", "{", r#"{"port":"x"}"#] {
        assert_eq!(put_rules(sidecar, rules).await, "HTTP/1.1 400 Bad Request", "{rules}");
    }
    python(&engine, "box", "socket.create_connection(('192.0.2.7', 443), timeout=20).sendall(b'x')").await;
}

#[tokio::test]
async fn a_thousand_connections_are_open_at_once() {
    let gateway = Gateway::start(202).await;
    let (engine, _) = engine_with(&format!(r#"{{"port":{}}}"#, gateway.port)).await;
    let program = "import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
sockets = [socket.create_connection(('192.0.2.7', 9000), timeout=60) for _ in range(1000)]
for i, s in enumerate(sockets):
    s.sendall(b'%04d' % i)
for i, s in enumerate(sockets):
    assert s.recv(4, socket.MSG_WAITALL) == b'%04d' % i";
    python(&engine, "box", program).await;
    assert_eq!(gateway.heads.lock().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_sandbox_cannot_take_the_rules_away() {
    let gateway = Gateway::start(202).await;
    let (engine, _) = engine_with(&format!(r#"{{"port":{}}}"#, gateway.port)).await;
    let program = "import subprocess
for command in (['ip', 'route', 'flush', 'table', 'main'], ['ip', 'link', 'set', 'lo', 'down'], ['iptables', '-t', 'nat', '-F'], ['nft', 'flush', 'ruleset']):
    try:
        assert subprocess.run(command, capture_output=True).returncode != 0, command
    except FileNotFoundError:
        pass
s = socket.create_connection(('192.0.2.7', 443), timeout=20)
s.sendall(b'still')
assert s.recv(5) == b'still'";
    python(&engine, "box", program).await;
    assert_eq!(gateway.heads.lock().unwrap().len(), 1);
}
