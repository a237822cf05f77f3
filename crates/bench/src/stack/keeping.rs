//! Files that outlast their container: sleep, wake, forks and archives of a large workspace.

use super::client::{Client, text};
use crate::quantity::Quantity;
use crate::row::Row;
use crate::samples::Samples;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Files of the workspace, and the bytes of each: 500 MB together.
const FILES: u64 = 500;
const FILE_BYTES: u64 = 1_000_000;
/// Files that are written anew between two archives: 1 %.
const CHANGED: u64 = 5;
/// How often a sandbox sleeps and wakes, and is forked.
const ROUNDS: usize = 5;
/// Forks at once.
const FORKS: usize = 10;

pub(super) fn measure(client: &Client) -> Result<Vec<Row>> {
    let sandbox = client.create()?;
    let fill = format!("for i in $(seq {FILES}); do head -c {FILE_BYTES} /dev/urandom > f$i; done");
    client.exec(&sandbox, &fill)?;
    let mut rows = sleeping(client, &sandbox)?;
    rows.extend(forking(client, &sandbox)?);
    rows.extend(archiving(client, &sandbox)?);
    client.destroy(&sandbox)?;
    Ok(rows)
}

fn sleeping(client: &Client, sandbox: &str) -> Result<Vec<Row>> {
    let stop = format!("/v1/sandboxes/{sandbox}/stop");
    let started = Instant::now();
    client.post(&stop, &json!({}))?;
    let first = started.elapsed();
    let (mut wake, mut again) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        wake.time(|| client.exec(sandbox, "true"))?;
        again.time(|| client.post(&stop, &json!({})))?;
    }
    client.exec(sandbox, "true")?;
    let sleep = Row::new("whole stack: sleep with 500 MB written", Quantity::Duration(first));
    Ok(vec![
        sleep.baseline("with nothing written", Quantity::Duration(again.p50())).at_most(Quantity::milliseconds(2_000)),
        Row::latency("whole stack: wake to first result", &wake).at_most(Quantity::milliseconds(400)),
    ])
}

fn forking(client: &Client, sandbox: &str) -> Result<Vec<Row>> {
    let mut one = Samples::default();
    for _ in 0..ROUNDS {
        let forks = one.time(|| {
            let forks = fork(client, sandbox, 1)?;
            client.exec(&forks[0], "true")?;
            Ok(forks)
        })?;
        client.destroy(&forks[0])?;
    }
    let started = Instant::now();
    let forks = fork(client, sandbox, FORKS)?;
    let many = started.elapsed();
    forks.iter().try_for_each(|fork| client.destroy(fork))?;
    Ok(vec![
        Row::latency("whole stack: fork to first result", &one).at_most(Quantity::milliseconds(400)),
        Row::new("whole stack: ten forks at once", Quantity::Duration(many)).at_most(Quantity::milliseconds(1_500)),
    ])
}

/// The ids of so many forks.
fn fork(client: &Client, sandbox: &str, count: usize) -> Result<Vec<String>> {
    let made = client.post(&format!("/v1/sandboxes/{sandbox}/fork"), &json!({ "count": count }))?;
    made["items"].as_array().context("a fork has no items")?.iter().map(|fork| text(fork, "id")).collect()
}

fn archiving(client: &Client, sandbox: &str) -> Result<Vec<Row>> {
    let (first, took) = archive(client, sandbox)?;
    let change = format!("for i in $(seq {CHANGED}); do head -c {FILE_BYTES} /dev/urandom > f$i; done");
    client.exec(sandbox, &change)?;
    let (second, took_again) = archive(client, sandbox)?;
    let restore = format!("/v1/sandboxes/{sandbox}/archives/{}/restore", text(&second, "id")?);
    let started = Instant::now();
    client.post(&restore, &json!({}))?;
    let restored = started.elapsed();
    let bytes = |archive: &Value, field: &str| archive[field].as_u64().with_context(|| format!("{archive} has no {field}"));
    let speed = |took: Duration| Quantity::throughput(FILES * FILE_BYTES, took);
    Ok(vec![
        Row::new("whole stack: archive of 500 MB", speed(took)).at_least(Quantity::megabytes_per_second(200)),
        Row::new("whole stack: restore of 500 MB", speed(restored)).at_least(Quantity::megabytes_per_second(200)),
        Row::new("whole stack: second archive, 1 % changed", Quantity::Duration(took_again))
            .baseline("the first", Quantity::Duration(took))
            .target(crate::row::Target::MaximumRatio(0.15)),
        Row::new("whole stack: bytes that it stores", Quantity::Size(bytes(&second, "stored_bytes")?))
            .baseline("the first", Quantity::Size(bytes(&first, "stored_bytes")?))
            .target(crate::row::Target::MaximumRatio(0.03)),
    ])
}

fn archive(client: &Client, sandbox: &str) -> Result<(Value, Duration)> {
    let started = Instant::now();
    let archive = client.post(&format!("/v1/sandboxes/{sandbox}/archives"), &json!({}))?;
    Ok((archive, started.elapsed()))
}
