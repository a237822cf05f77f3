//! What is left of many commands.

use super::Bench;
use super::agent::Agent;
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::throughput::in_parallel;
use anyhow::Result;
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 16;
/// Commands of each client.
const COMMANDS: usize = 100_000 / CLIENTS;
/// How long the agent has to notice that clients have gone.
const SETTLING: Duration = Duration::from_millis(500);
/// How often it is looked at until then.
const LOOK: Duration = Duration::from_millis(10);

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.agent()?;
    let (resident, descriptors) = (agent.resident()?, fewest(|| agent.descriptors())?);
    in_parallel(CLIENTS, || ask(&agent))?;
    let growth = agent.resident()?.saturating_sub(resident);
    let none = Target::AtMost(Quantity::Count(0));
    let left = |name, count| Row::new(name, Quantity::Count(count)).target(none);
    Ok(vec![
        Row::new("100,000 execs: more memory than at first", Quantity::Size(growth))
            .target(Target::AtMost(Quantity::mebibytes(4))),
        left("  zombies left", fewest(|| agent.zombies())?),
        left("  open descriptors left", fewest(|| agent.descriptors())?.saturating_sub(descriptors)),
    ])
}

fn ask(agent: &Agent) -> Result<()> {
    let mut connection = agent.connect()?;
    (0..COMMANDS).try_for_each(|_| connection.run(r#"["true"]"#))
}

/// The fewest that there are within a while.
fn fewest(count: impl Fn() -> Result<u64>) -> Result<u64> {
    let (started, mut fewest) = (Instant::now(), count()?);
    while started.elapsed() < SETTLING {
        thread::sleep(LOOK);
        fewest = fewest.min(count()?);
    }
    Ok(fewest)
}
