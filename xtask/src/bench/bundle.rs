//! The size and the startup time of the Worker, as wrangler measures them.

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
    let kibibytes = number_after(&deployment, "gzip: ").context("wrangler deploy prints no compressed size")?;
    let startup_ms = number_after(&startup, "Active: ").context("wrangler check startup prints no time")?;
    Ok(Bundle { compressed_bytes: (kibibytes * 1_024.0) as u64, startup_ms })
}

/// The number that follows these words, in the unit of the text: KiB and milliseconds.
fn number_after(text: &str, words: &str) -> Option<f64> {
    let (_, rest) = text.split_once(words)?;
    rest.split_whitespace().next()?.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number_after;

    #[test]
    fn numbers_are_read_after_their_words_only() {
        let text = "Total Upload: 2,980.10 KiB / gzip: 1,003.25 KiB";
        assert_eq!(number_after(text, "gzip: "), Some(1_003.25));
        assert_eq!(number_after(text, "Upload: "), Some(2_980.1));
        assert_eq!(number_after(text, "Active: "), None);
        assert_eq!(number_after("gzip: small", "gzip: "), None);
    }
}
