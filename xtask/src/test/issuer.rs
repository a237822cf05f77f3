//! An issuer of JWTs for one run: the service trusts it, and the cases sign as it does.

use super::cargo;
use crate::dev::directory::write_private;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the cases' own program makes.
#[derive(Deserialize)]
struct Made {
    /// Its keys, as the cases read them.
    issuer: Box<RawValue>,
    /// What the Worker is told.
    variables: BTreeMap<String, String>,
}

pub(super) struct Issuer {
    keys: Box<RawValue>,
    pub(super) variables: Vec<(String, String)>,
}

impl Issuer {
    /// A fresh one.
    pub(super) fn make(root: &Path) -> Result<Self> {
        let mut make = cargo(root, "run");
        make.args(["--quiet", "--package", "cabana-tests", "--bin", "cabana-test-issuer"]);
        let output = make.output().context("run cabana-test-issuer")?;
        if !output.status.success() {
            bail!("cabana-test-issuer: {}", String::from_utf8_lossy(&output.stderr));
        }
        let made: Made = serde_json::from_slice(&output.stdout).context("read what cabana-test-issuer made")?;
        Ok(Self { keys: made.issuer, variables: made.variables.into_iter().collect() })
    }

    /// Writes its keys where the cases find them.
    pub(super) fn write(&self, directory: &Path) -> Result<PathBuf> {
        let file = directory.join("issuer.json");
        write_private(&file, self.keys.get())?;
        Ok(file)
    }
}
