//! `cargo xtask fuzz`: runs libFuzzer on the targets of fuzz/.

use crate::progress::{Outcome, Step, say};
use crate::{artifacts, paths, setup, shell};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
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
    /// Only compile the targets
    #[arg(long, conflicts_with_all = ["target", "lock"])]
    check: bool,
    /// Only renew fuzz/Cargo.lock from Cargo.lock
    #[arg(long, conflicts_with = "target")]
    lock: bool,
}

/// Runs the targets from their seeds and from the corpus of earlier runs. Fails at the first input that breaks one; the input stays in
/// fuzz/artifacts.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = paths::repository()?;
    if arguments.lock {
        return renew_lock(&root);
    }
    if arguments.check {
        return Step::run("fuzz targets", |step| Ok((Outcome::Done("compiled".to_owned()), check(&root, step)?)));
    }
    let targets = targets(&root)?;
    let selected = |target: &&String| arguments.target.as_ref().is_none_or(|name| name == *target);
    ensure!(targets.iter().any(|target| selected(&target)), "the targets are {}", targets.join(", "));
    let cargo_fuzz = setup::provide_cargo_fuzz()?;
    // Not below the target directory: a corpus is the work of hours, and `cargo clean` removes what can be built again.
    let corpora = paths::cache()?.join("fuzz/corpus");
    for target in targets.iter().filter(selected) {
        say(&format!(" . fuzzing {target} for {} s", arguments.seconds));
        let corpus = corpora.join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("create {}", corpus.display()))?;
        let mut fuzz = Command::new(&cargo_fuzz);
        fuzz.args(["run", "--fuzz-dir", "fuzz", "--target-dir"]).arg(artifacts::target(&root).join("fuzz")).arg(target);
        // New inputs are kept in the first directory; the seeds are only read.
        fuzz.arg(corpus).arg(root.join("fuzz/seeds").join(target));
        fuzz.args(["--", &format!("-max_total_time={}", arguments.seconds), "-print_final_stats=1", "-verbosity=1"]);
        // The sanitizer's flag needs a nightly compiler, or this permission.
        shell::stream(fuzz.env("RUSTC_BOOTSTRAP", "1").current_dir(&root))?;
    }
    Ok(())
}

/// Compiles all targets, without libFuzzer itself, with the dependencies of this repository's lock file.
pub(crate) fn check(root: &Path, step: &Step) -> Result<()> {
    let drift = drift(&locked(&root.join("fuzz/Cargo.lock"))?, &locked(&root.join("Cargo.lock"))?);
    ensure!(drift.is_empty(), "fuzz/Cargo.lock is older than Cargo.lock in {}: run cargo xtask fuzz --lock", drift.join(", "));
    let mut check = Command::new(artifacts::cargo());
    check.args(["check", "--quiet", "--locked", "--bins", "--manifest-path", "fuzz/Cargo.toml"]);
    // In the target directory of the repository, most dependencies are compiled already.
    check.arg("--target-dir").arg(artifacts::target(root));
    // Nothing is linked, so any existing file passes for libFuzzer, whose C++ is not compiled.
    check.env("CUSTOM_LIBFUZZER_PATH", root.join("fuzz/Cargo.toml")).current_dir(root);
    shell::run_logged(&mut check, &artifacts::log(root, "fuzz-check"), step, None)
        .context("compile fuzz/; if its lock file is stale, run cargo xtask fuzz --lock")
}

/// Gives fuzz/ the versions of the repository; only what fuzz/ alone needs is resolved anew.
fn renew_lock(root: &Path) -> Result<()> {
    fs::copy(root.join("Cargo.lock"), root.join("fuzz/Cargo.lock")).context("copy Cargo.lock to fuzz/")?;
    let mut resolve = Command::new(artifacts::cargo());
    resolve.args(["metadata", "--format-version", "1", "--manifest-path", "fuzz/Cargo.toml"]).current_dir(root);
    shell::capture(&mut resolve).map(drop)
}

/// The versions of each package in a lock file.
type Locked = BTreeMap<String, BTreeSet<String>>;

fn locked(file: &Path) -> Result<Locked> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    parse_lock(&text).with_context(|| format!("parse {}", file.display()))
}

fn parse_lock(text: &str) -> Result<Locked> {
    let table: toml::Table = text.parse()?;
    let packages = table.get("package").and_then(toml::Value::as_array).context("no packages")?;
    let mut locked = Locked::new();
    for package in packages {
        let field = |name: &str| package.get(name).and_then(toml::Value::as_str).map(str::to_owned);
        let (name, version) = field("name").zip(field("version")).context("a package without name or version")?;
        locked.entry(name).or_default().insert(version);
    }
    Ok(locked)
}

/// The packages of both lock files that have a version in `fuzz` and not in `repository`.
fn drift(fuzz: &Locked, repository: &Locked) -> Vec<String> {
    let drifted = |(name, versions): (&String, &BTreeSet<String>)| {
        repository.get(name).is_some_and(|known| !versions.is_subset(known)).then(|| name.clone())
    };
    fuzz.iter().filter_map(drifted).collect()
}

/// The names of all targets.
fn targets(root: &Path) -> Result<Vec<String>> {
    let directory = root.join("fuzz/fuzz_targets");
    let read = || -> std::io::Result<Vec<String>> {
        let names =
            fs::read_dir(&directory)?.map(|entry| Ok(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned())));
        Ok(names.collect::<std::io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    };
    let mut targets = read().with_context(|| format!("list {}", directory.display()))?;
    targets.sort();
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::{drift, parse_lock, targets};
    use crate::paths;
    use std::fs;

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let root = paths::repository().unwrap();
        let manifest: toml::Table = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap().parse().unwrap();
        let programs: Vec<_> =
            manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap().to_owned()).collect();
        let targets = targets(&root).unwrap();
        assert_eq!(targets, programs);
        let has_seeds =
            |target: &String| fs::read_dir(root.join("fuzz/seeds").join(target)).is_ok_and(|mut seeds| seeds.next().is_some());
        let without: Vec<_> = targets.iter().filter(|target| !has_seeds(target)).collect();
        assert!(without.is_empty(), "no seeds: {without:?}");
    }

    #[test]
    fn only_packages_of_both_lock_files_can_drift() {
        let lock = |packages: &[(&str, &str)]| {
            let package = |(name, version): &(&str, &str)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
            parse_lock(&format!("version = 4\n{}", packages.iter().map(package).collect::<String>())).unwrap()
        };
        let repository = lock(&[("a", "1.0.0"), ("a", "2.0.0"), ("b", "1.0.0"), ("c", "1.0.0")]);
        let fuzz = lock(&[("a", "2.0.0"), ("b", "1.0.1"), ("libfuzzer-sys", "0.4.13")]);
        assert_eq!(drift(&fuzz, &repository), ["b"]);
        assert!(parse_lock("version = 4\n").is_err());
    }
}
