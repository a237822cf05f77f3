//! Rows of the threat list at their full scale, which takes too long for every change: `cargo xtask soak`.
//!
//! The program `cabana-soak` runs one row, within its share of the time: `cabana-soak list` names the rows, `cabana-soak run <name>
//! --seconds N` runs one and prints its report. Rows against the agent start agents of their own (`CABANA_AGENT_BIN`); rows against the
//! stack use the service of `CABANA_TEST_URL`.

mod bombs;
mod budget;
mod constants;
mod crowd;
mod database;
mod kills;
mod last_bytes;
mod latencies;
mod mixed;
mod orphans;
mod path_race;
mod process;
mod replacing;
mod scale;
mod silence;
mod stalled;

use std::{
    panic::AssertUnwindSafe,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, future::LocalBoxFuture};
use serde::Serialize;

use crate::Target;
use budget::Budget;

/// How long a row may go on after its share of the time: what it has begun is finished and cleared away.
const OVERTIME: Duration = Duration::from_secs(240);

/// The full scale of a row that lasts as many seconds as it may.
const ITS_SHARE: u64 = u64::MAX;

/// One row.
struct Row {
    name: &'static str,
    /// What it shows.
    about: &'static str,
    target: Target,
    /// Its full scale; [`ITS_SHARE`] where that is the time it has.
    rounds: u64,
    /// What a round is.
    unit: &'static str,
    /// How long its full scale takes on two cores, roughly: its share of the time in proportion to the others.
    seconds: u64,
    /// Returns the row's worst figure; panics at the first violation.
    run: for<'a> fn(&'a Budget) -> LocalBoxFuture<'a, String>,
}

const ROWS: &[Row] = &[
    Row {
        name: "path-race",
        about: "4: a directory is swapped with a symlink while four clients work in it; nothing outside is reached",
        target: Target::Agent,
        rounds: 100_000,
        unit: "operations",
        seconds: 150,
        run: |budget| path_race::run(budget).boxed_local(),
    },
    Row {
        name: "bombs",
        about: "11: archives of 10 GiB and of 10 million entries are stopped at the limits, in flat memory",
        target: Target::Agent,
        rounds: bombs::COUNT,
        unit: "archives",
        seconds: 240,
        run: |budget| bombs::run(budget).boxed_local(),
    },
    Row {
        name: "writers",
        about: "15: of two writers with the same ETag exactly one succeeds",
        target: Target::Agent,
        rounds: 1_000,
        unit: "pairs",
        seconds: 20,
        run: |budget| replacing::writers(budget).boxed_local(),
    },
    Row {
        name: "readers",
        about: "16: readers see the whole old or the whole new file while it is replaced",
        target: Target::Agent,
        rounds: 10_000,
        unit: "replacements",
        seconds: 90,
        run: |budget| replacing::readers(budget).boxed_local(),
    },
    Row {
        name: "stalled",
        about: "25: `yes` with no reader, one and 64 stalled readers; memory is bounded and others are served",
        target: Target::Agent,
        rounds: 60,
        unit: "s",
        seconds: 70,
        run: |budget| stalled::run(budget).boxed_local(),
    },
    Row {
        name: "last-bytes",
        about: "28: the bytes before an exit arrive in every form, under load",
        target: Target::Agent,
        rounds: 10_000,
        unit: "commands",
        seconds: 120,
        run: |budget| last_bytes::run(budget).boxed_local(),
    },
    Row {
        name: "orphans",
        about: "32: commands that leave orphans behind, 10,000 each with the agent as process 1 and not: no zombies, flat memory and descriptors",
        target: Target::Agent,
        rounds: 20_000,
        unit: "commands",
        seconds: 180,
        run: |budget| orphans::run(budget).boxed_local(),
    },
    Row {
        name: "crowd",
        about: "47: 1,000 processes at once and more than the limit; then 64 sessions run `true` for a minute",
        target: Target::Agent,
        rounds: 60,
        unit: "s",
        seconds: 75,
        run: |budget| crowd::run(budget).boxed_local(),
    },
    Row {
        name: "mixed",
        about: "101: mixed load for its share of the time, one operation of 1,000 killed: flat memory, descriptors and spool",
        target: Target::Agent,
        rounds: ITS_SHARE,
        unit: "s",
        seconds: 400,
        run: |budget| mixed::run(budget).boxed_local(),
    },
    Row {
        name: "silence",
        about: "65: silence on SSE, NDJSON and WebSocket through the whole stack, then a stop in the middle",
        target: Target::Stack,
        rounds: 120,
        unit: "s",
        seconds: 140,
        run: |budget| silence::run(budget).boxed_local(),
    },
    Row {
        name: "scale",
        about: "66: as many sandboxes of 1,000 as the machine holds are used at once; no request waits for a shared object",
        target: Target::Stack,
        rounds: 1_000,
        unit: "sandboxes",
        seconds: 300,
        run: |budget| scale::run(budget).boxed_local(),
    },
    Row {
        name: "kills",
        about: "agent, engine and runtime are killed at random moments of snapshots, archives, stops and restores; no saved state is lost",
        target: Target::Stack,
        rounds: 50,
        unit: "kills",
        seconds: 300,
        run: |budget| kills::run(budget).boxed_local(),
    },
    Row {
        name: "constants",
        about: "the real heartbeat, key cache, key set refresh and probe, which other tests shorten",
        target: Target::Stack,
        rounds: constants::COUNT,
        unit: "constants",
        seconds: 140,
        run: |budget| constants::run(budget).boxed_local(),
    },
];

/// A row as `cabana-soak list` shows it.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    about: &'static str,
    needs_stack: bool,
    seconds: u64,
}

/// What came of a row, as `cabana-soak run` prints it.
#[derive(Serialize)]
struct Report {
    rounds: u64,
    full: u64,
    unit: &'static str,
    worst: String,
    /// The violation, if there was one.
    failed: Option<String>,
}

/// The program `cabana-soak`.
pub fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => list(),
        ["run", name, "--seconds", seconds] => match (ROWS.iter().find(|row| row.name == name), seconds.parse()) {
            (Some(row), Ok(seconds)) => run(row, Duration::from_secs(seconds)),
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cabana-soak list | cabana-soak run <name> --seconds <number>");
    ExitCode::FAILURE
}

fn list() -> ExitCode {
    for Row { name, about, target, seconds, .. } in ROWS {
        print(&Listed { name, about, needs_stack: *target == Target::Stack, seconds: *seconds });
    }
    ExitCode::SUCCESS
}

fn print(line: &impl Serialize) {
    println!("{}", serde_json::to_string(line).unwrap());
}

fn run(row: &Row, share: Duration) -> ExitCode {
    let full = if row.rounds == ITS_SHARE { share.as_secs() } else { row.rounds };
    let budget = Arc::new(Budget::new(full, share));
    budget.show_progress(row.name, row.unit);
    let place = note_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let work = AssertUnwindSafe(async { tokio::time::timeout(share + OVERTIME, (row.run)(&budget)).await }).catch_unwind();
    let (worst, failed) = match runtime.block_on(work) {
        Ok(Ok(worst)) => (worst, None),
        Ok(Err(_)) => (String::new(), Some(format!("it hangs: not over {} s after its time", OVERTIME.as_secs()))),
        Err(_) => (String::new(), Some(place.lock().unwrap().take().unwrap_or_else(|| "a panic".to_owned()))),
    };
    let exit = if failed.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    print(&Report { rounds: budget.done(), full, unit: row.unit, worst, failed });
    // Tasks of a row that failed may still run.
    runtime.shutdown_background();
    exit
}

/// Keeps the first panic's message and place: it is the violation.
fn note_panics() -> Arc<Mutex<Option<String>>> {
    let first = Arc::new(Mutex::new(None));
    let place = Arc::clone(&first);
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{panic}");
        place.lock().unwrap().get_or_insert_with(|| panic.to_string());
    }));
    first
}
