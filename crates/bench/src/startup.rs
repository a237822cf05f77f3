//! How soon an agent is ready, and what it takes to be there.

use crate::Bench;
use crate::quantity::Quantity;
use crate::row::Row;
use crate::samples::Samples;
use anyhow::{Context, Result};
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Starts of an agent.
const RUNS: usize = 40;
/// Requests that the agent has answered when its memory is read.
const REQUESTS: usize = 100;

/// From the start of the process to its first healthy response.
pub(crate) fn latency(bench: &Bench) -> Result<Vec<Row>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let address = listener.local_addr()?;
    let (mut agents, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..RUNS {
        drop(agents.time(|| bench.start_agent())?);
        bare.time(|| {
            Command::new("/bin/true").env_clear().stdin(Stdio::null()).status().context("run true")?;
            TcpStream::connect(address).context("connect")
        })?;
        listener.accept().context("accept")?;
    }
    let row = Row::latency("start to first healthy answer", &agents)
        .baseline("spawn of true, and connect", Quantity::Duration(bare.p50()))
        .at_most(Quantity::milliseconds(5))
        .incumbent("139 ms");
    Ok(vec![row])
}

/// Memory and disk of an agent that has worked and is idle.
pub(crate) fn footprint(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.start_agent()?;
    let mut connection = agent.connect()?;
    for _ in 0..REQUESTS / 2 {
        connection.get("/health")?;
        connection.run(r#"["true"]"#)?;
    }
    drop(connection);
    let program = fs::metadata(&bench.agent).with_context(|| format!("find {}", bench.agent.display()))?.len();
    Ok(vec![
        Row::new("idle memory (resident)", Quantity::Size(agent.resident_bytes()?))
            .at_most(Quantity::mebibytes(6))
            .incumbent("42 MiB"),
        Row::new("size of the program", Quantity::Size(program)).at_most(Quantity::mebibytes(8)).incumbent("104 MiB"),
    ])
}
