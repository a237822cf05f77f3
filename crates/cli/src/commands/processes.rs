//! `cabana ps`, `logs` and `kill`.

use std::io::{Write, stderr, stdout};

use anyhow::{Context as _, Result};
use cabana_client::protocol::{
    Signal,
    exec::{ExecEvent, Exit},
    process::{Attach, End, List, Logs as Page, Process, ProcessState, Processes, SendSignal},
};
use clap::Args;

use crate::{command_line::span, context::Context, failure, id::Named, table::Table};

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Show those that have ended, too
    #[arg(short, long)]
    all: bool,
    /// Print their ids alone
    #[arg(short, long)]
    quiet: bool,
    /// The sandbox; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Named,
}

impl Ps {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let state = (!self.all).then_some(ProcessState::Running);
        let found = context.sandbox(&self.id)?.call(List { state }).await?;
        if self.quiet && !context.json() {
            let ids: Vec<&str> = found.processes.iter().map(|process| process.process.as_str()).collect();
            context.output().print(&ids.join("\n"))?;
            return Ok(0);
        }
        context.output().table(&found, table)?;
        Ok(0)
    }
}

fn table(found: &Processes) -> Table {
    let mut table = Table::new(&["PROCESS", "NAME", "STATE", "STARTED", "OUTPUT", "COMMAND"]);
    for process in &found.processes {
        let command: String = process.command.to_string().chars().take(60).collect();
        let name = process.name.clone().unwrap_or_default();
        let output = process.output_bytes.to_string();
        table.row([process.process.to_string(), name, state(process), process.started_at.clone(), output, command]);
    }
    table
}

fn state(process: &Process) -> String {
    match process.exit {
        None => "running".to_owned(),
        Some(Exit::Exited { code }) => format!("exited {code}"),
        Some(exit) => exit.code().map_or_else(|| "lost".to_owned(), |code| format!("ended {code}")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what is printed, until the process ends
    #[arg(short, long)]
    follow: bool,
    /// Begin at this byte of the output [default: the first that is kept]
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,
    /// The sandbox; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Named,
    /// The process, by its id or name
    #[arg(value_name = "PROCESS")]
    process: String,
}

impl Logs {
    /// What went to stdout goes to stdout, and what went to stderr to stderr. The exit code is not that of the process.
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let sandbox = context.sandbox(&self.id)?;
        let mut from = self.from;
        loop {
            let page = sandbox.call(Page { process: self.process.clone(), from, max_bytes: None }).await?;
            if context.json() {
                context.output().print_json(&page)?;
                return Ok(0);
            }
            note_gap(context, from.unwrap_or(0), page.from);
            print(&page.stdout.0, &page.stderr.0)?;
            from = Some(page.to);
            if page.to >= page.output_bytes {
                if page.exit.is_some() || !self.follow {
                    return Ok(0);
                }
                break;
            }
        }
        let mut running = sandbox.stream(Attach { process: self.process, from, screen: false }).await?;
        while let Some(event) = running.next().await? {
            match event {
                ExecEvent::Stdout { bytes, .. } => print(&bytes.0, &[])?,
                ExecEvent::Stderr { bytes, .. } => print(&[], &bytes.0)?,
                ExecEvent::Gap { from, to } => note_gap(context, from, to),
                ExecEvent::Started { .. } | ExecEvent::Screen { .. } => {}
            }
        }
        Ok(0)
    }
}

fn note_gap(context: &Context, from: u64, to: u64) {
    if to > from {
        context.output().note(&format!("cabana: {} bytes of the output are no longer kept", to - from));
    }
}

fn print(out: &[u8], err: &[u8]) -> Result<()> {
    let write = |mut to: Box<dyn Write>, bytes: &[u8]| {
        if bytes.is_empty() { Ok(()) } else { to.write_all(bytes).and_then(|()| to.flush()) }
    };
    write(Box::new(stdout().lock()), out)
        .and_then(|()| write(Box::new(stderr().lock()), err))
        .context("write the output of the process")
}

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Send this signal, such as INT, in place of ending them
    #[arg(short, long)]
    signal: Option<Signal>,
    /// How long they may take to end by themselves, such as 10s
    #[arg(long, value_name = "TIME", value_parser = span, conflicts_with = "signal")]
    grace: Option<u64>,
    /// All processes of the sandbox
    #[arg(long, conflicts_with_all = ["processes", "signal"])]
    all: bool,
    /// The sandbox; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Named,
    /// The processes, by their ids or names
    #[arg(value_name = "PROCESS", required_unless_present = "all")]
    processes: Vec<String>,
}

impl Kill {
    /// Ends processes with everything that they started, and waits until all of that is gone.
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let sandbox = context.sandbox(&self.id)?;
        if self.all {
            let ended = sandbox.call(End { all: true, grace_ms: self.grace, ..End::default() }).await?;
            context.output().table(&ended, table)?;
            return Ok(0);
        }
        let mut code = 0;
        for process in self.processes {
            let outcome = match self.signal {
                Some(signal) => sandbox.call(SendSignal { process: process.clone(), signal }).await.map(drop),
                None => {
                    let request = End { process: Some(process.clone()), grace_ms: self.grace, ..End::default() };
                    sandbox.call(request).await.map(drop)
                }
            };
            if let Err(error) = outcome {
                code = failure::report(&anyhow::Error::from(error).context(process), context.json());
            }
        }
        Ok(code)
    }
}
