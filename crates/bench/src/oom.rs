//! How soon it is reported that the kernel has killed a command because the container is out of memory.

use crate::Bench;
use crate::connection::{Body, JSON};
use crate::quantity::Quantity;
use crate::row::Row;
use crate::samples::Samples;
use anyhow::{Context, Result, anyhow, ensure};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const RUNS: usize = 10;
/// Reads an endless line, all of which it keeps.
const HOG: &str = r#"["tail","/dev/zero"]"#;
/// A larger limit is not to be used up.
const LARGEST_LIMIT: u64 = 4 << 30;
/// Time between two looks at the kernel's count.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// From the kernel's kill to the answer of `exec`. Measures nothing where this program's container has no limit of memory.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    if limit().is_none_or(|limit| limit > LARGEST_LIMIT) {
        return Ok(Vec::new());
    }
    let agent = bench.start_agent()?;
    let mut connection = agent.connect()?;
    let mut delays = Samples::default();
    for _ in 0..RUNS {
        let before = kills()?;
        let delay = thread::scope(|scope| {
            let call = scope.spawn(|| connection.exec(HOG, JSON).map(|body| (body, Instant::now())));
            while !call.is_finished() && kills()? == before {
                thread::sleep(POLL_INTERVAL);
            }
            let killed = Instant::now();
            let (body, answered) = call.join().map_err(|_| anyhow!("the client panicked"))??;
            ensure!(is_oom(&body), "the kernel killed something else: {}", String::from_utf8_lossy(body.tail()));
            Ok(answered.saturating_duration_since(killed))
        })?;
        delays.add(delay);
    }
    Ok(vec![Row::latency("an OOM kill until exec answers", &delays).at_most(Quantity::milliseconds(1_000))])
}

fn is_oom(body: &Body) -> bool {
    body.tail().windows(12).any(|part| part == br#""oom_killed""#)
}

/// The container's limit of memory in bytes, where it has one.
fn limit() -> Option<u64> {
    first_of(["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"])?.trim().parse().ok()
}

/// How many processes of the container the kernel has killed because memory ran out.
fn kills() -> Result<u64> {
    let counts = first_of(["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"]);
    let count = counts.as_ref().and_then(|counts| counts.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()));
    count.context("the container's control group does not count OOM kills")
}

/// The file of the second or the first version of control groups.
fn first_of(files: [&str; 2]) -> Option<String> {
    files.into_iter().find_map(|file| fs::read_to_string(file).ok())
}
