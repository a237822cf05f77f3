//! `cabana completions` and `man`.

use std::{io::stdout, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::arguments::Arguments;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    /// Prints the script that completes commands and options.
    pub(crate) fn run(&self) -> u8 {
        generate(self.shell, &mut Arguments::command(), "cabana", &mut stdout());
        0
    }
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where the pages are written
    directory: PathBuf,
}

impl Man {
    /// Writes a page for each command.
    pub(crate) fn run(&self) -> Result<u8> {
        let about = || format!("write manual pages to {}", self.directory.display());
        std::fs::create_dir_all(&self.directory).with_context(about)?;
        clap_mangen::generate_to(Arguments::command(), &self.directory).with_context(about)?;
        Ok(0)
    }
}
