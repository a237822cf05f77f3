//! The examples in the documentation, which rustdoc compiles and runs.

use super::report::Ran;
use super::suite::Tally;
use crate::artifacts;
use crate::progress::Step;
use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs the examples of every package. They fail as one, since rustdoc reports them to readers only.
pub(super) fn run(root: &Path, step: &Step) -> Result<Ran> {
    let log = artifacts::log(root, "doc-tests");
    let mut test = Command::new(artifacts::cargo());
    test.current_dir(root).args(["test", "--workspace", "--doc", "--no-fail-fast"]);
    shell::run_logged(&mut test, &log, step, None)?;
    let text = fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
    Ok(Ran { tally: Tally { passed: passed(&text), ..Tally::default() }, elsewhere: 0 })
}

/// The sum of the closing lines: `test result: ok. 5 passed; 0 failed; …`.
fn passed(text: &str) -> u64 {
    let counts = text.lines().filter_map(|line| line.trim().strip_prefix("test result: ok. ")?.split_once(" passed"));
    counts.filter_map(|(count, _)| count.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn the_closing_lines_add_up() {
        assert_eq!(passed("test result: ok. 1 passed; 0 failed\n\n   Doc-tests x\n\ntest result: ok. 2 passed; 0 failed\n"), 3);
        assert_eq!(passed("test a ... ok\nresult: 7 passed\ntest result: odd"), 0);
    }
}
