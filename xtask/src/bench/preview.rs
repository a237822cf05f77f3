//! What a preview adds to a request: the way over Worker and Durable Object, beside the sandbox's own loopback.

use super::quantity::Quantity;
use super::row::Row;
use super::samples::Samples;
use crate::dev::client::Client;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::io::copy;
use std::time::{Duration, Instant};
use ureq::Agent;

const REQUESTS: usize = 200;
const SIZE: u64 = 256 << 20;

/// Serves a short text, and at `/large` as many bytes as it says. As other servers do, it does not wait with the text for the head's
/// acknowledgement, which on a connection that is kept comes 40 ms late.
const SERVER: &str = r#"
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        size = SIZE if self.path == "/large" else 2
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        piece = memoryview(bytes(1 << 20))
        while size:
            size -= self.wfile.write(piece[:min(size, len(piece))])
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("0.0.0.0", 3000), Handler).serve_forever()
"#;

/// Asks from inside; prints the median of many requests, and the time of a large one, in seconds.
const LOOPBACK: &str = r#"
import http.client, statistics, time
def get(path, buffer=memoryview(bytearray(1 << 20))):
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", 3000)
    connection.request("GET", path)
    answer = connection.getresponse()
    while answer.readinto(buffer): pass
    return time.perf_counter() - started
get("/")
print(statistics.median(get("/") for _ in range(REQUESTS)), get("/large"))
"#;

/// In a sandbox of its own.
pub(super) fn rows(client: &Client) -> Result<Vec<Row>> {
    let sandbox = client.create()?;
    let rows = measure(client, &sandbox).context("measure a preview");
    client.destroy(&sandbox)?;
    rows
}

fn measure(client: &Client, sandbox: &str) -> Result<Vec<Row>> {
    let route = |name: &str| format!("/v1/sandboxes/{sandbox}/{name}");
    let python = |script: &str| {
        let script = script.replace("SIZE", &SIZE.to_string()).replace("REQUESTS", &REQUESTS.to_string());
        json!(["python3", "-c", script])
    };
    client.post(&route("exec"), &json!({ "command": python(SERVER), "detach": true, "name": "server" }))?;
    let listens = json!({ "process": "server", "until": { "port": { "port": 3000 } }, "timeout_ms": 30_000 });
    client.post(&route("process/wait"), &listens)?;
    let exposed = client.post(&route("ports"), &json!({ "port": 3000 }))?;
    let visitor = Visitor::at(client.url(), exposed["url"].as_str().context("the port has no URL")?)?;

    visitor.get("/")?;
    let mut samples = Samples::default();
    for _ in 0..REQUESTS {
        samples.time(|| visitor.get("/"))?;
    }
    let started = Instant::now();
    let size = visitor.get("/large")?;
    let large = started.elapsed();
    if size != SIZE {
        bail!("a preview has brought {size} of {SIZE} bytes");
    }
    let inside = client.post(&route("exec"), &json!({ "command": python(LOOPBACK) }))?;
    let mut seconds = inside["stdout"].as_str().unwrap_or_default().split_whitespace().map(str::parse::<f64>);
    let mut next = || Some(Duration::from_secs_f64(seconds.next()?.ok()?));
    let (direct, direct_large) = next().zip(next()).with_context(|| format!("nothing was measured inside: {inside}"))?;
    Ok(vec![
        Row::new("preview: a small GET", Quantity::Time(samples.p50()))
            .p95(Quantity::Time(samples.p95()))
            .against("inside the sandbox", Quantity::Time(direct)),
        Row::new("preview: 256 MiB", Quantity::rate(SIZE, large))
            .against("inside the sandbox", Quantity::rate(SIZE, direct_large)),
    ])
}

/// Somebody at a preview of the local service, whatever the resolver makes of its name.
struct Visitor {
    agent: Agent,
    service: String,
    host: String,
}

impl Visitor {
    fn at(service: &str, url: &str) -> Result<Self> {
        let (_, host) = url.trim_end_matches('/').split_once("://").context("the URL has no scheme")?;
        Ok(Self { agent: Agent::new_with_defaults(), service: service.to_owned(), host: host.to_owned() })
    }

    /// Reads an answer to its end; gives its size.
    fn get(&self, path: &str) -> Result<u64> {
        let response = self.agent.get(format!("{}{path}", self.service)).header("host", &self.host).call()?;
        Ok(copy(&mut response.into_body().into_reader(), &mut std::io::sink())?)
    }
}
