//! The local D1 databases, made by wrangler from worker/migrations.
//!
//! wrangler needs seconds for it, so what it has made once is kept, and copied into each run until a migration changes.

use super::{stack, test_kinds};
use crate::artifacts;
use crate::progress::{Outcome, Step};
use crate::setup::Tools;
use crate::shell;
use anyhow::{Context, Result};
use std::fs::{self, DirEntry};
use std::path::Path;
use std::time::Duration;

/// The databases' bindings: the one of wrangler.jsonc, and the one that a run for tests has beside it.
const BINDINGS: [&str; 2] = ["DIRECTORY", test_kinds::SECOND_DATABASE];
/// Longest time that wrangler may take.
const LIMIT: Duration = Duration::from_secs(120);
/// The file that says what a kept database was made from.
const SOURCE: &str = "source";

/// Lays the migrated databases out in `state`, where `wrangler dev --persist-to` finds them. Those that an earlier run has left there stay, and
/// get the migrations that they lack.
pub(crate) fn provide(tools: &Tools, root: &Path, state: &Path, scratch: &Path, testing: bool) -> Result<()> {
    Step::run("database", |step| {
        let source = source(root)?;
        let stamp = state.with_extension(SOURCE);
        if state.exists() {
            if fs::read_to_string(&stamp).is_ok_and(|text| text == source) {
                return Ok((Outcome::Present("migrated".to_owned()), ()));
            }
            migrate(tools, root, state, scratch, testing, step)?;
            fs::write(stamp, source).context("say what the database was made from")?;
            return Ok((Outcome::Done("migrated".to_owned()), ()));
        }
        let partial = state.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| format!("remove {}", partial.display()))?;
        }
        let outcome = make(tools, root, &partial, scratch, &source, testing, step)?;
        // Whole or not at all: a run that is killed leaves no database without its tables.
        fs::rename(&partial, state).with_context(|| format!("move the database to {}", state.display()))?;
        fs::write(stamp, source).context("say what the database was made from")?;
        Ok((outcome, ()))
    })
}

/// Makes new databases, or copies those that an earlier run has made.
fn make(tools: &Tools, root: &Path, state: &Path, scratch: &Path, source: &str, testing: bool, step: &Step) -> Result<Outcome> {
    let kept = artifacts::target(root).join(if testing { "xtask/databases-of-tests" } else { "xtask/database" });
    // As another run may be making one, its own is put together elsewhere, and moved into place when it is whole.
    let present = fs::read_to_string(kept.join(SOURCE)).is_ok_and(|text| text == source);
    if present && copy(&kept.join("state"), state).is_ok() {
        return Ok(Outcome::Present("migrated".to_owned()));
    }
    if state.exists() {
        fs::remove_dir_all(state).with_context(|| format!("remove {}", state.display()))?;
    }
    migrate(tools, root, state, scratch, testing, step)?;
    keep(source, state, &kept)?;
    Ok(Outcome::Done("migrated".to_owned()))
}

fn migrate(tools: &Tools, root: &Path, state: &Path, scratch: &Path, testing: bool, step: &Step) -> Result<()> {
    let configuration = if testing { test_kinds::configure(root, scratch)? } else { root.join("wrangler.jsonc") };
    for binding in if testing { &BINDINGS[..] } else { &BINDINGS[..1] } {
        let mut apply = stack::wrangler_with(&configuration, tools, root, scratch);
        apply.args(["d1", "migrations", "apply", binding, "--local", "--persist-to"]).arg(state);
        shell::run_logged(&mut apply, &scratch.join(format!("database-{binding}.log")), step, Some(LIMIT))?;
    }
    Ok(())
}

/// All that decides what the database looks like: wrangler, its configuration, the migrations.
fn source(root: &Path) -> Result<String> {
    let mut files = vec![root.join("package-lock.json"), root.join("wrangler.jsonc")];
    let migrations = root.join("worker/migrations");
    let entries = fs::read_dir(&migrations).with_context(|| format!("read {}", migrations.display()))?;
    files.extend(entries.flatten().map(|entry| entry.path()));
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        Ok(format!("{}\n{text}\n", file.display()))
    };
    files.iter().map(read).collect()
}

fn keep(source: &str, state: &Path, kept: &Path) -> Result<()> {
    let partial = kept.with_extension(std::process::id().to_string());
    copy(state, &partial.join("state"))?;
    fs::write(partial.join(SOURCE), source).context("say what the database was made from")?;
    // Another run may have been quicker; its database is as good.
    let _ = fs::remove_dir_all(kept);
    if fs::rename(&partial, kept).is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    Ok(())
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let copy_entry = |entry: DirEntry| {
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            return copy(&entry.path(), &place);
        }
        fs::copy(entry.path(), place).map(drop).with_context(|| format!("copy {}", entry.path().display()))
    };
    fs::read_dir(from).with_context(|| format!("read {}", from.display()))?.try_for_each(|entry| copy_entry(entry?))
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, copy, keep, source};
    use std::fs;

    #[test]
    fn what_was_made_once_is_kept_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (state, kept) = (directory.path().join("state"), directory.path().join("kept"));
        fs::create_dir_all(state.join("v3/d1")).unwrap();
        for content in ["one", "two"] {
            fs::write(state.join("v3/d1/a.sqlite"), content).unwrap();
            keep(content, &state, &kept).unwrap();
            let again = directory.path().join(content);
            copy(&kept.join("state"), &again).unwrap();
            assert_eq!(fs::read_to_string(again.join("v3/d1/a.sqlite")).unwrap(), content);
            assert_eq!(fs::read_to_string(kept.join(SOURCE)).unwrap(), content);
        }
    }

    #[test]
    fn a_new_migration_asks_for_a_new_database() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("worker/migrations")).unwrap();
        for file in ["package-lock.json", "wrangler.jsonc", "worker/migrations/0001_a.sql"] {
            fs::write(root.path().join(file), file).unwrap();
        }
        let before = source(root.path()).unwrap();
        assert_eq!(source(root.path()).unwrap(), before);
        fs::write(root.path().join("worker/migrations/0002_b.sql"), "").unwrap();
        assert_ne!(source(root.path()).unwrap(), before);
    }
}
