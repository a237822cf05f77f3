//! The whole service: what a user waits for at the first command in a new sandbox, and at a preview.

use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use super::{Bench, access, bundle, gateway, preview};
use crate::artifacts::{Profile, WasmOpt};
use crate::dev::client::Client;
use crate::dev::stack::{Engine, Options, Stack};
use crate::setup;
use anyhow::{Context, Result, anyhow};
use std::time::{Duration, Instant};
use std::{fs, iter, process, thread};

const SANDBOXES: usize = 10;
/// Sandboxes created, used and destroyed one after another.
const IN_A_ROW: usize = 200;
/// How long an agent may take to be gone once its sandbox is.
const LEAVING: Duration = Duration::from_secs(5);
/// Sandboxes created, used and destroyed at the same time.
const AT_ONCE: usize = 50;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let (name, value) = access::SECRET;
    let variables = vec![(name.to_owned(), value.to_owned())];
    let options = Options {
        port: None,
        engine: Engine::Cabana,
        profile: Profile::Release,
        wasm_opt: WasmOpt::Run,
        log: false,
        faults: false,
        variables,
    };
    let tools = setup::run()?;
    let stack = Stack::launch(&tools, options)?;
    let client = Client::new(stack.url(), stack.api_key());
    let rows = sandboxes(&client).and_then(|mut rows| {
        rows.extend(bundle::measure(&tools, &stack)?);
        rows.extend(access::measure(&stack)?);
        rows.extend(gateway::measure(bench, &stack, &client)?);
        rows.extend(preview::rows(&client)?);
        rows.extend(crowds(&client)?);
        Ok(rows)
    });
    stack.stop();
    rows.context("measure the stack")
}

/// Many sandboxes, and what is left of them.
fn crowds(client: &Client) -> Result<Vec<Row>> {
    let started = Instant::now();
    for _ in 0..IN_A_ROW {
        live(client)?;
    }
    let in_a_row = started.elapsed();
    let started = Instant::now();
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| live(client))).collect();
        crowd.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    let at_once = started.elapsed();
    Ok(vec![
        Row::new("whole stack: 200 sandboxes in a row, each", Quantity::Time(in_a_row / IN_A_ROW as u32)),
        Row::new("whole stack: 50 sandboxes at once, all", Quantity::Time(at_once)),
        Row::new("whole stack: agents left behind by these", Quantity::Count(agents_left()?))
            .target(Target::AtMost(Quantity::Count(0))),
    ])
}

/// A sandbox is created, used and destroyed.
fn live(client: &Client) -> Result<()> {
    let sandbox = client.create()?;
    client.exec(&sandbox, "true")?;
    client.destroy(&sandbox)
}

/// How many agents run below this program; one that is on its way down gets its time.
fn agents_left() -> Result<u64> {
    let deadline = Instant::now() + LEAVING;
    loop {
        let left = count_agents()?;
        if left == 0 || Instant::now() > deadline {
            return Ok(left);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn count_agents() -> Result<u64> {
    let field = |pid: u32, name: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned()))
    };
    let parent = |pid: &u32| field(*pid, "PPid")?.parse().ok().filter(|parent| *parent > 1);
    let processes = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let agents = processes.filter(|pid| field(*pid, "Name").is_some_and(|name| name == "agent"));
    let ours = |pid: &u32| iter::successors(Some(*pid), parent).any(|pid| pid == process::id());
    Ok(agents.filter(ours).count() as u64)
}

fn sandboxes(client: &Client) -> Result<Vec<Row>> {
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
    let row = Row::new("whole stack: create to first result", Quantity::Time(first.p50()))
        .p95(Quantity::Time(first.p95()))
        .against("its second exec", Quantity::Time(second.p50()))
        .target(Target::AtMost(Quantity::milliseconds(500)));
    Ok(vec![row])
}
