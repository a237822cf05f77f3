//! `cabana code`.

mod cell;
mod images;

use std::{
    io::{BufRead, IsTerminal, Read, Write, stderr, stdin, stdout},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use cabana_client::{
    Sandbox,
    protocol::code::{Create, Run, RunEvent, RunInput, RunStatus},
};
use clap::Args;
use tokio::sync::mpsc;

use crate::{command_line::span, context::Context, id::Named, terminal::Signals};
use cell::Cell;
use images::Images;

/// Runs code in a context, which keeps its variables from one cell to the next.
///
/// On a terminal, cells are typed: one ends with its line, or with a blank line where the line opens a block. Ctrl-C interrupts a cell, Ctrl-D
/// ends. Otherwise stdin is one cell, and the exit code is 1 where it fails.
#[derive(Debug, Args)]
pub(crate) struct Code {
    /// The language: python, javascript, typescript, or that of any kernel that is installed
    #[arg(short, long)]
    language: Option<String>,
    /// The context, by its name; made where there is none [default: the language's own]
    #[arg(long)]
    context: Option<String>,
    /// Run this cell, and end
    #[arg(short, long, value_name = "CODE", conflicts_with = "file")]
    code: Option<String>,
    /// Interrupt a cell after this time, such as 90s [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = span)]
    timeout: Option<u64>,
    /// Where images that a cell shows are written
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    images: PathBuf,
    /// The sandbox; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Named,
    /// A local file with a cell
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Code {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let sandbox = context.sandbox(&self.id)?;
        if let Some(name) = &self.context {
            let request = Create { language: self.language.clone(), name: Some(name.clone()), ..Create::default() };
            sandbox.call(request).await?;
        }
        let mut images = Images::new(self.images.clone());
        let one = match (&self.code, &self.file) {
            (Some(code), _) => Some(code.clone()),
            (None, Some(file)) => Some(std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?),
            (None, None) if !stdin().is_terminal() => {
                let mut code = String::new();
                stdin().read_to_string(&mut code).context("read stdin")?;
                Some(code)
            }
            (None, None) => None,
        };
        if let Some(code) = one {
            if context.json() {
                let output = sandbox.call(self.request(code)).await?;
                context.output().print_json(&output)?;
                return Ok(if output.result.status == RunStatus::Ok { 0 } else { 1 });
            }
            let status = self.cell(&sandbox, code, &mut lines(), &mut images).await?;
            return Ok(if status == RunStatus::Ok { 0 } else { 1 });
        }
        self.converse(&sandbox, &mut images).await
    }

    /// Cell after cell, as they are typed.
    async fn converse(&self, sandbox: &Sandbox, images: &mut Images) -> Result<u8> {
        let mut typed = lines();
        let mut cell = Cell::default();
        loop {
            prompt(cell.prompt())?;
            let Some(line) = typed.recv().await else { break };
            if let Some(code) = cell.push(&line) {
                self.cell(sandbox, code, &mut typed, images).await?;
            }
        }
        writeln!(stderr()).context("write to the terminal")?;
        Ok(0)
    }

    fn request(&self, code: String) -> Run {
        // A context has its language already.
        let language = self.language.clone().filter(|_| self.context.is_none());
        Run { code, context: self.context.clone(), language, timeout_ms: self.timeout, ..Run::default() }
    }

    async fn cell(
        &self,
        sandbox: &Sandbox,
        code: String,
        typed: &mut mpsc::Receiver<String>,
        images: &mut Images,
    ) -> Result<RunStatus> {
        let mut running = sandbox.stream(self.request(code)).await?;
        let mut signals = Signals::listen()?;
        loop {
            let event = tokio::select! {
                biased;
                _ = signals.next() => {
                    running.cancel();
                    continue;
                }
                event = running.next() => event,
            };
            match event {
                Ok(Some(RunEvent::InputRequest { prompt: asks, .. })) => {
                    prompt(&asks)?;
                    let text = typed.recv().await.unwrap_or_default();
                    running.input(RunInput::Reply { text }).await?;
                }
                Ok(Some(event)) => show(event, images)?,
                Ok(None) => return Ok(running.result().await?.status),
                // A cell that was cancelled ends as interrupted, and the context lives on.
                Err(error) if error.code() == Some(cabana_client::protocol::Code::Interrupted) && !error.is_retryable() => {
                    eprintln!("cabana: {error}");
                    return Ok(RunStatus::Interrupted);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Shows what a cell says.
fn show(event: RunEvent, images: &mut Images) -> Result<()> {
    let out = |text: &str| stdout().lock().write_all(text.as_bytes()).and_then(|()| stdout().flush()).context("write the output");
    match event {
        RunEvent::Stdout { text } => out(&text),
        RunEvent::Stderr { text } => stderr().lock().write_all(text.as_bytes()).context("write the output"),
        RunEvent::Value { data, .. } | RunEvent::Display { data, .. } | RunEvent::Update { data, .. } => {
            if let Some(image) = images.save(&data)? {
                eprintln!("cabana: image in {}", image.display());
            }
            match data.get("text/plain").and_then(serde_json::Value::as_str) {
                Some(text) => out(&format!("{}\n", text.trim_end_matches('\n'))),
                None => Ok(()),
            }
        }
        RunEvent::Failed { name, value, traceback } => {
            match traceback.is_empty() {
                true => eprintln!("{name}: {value}"),
                false => eprintln!("{}", traceback.join("\n")),
            }
            Ok(())
        }
        RunEvent::Omitted { bytes } => {
            eprintln!("cabana: about {bytes} bytes of the output were left out");
            Ok(())
        }
        RunEvent::Started { .. } | RunEvent::Executing { .. } | RunEvent::Clear { .. } | RunEvent::InputRequest { .. } => Ok(()),
    }
}

fn prompt(text: &str) -> Result<()> {
    write!(stderr(), "{text}").and_then(|()| stderr().flush()).context("write to the terminal")
}

/// The lines of stdin. A thread reads them, which ends with the program.
fn lines() -> mpsc::Receiver<String> {
    let (lines, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
