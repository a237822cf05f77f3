//! How fast and small Cabana is: each number beside its physical limit, or beside a peer measured in the same run.
//!
//! It prints and never judges: a missed target is a line of the table, not a failure. `cargo xtask bench` builds what is measured,
//! starts the service, and runs this program.

mod agent;
mod archive;
mod code;
mod connection;
mod directory;
mod exec;
mod file;
mod loopback;
mod oom;
mod process;
mod quantity;
mod reader;
mod row;
mod samples;
mod scratch;
mod session;
mod stack;
mod startup;
mod stream;
mod table;

use agent::Agent;
use anyhow::{Result, bail};
use clap::Parser;
use row::Row;
use scratch::Scratch;
use stack::Stack;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// The search path of everything that is started: agents, commands and peers alike.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Measures how fast and small Cabana is
#[derive(Parser)]
#[command(name = "cabana-bench")]
struct Arguments {
    /// Only the measurements whose name holds one of these words [default: all]
    filter: Vec<String>,
    /// The agent to measure
    #[arg(long, value_name = "FILE")]
    agent: PathBuf,
    /// An empty directory for files, best in memory; 4 GiB are used
    #[arg(long, value_name = "DIRECTORY")]
    scratch: PathBuf,
    /// Compare searches with this ripgrep
    #[arg(long, value_name = "FILE", default_value = "rg")]
    ripgrep: PathBuf,
    /// Measure cells on the kernels of Jupyter in this environment of Python
    #[arg(long, value_name = "DIRECTORY")]
    kernels: Option<PathBuf>,
    /// Measure the running service that this JSON file describes as well
    #[arg(long, value_name = "FILE")]
    stack: Option<PathBuf>,
}

/// A name of the command line, and the function that measures its rows.
struct Measurement {
    name: &'static str,
    measure: fn(&Bench) -> Result<Vec<Row>>,
}

const MEASUREMENTS: &[Measurement] = &[
    Measurement { name: "start", measure: startup::latency },
    Measurement { name: "footprint", measure: startup::footprint },
    Measurement { name: "exec", measure: exec::latency },
    Measurement { name: "throughput", measure: exec::throughput },
    Measurement { name: "leaks", measure: exec::leaks },
    Measurement { name: "stream", measure: stream::measure },
    Measurement { name: "session", measure: session::measure },
    Measurement { name: "idle", measure: reader::idle },
    Measurement { name: "stalled", measure: reader::stalled },
    Measurement { name: "file", measure: file::large },
    Measurement { name: "small", measure: file::small },
    Measurement { name: "search", measure: directory::search },
    Measurement { name: "list", measure: directory::list },
    Measurement { name: "race", measure: file::race },
    Measurement { name: "archive", measure: archive::measure },
    Measurement { name: "code", measure: code::measure },
    Measurement { name: "oom", measure: oom::measure },
];

/// Needs a running service.
const STACK: Measurement = Measurement { name: "stack", measure: stack::measure };

impl Measurement {
    fn matches(&self, filter: &[String]) -> bool {
        filter.is_empty() || filter.iter().any(|word| self.name.contains(word.as_str()))
    }
}

/// What the measurements share.
struct Bench {
    agent: PathBuf,
    ripgrep: PathBuf,
    kernels: Option<PathBuf>,
    scratch: Scratch,
    stack: Option<Stack>,
}

impl Bench {
    /// Starts a fresh agent, whose one root is the scratch directory.
    fn start_agent(&self) -> Result<Agent> {
        self.start_agent_with(&[])
    }

    /// The same, with further variables.
    fn start_agent_with(&self, variables: &[(&str, &OsStr)]) -> Result<Agent> {
        Agent::start(&self.agent, self.scratch.path(), variables)
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints. Fails when something cannot be measured.
fn run(arguments: Arguments) -> Result<()> {
    let Arguments { filter, agent, scratch, ripgrep, kernels, stack } = arguments;
    let stack = stack.map(|file| Stack::read(&file)).transpose()?;
    let possible = MEASUREMENTS.iter().chain(stack.as_ref().map(|_| &STACK));
    let selected: Vec<_> = possible.clone().filter(|measurement| measurement.matches(&filter)).collect();
    if selected.is_empty() {
        let names: Vec<_> = possible.map(|measurement| measurement.name).collect();
        bail!("no measurement is called {:?}: the names are {}", filter.join(" "), names.join(", "));
    }
    let bench = Bench { agent, ripgrep, kernels, scratch: Scratch::new(scratch), stack };
    let mut rows = Vec::new();
    for Measurement { name, measure } in selected {
        let started = Instant::now();
        rows.extend(measure(&bench)?);
        eprintln!(" + {name:<18} measured ({:.1} s)", started.elapsed().as_secs_f64());
    }
    println!("{}", table::render(&rows));
    Ok(())
}
