//! The size and the startup time of the Worker, as wrangler measures them.

use crate::artifacts::size;
use crate::dev::stack::{self, Stack};
use crate::setup::Tools;
use crate::shell;
use anyhow::{Context, Result};
use std::fs;

/// Uploads the built files as they are, without the bindings of a deployment.
const CONFIGURATION: &str = r#"{
    "name": "bundle", "main": "index.js", "compatibility_date": "2026-01-01", "no_bundle": true,
    "rules": [{ "type": "CompiledWasm", "globs": ["**/*.wasm"], "fallthrough": true }]
}"#;

/// What wrangler reports.
pub(super) struct Bundle {
    pub(super) compressed_bytes: u64,
    pub(super) startup_ms: f64,
}

/// Measures the Worker of the running service.
pub(super) fn measure(tools: &Tools, running: &Stack) -> Result<Bundle> {
    let directory = running.directory().join("bundle");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("wrangler.jsonc"), CONFIGURATION)?;
    for file in ["index.js", "index_bg.wasm"] {
        fs::copy(running.directory().join("worker").join(file), directory.join(file)).with_context(|| format!("copy {file}"))?;
    }
    let capture = |arguments: &[&str]| shell::capture(stack::wrangler(tools, &directory, running.directory()).args(arguments));
    let deployment = capture(&["deploy", "--dry-run", "--outfile", "bundle.bin"])?;
    let startup = capture(&["check", "startup", "--worker", "bundle.bin"])?;
    let kibibytes = size::compressed_kib(&deployment)?;
    let startup_ms = size::number_after(&startup, "Active: ").context("wrangler check startup prints no time")?;
    Ok(Bundle { compressed_bytes: (kibibytes * 1_024.0) as u64, startup_ms })
}
