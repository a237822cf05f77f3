//! The whole service: what a user waits for at the first command in a new sandbox, and what many sandboxes leave behind.

mod access;
mod client;
mod egress;
mod gateway;
mod keeping;
mod preview;

use crate::Bench;
use crate::exec::in_parallel;
use crate::process;
use crate::quantity::Quantity;
use crate::row::Row;
use crate::samples::Samples;
use anyhow::{Context, Result};
use client::Client;
use serde::Deserialize;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Sandboxes whose first and second command are timed.
const SANDBOXES: usize = 10;
/// Sandboxes that live one after another.
const IN_A_ROW: usize = 200;
/// Sandboxes that live at the same time.
const AT_ONCE: usize = 50;
/// How long an agent may take to exit after its sandbox was destroyed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A running service, as the program that started it describes it.
#[derive(Deserialize)]
pub(crate) struct Stack {
    url: String,
    api_key: String,
    /// The secret of the JWTs that the service accepts.
    jwt_secret: String,
    /// The process that all processes of the service descend from.
    ancestor: u32,
    bundle: Bundle,
}

/// The Worker, as wrangler deploys it.
#[derive(Deserialize)]
struct Bundle {
    compressed_bytes: u64,
    startup_ms: f64,
}

impl Stack {
    /// Reads the description, which is JSON.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} does not describe a service", file.display()))
    }

    /// Memory of workerd, which runs Worker and Durable Objects.
    fn resident_bytes(&self) -> Result<u64> {
        process::descendants(self.ancestor, "workerd")?.into_iter().map(process::resident_bytes).sum()
    }
}

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let stack = bench.stack.as_ref().context("no service is described")?;
    let client = Client::new(&stack.url, &stack.api_key);
    let mut rows = first_commands(&client)?;
    rows.extend(stack.bundle.rows());
    rows.extend(access::measure(stack, &client)?);
    rows.extend(gateway::measure(bench, stack, &client)?);
    rows.extend(preview::measure(&client)?);
    rows.extend(egress::measure(&client)?);
    rows.extend(keeping::measure(&client)?);
    rows.extend(lives(stack, &client)?);
    Ok(rows)
}

impl Bundle {
    fn rows(&self) -> [Row; 2] {
        let startup = Quantity::Duration(Duration::from_secs_f64(self.startup_ms / 1_000.0));
        [
            Row::new("the Worker's bundle, compressed", Quantity::Size(self.compressed_bytes)).at_most(Quantity::mebibytes(1)),
            Row::new("the Worker's start", startup).at_most(Quantity::milliseconds(1_000)),
        ]
    }
}

fn first_commands(client: &Client) -> Result<Vec<Row>> {
    let (mut first, mut second) = (Samples::default(), Samples::default());
    for _ in 0..SANDBOXES {
        let sandbox = first.time(|| {
            let sandbox = client.create()?;
            client.exec(&sandbox, "true")?;
            Ok(sandbox)
        })?;
        second.time(|| client.exec(&sandbox, "true"))?;
        client.destroy(&sandbox)?;
    }
    let row = Row::latency("whole stack: create to first result", &first)
        .baseline("its second exec", Quantity::Duration(second.p50()))
        .at_most(Quantity::milliseconds(500));
    Ok(vec![row])
}

/// Many whole lives of sandboxes, and the agents that are left of them.
fn lives(stack: &Stack, client: &Client) -> Result<Vec<Row>> {
    let started = Instant::now();
    (0..IN_A_ROW).try_for_each(|_| live(client))?;
    let in_a_row = started.elapsed();
    let started = Instant::now();
    in_parallel(AT_ONCE, || live(client))?;
    let at_once = started.elapsed();
    Ok(vec![
        Row::new("whole stack: 200 sandboxes in a row, each", Quantity::Duration(in_a_row / IN_A_ROW as u32)),
        Row::new("whole stack: 50 sandboxes at once, all", Quantity::Duration(at_once)),
        Row::new("whole stack: agents left behind by these", Quantity::Count(agents_left(stack)?)).at_most(Quantity::Count(0)),
    ])
}

/// Creates, uses and destroys a sandbox.
fn live(client: &Client) -> Result<()> {
    let sandbox = client.create()?;
    client.exec(&sandbox, "true")?;
    client.destroy(&sandbox)
}

/// How many agents of sandboxes still run when those that are exiting have had their time.
fn agents_left(stack: &Stack) -> Result<u64> {
    let started = Instant::now();
    loop {
        // A sandbox knows the agent's program by this name.
        let left = process::descendants(stack.ancestor, "agent")?.len() as u64;
        if left == 0 || started.elapsed() > EXIT_TIMEOUT {
            return Ok(left);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_with_all_fields_is_read() {
        let directory = std::env::temp_dir().join(format!("cabana-bench-test-{}", std::process::id()));
        let text = r#"{"url":"http://127.0.0.1:1","api_key":"k","jwt_secret":"s","ancestor":7,
                       "bundle":{"compressed_bytes":1024,"startup_ms":20.5}}"#;
        fs::write(&directory, text).unwrap();
        let stack = Stack::read(&directory).unwrap();
        fs::write(&directory, "{}").unwrap();
        let error = Stack::read(&directory).err().unwrap();
        fs::remove_file(&directory).unwrap();
        assert_eq!((stack.url.as_str(), stack.ancestor), ("http://127.0.0.1:1", 7));
        assert_eq!(stack.bundle.rows()[1].measured, Quantity::Duration(Duration::from_micros(20_500)));
        assert!(format!("{error:#}").contains("missing field"), "{error:#}");
    }
}
