//! What a preview adds to a request: Worker and Durable Object, beside the sandbox's own loopback.

use super::client::{Client, text};
use crate::quantity::Quantity;
use crate::row::Row;
use crate::samples::Samples;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

const REQUESTS: usize = 200;
/// Bytes of the large page.
const SIZE: u64 = 256 << 20;
/// Serves two bytes, and a large page at `/large`.
const SERVER: &str = include_str!("preview/server.py");
/// Requests the pages from inside the sandbox, and prints the median duration of many small requests and that of a large one, in seconds.
const INSIDE: &str = include_str!("preview/inside.py");

pub(super) fn measure(client: &Client) -> Result<Vec<Row>> {
    let sandbox = client.create()?;
    let rows = measure_in(client, &sandbox).context("measure a preview");
    client.destroy(&sandbox)?;
    rows
}

fn measure_in(client: &Client, sandbox: &str) -> Result<Vec<Row>> {
    let post = |route: &str, body| client.post(&format!("/v1/sandboxes/{sandbox}/{route}"), &body);
    post("exec", json!({ "command": ["python3", "-c", SERVER, SIZE.to_string()], "detach": true, "name": "server" }))?;
    let listens = json!({ "process": "server", "until": { "port": 3000 }, "timeout_ms": 30_000 });
    post("process/wait", listens)?;
    let url = text(&post("ports", json!({ "port": 3000 }))?, "url")?;
    let (_, host) = url.trim_end_matches('/').split_once("://").with_context(|| format!("{url} has no scheme"))?;

    client.visit(host, "/")?;
    let mut samples = Samples::default();
    for _ in 0..REQUESTS {
        samples.time(|| client.visit(host, "/"))?;
    }
    let started = Instant::now();
    let size = client.visit(host, "/large")?;
    let large = started.elapsed();
    ensure!(size == SIZE, "{size} of {SIZE} bytes came through the preview");
    let inside = post("exec", json!({ "command": ["python3", "-c", INSIDE, REQUESTS.to_string()] }))?;
    let mut seconds = inside["stdout"].as_str().unwrap_or_default().split_whitespace().map(str::parse::<f64>);
    let mut next = || Some(Duration::from_secs_f64(seconds.next()?.ok()?));
    let (direct, direct_large) = next().zip(next()).with_context(|| format!("nothing was measured inside: {inside}"))?;
    Ok(vec![
        Row::latency("preview: a small GET", &samples).baseline("inside the sandbox", Quantity::Duration(direct)),
        Row::new("preview: 256 MiB", Quantity::throughput(SIZE, large))
            .baseline("inside the sandbox", Quantity::throughput(SIZE, direct_large)),
    ])
}
