//! `cargo xtask bench`: how fast and small it is, each number beside its physical limit or a peer measured in the same run.
//!
//! It prints and never judges: a missed target is a line of the table, not a failure.

mod access;
mod agent;
mod archive;
mod bundle;
mod connection;
mod exec;
mod file;
mod footprint;
mod gateway;
mod idle;
mod list;
mod loopback;
mod preview;
mod quantity;
mod race;
mod row;
mod samples;
mod scratch;
mod search;
mod session;
mod small;
mod stack;
mod stalled;
mod start;
mod stream;
mod table;
mod throughput;
mod wear;

use crate::artifacts::{self, Profile};
use crate::progress::{Outcome, Step};
use agent::Agent;
use anyhow::{Result, bail};
use row::Row;
use scratch::Scratch;
use std::path::PathBuf;
use table::Table;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the measurements whose name holds one of these words [default: all]
    filter: Vec<String>,
    /// Leave out what needs the whole stack
    #[arg(long)]
    agent_only: bool,
    /// Measure this agent, for instance the image's, instead of the one of this repository; leaves out the whole stack
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

/// Something to measure, which gives some rows of the table.
struct Measurement {
    name: &'static str,
    measure: fn(&Bench) -> Result<Vec<Row>>,
}

const MEASUREMENTS: &[Measurement] = &[
    Measurement { name: "start", measure: start::measure },
    Measurement { name: "footprint", measure: footprint::measure },
    Measurement { name: "exec", measure: exec::measure },
    Measurement { name: "throughput", measure: throughput::measure },
    Measurement { name: "wear", measure: wear::measure },
    Measurement { name: "stream", measure: stream::measure },
    Measurement { name: "session", measure: session::measure },
    Measurement { name: "idle", measure: idle::measure },
    Measurement { name: "stalled", measure: stalled::measure },
    Measurement { name: "file", measure: file::measure },
    Measurement { name: "small", measure: small::measure },
    Measurement { name: "search", measure: search::measure },
    Measurement { name: "list", measure: list::measure },
    Measurement { name: "race", measure: race::measure },
    Measurement { name: "archive", measure: archive::measure },
];

/// Needs the tools of `cargo xtask setup`, and starts wrangler.
const STACK: Measurement = Measurement { name: "stack", measure: stack::measure };

impl Measurement {
    fn is_wanted(&self, arguments: &Arguments) -> bool {
        arguments.filter.is_empty() || arguments.filter.iter().any(|word| self.name.contains(word.as_str()))
    }
}

/// What the measurements share.
struct Bench {
    program: PathBuf,
    scratch: Scratch,
}

impl Bench {
    /// A fresh agent, whose one root is the scratch directory.
    fn agent(&self) -> Result<Agent> {
        Agent::start(&self.program, self.scratch.path())
    }
}

/// Measures and prints. Fails when something cannot be measured.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let stack = Some(&STACK).filter(|_| !arguments.agent_only && arguments.agent.is_none());
    let wanted: Vec<_> = MEASUREMENTS.iter().chain(stack).filter(|measurement| measurement.is_wanted(arguments)).collect();
    if wanted.is_empty() {
        bail!(
            "no measurement has such a name: there are {}",
            MEASUREMENTS.iter().chain([&STACK]).map(|m| m.name).collect::<Vec<_>>().join(", ")
        );
    }
    let program = match &arguments.agent {
        Some(program) => program.clone(),
        None => artifacts::build_programs(Profile::Release)?.agent,
    };
    let bench = Bench { program, scratch: Scratch::create()? };
    let mut table = Table::default();
    for measurement in wanted {
        let rows = Step::run(measurement.name, |_| Ok((Outcome::Done("measured".to_owned()), (measurement.measure)(&bench)?)))?;
        table.extend(rows);
    }
    println!("{table}");
    Ok(())
}
