//! Cells on Python's kernel, beside jupyter_client on the same kernel in the same run.

use crate::Bench;
use crate::agent::Agent;
use crate::connection::{Connection, JSON, NDJSON};
use crate::exec::in_parallel;
use crate::quantity::Quantity;
use crate::row::{Row, Target};
use crate::samples::Samples;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Cells of each; they alternate, so that both see the same machine.
const CELLS: usize = 200;
/// Starts of each.
const STARTS: usize = 10;
/// Contexts that start at once.
const PARALLEL: usize = 5;
/// How long a kernel that waits may take to be there.
const WARM: Duration = Duration::from_secs(3);

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let Some(kernels) = &bench.kernels else {
        eprintln!(" - code               left out: no kernels");
        return Ok(Vec::new());
    };
    let start = |warm: &str| {
        bench.start_agent_with(&[
            ("JUPYTER_PATH", kernels.join("share/jupyter").as_os_str()),
            ("CABANA_WARM_KERNELS", warm.as_ref()),
        ])
    };
    let agent = start("")?;
    let mut rows = vec![cells(&agent, kernels)?];
    rows.extend(starts(&agent, kernels)?);
    rows.push(parallel(&agent)?);
    rows.push(output(&start("")?)?);
    rows.push(warm(&start("python")?)?);
    Ok(rows)
}

/// The time of an empty cell over the kernel's own: jupyter_client has little of its own.
fn cells(agent: &Agent, kernels: &Path) -> Result<Row> {
    let mut connection = agent.connect()?;
    let (context, mut jupyter) = (CodeContext::create(&mut connection)?, Jupyter::start(kernels)?);
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    jupyter.ask("start")?;
    for _ in 0..CELLS {
        ours.time(|| context.run(&mut connection, "1"))?;
        theirs.time(|| jupyter.ask("run"))?;
    }
    context.delete(&mut connection)?;
    let most = Quantity::Duration(theirs.p50() + Duration::from_millis(2));
    Ok(Row::latency("code.run of an empty cell", &ours)
        .baseline("jupyter_client", Quantity::Duration(theirs.p50()))
        .at_most(most))
}

fn starts(agent: &Agent, kernels: &Path) -> Result<Vec<Row>> {
    let (mut connection, mut jupyter) = (agent.connect()?, Jupyter::start(kernels)?);
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..STARTS {
        let context = ours.time(|| CodeContext::create(&mut connection))?;
        context.delete(&mut connection)?;
        theirs.time(|| jupyter.ask("start"))?;
    }
    let most = Quantity::Duration(theirs.p50() + Duration::from_millis(50));
    let row = Row::latency("code.create, cold", &ours);
    Ok(vec![row.baseline("jupyter_client", Quantity::Duration(theirs.p50())).at_most(most)])
}

fn parallel(agent: &Agent) -> Result<Row> {
    let one = Instant::now();
    let context = CodeContext::create(&mut agent.connect()?)?;
    let one = one.elapsed();
    context.delete(&mut agent.connect()?)?;
    let all = Instant::now();
    in_parallel(PARALLEL, || CodeContext::create(&mut agent.connect()?).map(drop))?;
    Ok(Row::new("  five at once", Quantity::Duration(all.elapsed()))
        .baseline("one", Quantity::Duration(one))
        .target(Target::MaximumRatio(1.5)))
}

/// How much memory of the agent's 20 MB take that a cell prints, on their way to a client that reads.
fn output(agent: &Agent) -> Result<Row> {
    let mut connection = agent.connect()?;
    let context = CodeContext::create(&mut connection)?;
    context.run(&mut connection, "1")?;
    let before = agent.resident_bytes()?;
    let request = context.request("for _ in range(20): print('x' * 1_000_000)");
    let body = connection.post("code/run", &request, NDJSON)?;
    ensure!(body.length() >= 20_000_000, "only {} bytes of output came", body.length());
    Ok(Row::new("20 MB of output: more memory of the agent", Quantity::Size(agent.growth_since(before)?))
        .at_most(Quantity::mebibytes(16)))
}

fn warm(agent: &Agent) -> Result<Row> {
    let mut connection = agent.connect()?;
    let mut created = Samples::default();
    for _ in 0..STARTS {
        std::thread::sleep(WARM);
        let context = created.time(|| CodeContext::create(&mut connection))?;
        context.delete(&mut connection)?;
    }
    Ok(Row::latency("code.create, warm", &created).at_most(Quantity::milliseconds(30)))
}

/// A context of an agent.
#[derive(Deserialize)]
struct CodeContext {
    context: String,
}

impl CodeContext {
    fn create(connection: &mut Connection) -> Result<Self> {
        let body = connection.post("code/create", "{}", JSON)?;
        serde_json::from_slice(body.tail()).context("read the response of code.create")
    }

    fn request(&self, code: &str) -> String {
        serde_json::json!({ "context": self.context, "code": code }).to_string()
    }

    fn run(&self, connection: &mut Connection, code: &str) -> Result<()> {
        let body = connection.post("code/run", &self.request(code), JSON)?;
        ensure!(body.tail().windows(13).any(|part| part == br#""status":"ok""#), "the cell failed");
        Ok(())
    }

    fn delete(&self, connection: &mut Connection) -> Result<()> {
        connection.post("code/delete", &format!(r#"{{"context":"{}"}}"#, self.context), JSON).map(drop)
    }
}

/// jupyter_client, in a process of its own that does what a line says.
struct Jupyter {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Jupyter {
    fn start(kernels: &Path) -> Result<Self> {
        let mut command = Command::new(kernels.join("bin/python"));
        command.args(["-c", include_str!("code/jupyter.py")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start jupyter_client")?;
        let (stdin, stdout) = (child.stdin.take().context("no stdin")?, child.stdout.take().context("no stdout")?);
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// Has it do something, and waits until it is done.
    fn ask(&mut self, what: &str) -> Result<()> {
        writeln!(self.stdin, "{what}")?;
        let mut done = String::new();
        self.stdout.read_line(&mut done)?;
        ensure!(done == "done\n", "jupyter_client failed: {done:?}");
        Ok(())
    }
}

impl Drop for Jupyter {
    fn drop(&mut self) {
        // It ends its kernel when there is nothing more to read.
        let _ = writeln!(self.stdin, "end");
        let _ = self.child.wait();
    }
}
