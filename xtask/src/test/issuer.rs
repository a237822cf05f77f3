//! An issuer of JWTs for one run: the service trusts it, and the cases sign as it does.

use crate::dev::directory::write_private;
use crate::shell;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the cases' own program prints.
#[derive(Deserialize)]
struct Made {
    /// Its keys, as the cases read them.
    issuer: Box<RawValue>,
    /// What the Worker is told.
    variables: BTreeMap<String, String>,
}

pub(crate) struct Issuer {
    keys: Box<RawValue>,
    pub(crate) variables: Vec<(String, String)>,
}

impl Issuer {
    /// A new one, made by the program of the cases.
    pub(crate) fn generate(program: &Path) -> Result<Self> {
        let output = shell::capture(&mut Command::new(program)).context("make an issuer of tokens")?;
        let made: Made = serde_json::from_str(&output).context("read what cabana-test-issuer made")?;
        Ok(Self { keys: made.issuer, variables: made.variables.into_iter().collect() })
    }

    /// Writes its keys where the cases find them.
    pub(crate) fn write(&self, directory: &Path) -> Result<PathBuf> {
        let file = directory.join("issuer.json");
        write_private(&file, self.keys.get())?;
        Ok(file)
    }
}
