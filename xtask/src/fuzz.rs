//! `cargo xtask fuzz`: has libFuzzer look for what breaks the targets of fuzz/.

use crate::progress::say;
use crate::{paths, setup, shell};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this target [default: each in turn]
    target: Option<String>,
    /// How long to look, for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs the targets from their seeds and from what earlier runs have found. Fails at the first input that breaks one; it is left in
/// fuzz/artifacts, with how to run it again.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = paths::repository()?;
    let targets = targets(&root.join("fuzz/fuzz_targets"))?;
    let wanted = |target: &String| arguments.target.as_ref().is_none_or(|wanted| wanted == target);
    ensure!(targets.iter().any(wanted), "the targets are {}", targets.join(", "));
    let cargo_fuzz = setup::provide_cargo_fuzz()?;
    for target in targets.iter().filter(|target| wanted(target)) {
        say(&format!(" . fuzzing {target} for {} s", arguments.seconds));
        // What has been found stays in the first directory; the seeds are only read.
        let found = root.join("target/fuzz/corpus").join(target);
        fs::create_dir_all(&found).with_context(|| format!("create {}", found.display()))?;
        let mut fuzz = Command::new(&cargo_fuzz);
        fuzz.args(["run", "--fuzz-dir", "fuzz", "--target-dir", "target/fuzz", target]).arg(&found);
        fuzz.arg(root.join("fuzz/seeds").join(target));
        fuzz.args(["--", &format!("-max_total_time={}", arguments.seconds), "-print_final_stats=1", "-verbosity=1"]);
        // The sanitizer is behind a flag that only nightly compilers take without it.
        shell::stream(fuzz.env("RUSTC_BOOTSTRAP", "1").current_dir(&root))?;
    }
    Ok(())
}

/// Compiles every target, which nothing else does.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut check = Command::new(crate::artifacts::cargo());
    check.current_dir(root).args(["check", "--manifest-path", "fuzz/Cargo.toml"]);
    check.env("CARGO_TARGET_DIR", crate::artifacts::target(root).join("fuzz"));
    shell::capture(&mut check).map(drop)
}

/// The names of all targets.
fn targets(directory: &Path) -> Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<String>> {
        let names =
            fs::read_dir(directory)?.map(|entry| Ok(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned())));
        Ok(names.collect::<std::io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    };
    let mut targets = read().with_context(|| format!("list {}", directory.display()))?;
    targets.sort();
    Ok(targets)
}
