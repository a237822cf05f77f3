//! The targets of fuzz/, one after another, through `cargo xtask fuzz`.

use super::table::Report;
use crate::artifacts;
use crate::progress::say;
use crate::{setup, shell};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The full scale: how long each target is fuzzed.
const FULL: Duration = Duration::from_secs(60);
/// How often it is said how far a target is.
const PROGRESS: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(100);
/// Lines of the output that are shown where a target fails.
const TAIL_LINES: usize = 20;

/// Finds or builds cargo-fuzz, so that the rows' time does not pass meanwhile.
pub(super) fn prepare() -> Result<()> {
    setup::provide_cargo_fuzz().map(drop)
}

/// Fuzzes each target for its part of the share, building aside. Fails at the first input that breaks one.
pub(super) fn run(root: &Path, share: Duration) -> Result<Report> {
    let targets = targets(&root.join("fuzz/fuzz_targets"))?;
    let seconds = (share / u32::try_from(targets.len())?).min(FULL).as_secs().max(1);
    let (mut figures, mut failed) = (Figures::default(), None);
    for (number, target) in targets.iter().enumerate() {
        say(&format!(" . {:<18} {target} for {seconds} s, {} of {}", "fuzzers", number + 1, targets.len()));
        match fuzz(root, target, seconds) {
            Ok(found) => figures.add(&found),
            Err(error) => failed = failed.or(Some(format!("{target}: {error:#}"))),
        }
    }
    let Figures { inputs, slowest_seconds, peak_mib } = figures;
    let worst = format!("{inputs} inputs of {} targets; slowest {slowest_seconds} s; peak {peak_mib} MiB", targets.len());
    Ok(Report { rounds: seconds, full: FULL.as_secs(), unit: "s a target".to_owned(), worst, failed })
}

/// Runs one target, with its output in a log of its own, and returns the figures that end it.
fn fuzz(root: &Path, target: &str, seconds: u64) -> Result<Figures> {
    let log = artifacts::target(root).join("xtask").join(format!("soak-{target}.log"));
    let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    // This program, even where a newer one has taken its place since the rows began.
    let mut fuzz = Command::new("/proc/self/exe");
    fuzz.args(["fuzz", target, "--seconds", &seconds.to_string()]).current_dir(root);
    fuzz.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut child = shell::die_with_parent(&mut fuzz).spawn().context("start fuzzing")?;
    let (started, mut shown) = (Instant::now(), Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if shown.elapsed() > PROGRESS {
            shown = Instant::now();
            let last = shell::last_lines(&log, 1);
            say(&format!(" . {:<18} {target}, {} s: {}", "fuzzers", started.elapsed().as_secs(), last.trim()));
        }
        thread::sleep(LOOK);
    };
    if !status.success() {
        bail!("{status}; the end of {}:\n{}", log.display(), shell::last_lines(&log, TAIL_LINES));
    }
    Figures::read(&fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?)
}

/// What libFuzzer says of itself at the end.
#[derive(Default, Debug, PartialEq, Eq)]
struct Figures {
    inputs: u64,
    slowest_seconds: u64,
    peak_mib: u64,
}

impl Figures {
    fn read(output: &str) -> Result<Self> {
        let figure = |name: &str| {
            let value = output.lines().find_map(|line| line.trim().strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':'));
            let value = value.with_context(|| format!("libFuzzer does not say its {name}"))?;
            value.trim().parse().with_context(|| format!("read libFuzzer's {name}"))
        };
        Ok(Self {
            inputs: figure("number_of_executed_units")?,
            slowest_seconds: figure("slowest_unit_time_sec")?,
            peak_mib: figure("peak_rss_mb")?,
        })
    }

    fn add(&mut self, other: &Self) {
        self.inputs += other.inputs;
        self.slowest_seconds = self.slowest_seconds.max(other.slowest_seconds);
        self.peak_mib = self.peak_mib.max(other.peak_mib);
    }
}

/// The names of all targets.
fn targets(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let mut targets = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
        targets.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    targets.sort();
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn figures_are_read_from_the_end_of_the_output() {
        let output = "INFO: seed\nDone 7 runs in 2 second(s)\nstat::number_of_executed_units: 7\nstat::average_exec_per_sec:     3\n\
                      stat::new_units_added:          0\nstat::slowest_unit_time_sec:    1\nstat::peak_rss_mb:              45\n";
        assert_eq!(Figures::read(output).unwrap(), Figures { inputs: 7, slowest_seconds: 1, peak_mib: 45 });
        assert!(Figures::read("nothing").is_err());
    }
}
