//! Kernels of Jupyter, for sandboxes of this machine: an environment of Python that has them, pinned, in the cache.

use super::Places;
use super::python;
use crate::progress::{Outcome, Step};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is installed.
const REQUIREMENTS: &str = "tests/kernels/requirements.txt";

/// What Python runs at its start: it has packages that a cell installs go to the user's home.
const AT_START: &str = include_str!("../../../tests/kernels/sitecustomize.py");

/// Finds the kernels, or installs them from PyPI.
pub(super) fn provide(places: &Places, step: &Step) -> Result<(Outcome, PathBuf)> {
    let (outcome, tools) = python::provide(places, step, "kernels", REQUIREMENTS)?;
    for (name, description) in descriptions() {
        describe(tools.directory(), name, &description)?;
    }
    let file = packages(tools.directory())?.join("sitecustomize.py");
    keep(&file, AT_START).with_context(|| format!("write {}", file.display()))?;
    Ok((outcome, tools.directory().to_owned()))
}

/// The kernels whose packages do not bring a description. ipykernel's does.
fn descriptions() -> [(&'static str, Value); 2] {
    let deno = json!({
        "argv": ["deno", "jupyter", "--kernel", "--conn", "{connection_file}"],
        "display_name": "Deno",
        "language": "typescript",
        "interrupt_mode": "message",
    });
    let bash = json!({
        "argv": ["python", "-m", "bash_kernel", "-f", "{connection_file}"],
        "display_name": "Bash",
        "language": "bash",
        "env": { "PS1": "$" },
    });
    [("deno", deno), ("bash", bash)]
}

fn describe(environment: &Path, name: &str, description: &Value) -> Result<()> {
    let directory = environment.join("share/jupyter/kernels").join(name);
    let written =
        fs::create_dir_all(&directory).and_then(|()| keep(&directory.join("kernel.json"), &format!("{description:#}\n")));
    written.with_context(|| format!("describe the kernel {name}"))
}

/// Where an environment has its packages.
fn packages(environment: &Path) -> Result<PathBuf> {
    let library = environment.join("lib");
    let versions = fs::read_dir(&library).with_context(|| format!("list {}", library.display()))?;
    let packages = versions.flatten().map(|version| version.path().join("site-packages")).find(|packages| packages.is_dir());
    packages.with_context(|| format!("{} has no packages of Python", library.display()))
}

/// Writes a file unless it has this text: kernels that run may be reading it.
fn keep(file: &Path, text: &str) -> io::Result<()> {
    match fs::read_to_string(file) {
        Ok(kept) if kept == text => Ok(()),
        _ => fs::write(file, text),
    }
}

#[cfg(test)]
mod tests {
    use super::{describe, descriptions};
    use std::fs;

    #[test]
    fn kernels_are_described_where_jupyter_looks() {
        let environment = tempfile::tempdir().unwrap();
        for (name, description) in descriptions() {
            describe(environment.path(), name, &description).unwrap();
            let file = environment.path().join("share/jupyter/kernels").join(name).join("kernel.json");
            assert!(fs::read_to_string(file).unwrap().contains("{connection_file}"), "{name}");
        }
    }
}
