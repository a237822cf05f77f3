//! What commands print: tables for people, JSON for programs.

use std::io::{IsTerminal, Write, stderr, stdout};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::table::Table;

/// How a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints the answer as JSON, or what `human` makes of it.
    pub(crate) fn show<T: Serialize>(self, answer: &T, human: impl FnOnce(&T) -> String) -> Result<()> {
        if self.json {
            return self.print_json(answer);
        }
        self.print(&human(answer))
    }

    /// Prints the answer as JSON, or a table of it.
    pub(crate) fn table<T: Serialize>(self, answer: &T, table: impl FnOnce(&T) -> Table) -> Result<()> {
        self.show(answer, |answer| table(answer).render())
    }

    /// Prints a line on stdout; nothing where it is empty.
    pub(crate) fn print(self, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut out = stdout().lock();
        writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()).context("print")
    }

    pub(crate) fn print_json(self, answer: &impl Serialize) -> Result<()> {
        let mut out = stdout().lock();
        serde_json::to_writer_pretty(&mut out, answer).map_err(std::io::Error::from).context("print")?;
        writeln!(out).and_then(|()| out.flush()).context("print")
    }

    /// Says something on stderr to the person in front of the terminal. Programs are told nothing.
    pub(crate) fn note(self, text: &str) {
        if !self.json && stderr().is_terminal() {
            // Nobody misses a note that cannot be written.
            let _ = writeln!(stderr(), "{text}");
        }
    }
}
