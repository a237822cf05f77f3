//! How large the Worker is and how long it takes to start, as wrangler sees it, beside what the platform allows.

use super::quantity::Quantity;
use super::row::{Row, Target};
use crate::dev::stack::{self, Stack};
use crate::setup::Tools;
use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::time::Duration;

/// Uploads the built files as they are, without what the deployment binds to them.
const CONFIGURATION: &str = r#"{
    "name": "bundle", "main": "index.js", "compatibility_date": "2026-01-01", "no_bundle": true,
    "rules": [{ "type": "CompiledWasm", "globs": ["**/*.wasm"], "fallthrough": true }]
}"#;

/// The running service's Worker.
pub(super) fn measure(tools: &Tools, running: &Stack) -> Result<Vec<Row>> {
    let directory = running.directory().join("bundle");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("wrangler.jsonc"), CONFIGURATION)?;
    for file in ["index.js", "index_bg.wasm"] {
        fs::copy(running.directory().join("worker").join(file), directory.join(file)).with_context(|| format!("copy {file}"))?;
    }
    let ask = |arguments: &[&str]| shell::capture(stack::wrangler(tools, &directory, running.directory()).args(arguments));
    let deployment = ask(&["deploy", "--dry-run", "--outfile", "bundle.bin"])?;
    let start = ask(&["check", "startup", "--worker", "bundle.bin"])?;
    let size = number_after(&deployment, "gzip: ").context("wrangler tells no size")?;
    let active = number_after(&start, "Active: ").context("wrangler tells no time")?;
    Ok(vec![
        Row::new("the Worker's bundle, compressed", Quantity::Size((size * 1024.0) as u64))
            .target(Target::AtMost(Quantity::mebibytes(1))),
        Row::new("the Worker's start", Quantity::Time(Duration::from_secs_f64(active / 1000.0)))
            .target(Target::AtMost(Quantity::milliseconds(1_000))),
    ])
}

/// The number that follows these words, in the unit of the text: KiB and milliseconds.
fn number_after(text: &str, words: &str) -> Option<f64> {
    let (_, rest) = text.split_once(words)?;
    rest.split_whitespace().next()?.replace(',', "").parse().ok()
}
