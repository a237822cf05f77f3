//! What leaves a sandbox: with network rules, under which the Worker forwards each request, and without, where the runtime dials.

use super::client::{Client, text};
use crate::quantity::Quantity;
use crate::row::{Row, Target};
use crate::samples::Samples;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A name that both ways lead to this machine's loopback network. The service runs with names for tests.
const HOST: &str = "s1.cabana.test";
/// Requests on one connection.
const REQUESTS: usize = 200;
/// Bytes of a download.
const SIZE: u64 = 100_000_000;
const DOWNLOADS: usize = 5;
/// Sandboxes that are started with and without rules.
const STARTS: usize = 10;
/// Bytes that the server sends at once.
const PIECE: usize = 256 << 10;

pub(super) fn measure(client: &Client) -> Result<Vec<Row>> {
    let server = Server::start()?;
    let rules = json!({ "allow": [format!("{HOST}:{}", server.port)] });
    let (open, ruled) = (client.create()?, create(client, &rules)?);
    let url = format!("http://{HOST}:{}", server.port);
    let (dialed, forwarded) = (requests(client, &open, &url)?, requests(client, &ruled, &url)?);
    let added = Quantity::Duration(forwarded.p50().saturating_sub(dialed.p50()));
    let (downloaded, through) = (downloads(client, &open, &url)?, downloads(client, &ruled, &url)?);
    client.destroy(&open)?;
    client.destroy(&ruled)?;
    let (without, with) = (starts(client, &Value::Null)?, starts(client, &rules)?);
    let more = Quantity::Duration(with.p50().saturating_sub(without.p50()));
    let throughput = |samples: &Samples| Quantity::throughput(SIZE, samples.p50());
    Ok(vec![
        Row::latency("a request out of a sandbox with network rules", &forwarded)
            .baseline("without rules", Quantity::Duration(dialed.p50())),
        Row::new("  what interception adds", added),
        Row::new("100 MB out of loopback into a sandbox", throughput(&downloaded)).at_least(Quantity::megabytes_per_second(500)),
        Row::new("100 MB into a sandbox with network rules", throughput(&through))
            .baseline("without rules", throughput(&downloaded))
            .target(Target::MinimumRatio(0.5)),
        Row::latency("create to first result, with network rules", &with)
            .baseline("without rules", Quantity::Duration(without.p50())),
        Row::new("  what rules add to a start", more).at_most(Quantity::milliseconds(60)),
    ])
}

fn create(client: &Client, rules: &Value) -> Result<String> {
    text(&client.post("/v1/sandboxes", &json!({ "network": rules }))?, "id")
}

/// The time of each of many requests on one connection.
fn requests(client: &Client, sandbox: &str, url: &str) -> Result<Samples> {
    times(client, sandbox, &format!("curl -fsS -o /dev/null -w '%{{time_total}}\\n' '{url}/?[1-{REQUESTS}]'"))
}

fn downloads(client: &Client, sandbox: &str, url: &str) -> Result<Samples> {
    times(client, sandbox, &format!("curl -fsS -o /dev/null -w '%{{time_total}}\\n' '{url}/large?[1-{DOWNLOADS}]'"))
}

/// Seconds, as curl prints them.
fn times(client: &Client, sandbox: &str, command: &str) -> Result<Samples> {
    let result = client.post(&format!("/v1/sandboxes/{sandbox}/exec"), &json!({ "command": command }))?;
    let printed = result["stdout"].as_str().with_context(|| format!("{command} printed nothing: {result}"))?;
    let mut samples = Samples::default();
    for line in printed.lines() {
        let seconds = line.parse().with_context(|| format!("{command} printed {line:?}: {result}"))?;
        samples.add(Duration::from_secs_f64(seconds));
    }
    Ok(samples)
}

fn starts(client: &Client, rules: &Value) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..STARTS {
        let sandbox = samples.time(|| {
            let sandbox = create(client, rules)?;
            client.exec(&sandbox, "true")?;
            Ok(sandbox)
        })?;
        client.destroy(&sandbox)?;
    }
    Ok(samples)
}

/// A server of small and large answers, on all addresses of this machine.
struct Server {
    port: u16,
    is_over: Arc<AtomicBool>,
}

impl Server {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("listen")?;
        let (port, is_over) = (listener.local_addr()?.port(), Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&is_over);
        thread::spawn(move || {
            for stream in listener.incoming().flatten().take_while(|_| !over.load(Ordering::Relaxed)) {
                // A client that leaves ends its connection's thread.
                thread::spawn(move || serve(stream));
            }
        });
        Ok(Self { port, is_over })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // The thread looks at its order when somebody connects.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let piece = vec![b'x'; PIECE];
    loop {
        let (mut line, mut target) = (String::new(), String::new());
        while reader.read_line(&mut line)? > 2 {
            if target.is_empty() {
                target = std::mem::take(&mut line);
            }
            line.clear();
        }
        if target.is_empty() {
            return Ok(());
        }
        let length = if target.contains("/large") { SIZE } else { 2 };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
        let mut left = length;
        while left > 0 {
            let count = left.min(PIECE as u64);
            stream.write_all(&piece[..usize::try_from(count)?])?;
            left -= count;
        }
    }
}
