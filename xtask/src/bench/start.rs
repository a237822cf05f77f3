//! From the start of the process to its first healthy answer.

use super::Bench;
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

const RUNS: usize = 40;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let address = listener.local_addr()?;
    let (mut agents, mut peers) = (Samples::default(), Samples::default());
    for _ in 0..RUNS {
        drop(agents.time(|| bench.agent())?);
        peers.time(|| {
            Command::new("/bin/true").env_clear().stdin(Stdio::null()).status().context("run true")?;
            TcpStream::connect(address).context("connect")
        })?;
        listener.accept().context("accept")?;
    }
    let row = Row::new("start to first healthy answer", Quantity::Time(agents.p50()))
        .p95(Quantity::Time(agents.p95()))
        .against("spawn of true, and connect", Quantity::Time(peers.p50()))
        .target(Target::AtMost(Quantity::milliseconds(10)))
        .incumbent("139 ms");
    Ok(vec![row])
}
