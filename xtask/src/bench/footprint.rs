//! How much memory and disk it takes to be there.

use super::Bench;
use super::quantity::Quantity;
use super::row::{Row, Target};
use anyhow::{Context, Result};
use std::fs;

/// Requests that it has answered when it is looked at.
const REQUESTS: usize = 100;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.agent()?;
    let mut connection = agent.connect()?;
    for _ in 0..REQUESTS / 2 {
        connection.get("/health")?;
        connection.run(r#"["true"]"#)?;
    }
    drop(connection);
    let binary = fs::metadata(&bench.program).context("find the agent")?.len();
    Ok(vec![
        Row::new("idle memory (resident)", Quantity::Size(agent.resident()?))
            .target(Target::AtMost(Quantity::mebibytes(8)))
            .incumbent("42 MiB"),
        Row::new("size of the program", Quantity::Size(binary))
            .target(Target::AtMost(Quantity::mebibytes(10)))
            .incumbent("104 MiB"),
    ])
}
