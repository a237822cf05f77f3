//! What lasts over runs: the objects' storage, the databases, the engine's snapshots and the key, in the cache, one directory for each checkout.
//!
//! One run at a time uses it. A second one has a state of its own, which goes with it.

use super::directory::write_private;
use crate::progress::{Outcome, Step};
use crate::setup::Tools;
use crate::{guard, paths};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Prints the references of all snapshots that the storage of the objects names.
const REFERENCES: &str = include_str!("kept/references.mjs");
/// How long the end of an earlier run is waited for. Its guard needs at most 13 s for a group of processes.
const EARLIER_RUN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// The kept state, locked for this run.
pub(crate) struct KeptState {
    directory: PathBuf,
    _lock: File,
}

/// What `cabana-engine prune` says.
#[derive(Deserialize)]
struct Pruned {
    snapshots: usize,
    kept_bytes: u64,
    removed_bytes: u64,
}

impl KeptState {
    /// Takes the state of this checkout for a run; `None` where another run has it. `fresh`: forgets what is there.
    pub(crate) fn open(root: &Path, run: &Path, fresh: bool) -> Result<Option<Self>> {
        Self::open_in(&paths::cache()?.join("state").join(name_of(root)), run, fresh)
    }

    fn open_in(directory: &Path, run: &Path, fresh: bool) -> Result<Option<Self>> {
        let about = || format!("the kept state {}", directory.display());
        DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(about)?;
        let lock = File::options().write(true).create(true).truncate(false).open(directory.join("lock")).with_context(about)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).with_context(about),
        }
        let state = Self { directory: directory.to_owned(), _lock: lock };
        state.await_earlier_run()?;
        if fresh {
            state.forget()?;
        }
        fs::write(state.earlier_run(), run.as_os_str().as_encoded_bytes()).with_context(about)?;
        Ok(Some(state))
    }

    /// Where wrangler keeps the objects' storage and the databases.
    pub(crate) fn wrangler(&self) -> PathBuf {
        self.directory.join("wrangler")
    }

    /// The engine's state directory.
    pub(crate) fn engine(&self) -> PathBuf {
        self.directory.join("engine")
    }

    /// The directory, for the user to see.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The key of earlier runs, or this one, which is kept for later runs.
    pub(crate) fn key(&self, generate: impl FnOnce() -> Result<String>) -> Result<String> {
        let file = self.directory.join("api_key");
        if let Ok(key) = fs::read_to_string(&file)
            && !key.is_empty()
        {
            return Ok(key);
        }
        let key = generate()?;
        write_private(&file, &key)?;
        Ok(key)
    }

    /// Has the engine remove the snapshots that no object needs any more, and says how much the others take. Nothing else uses the state yet.
    pub(crate) fn prune(&self, tools: &Tools, engine: &Path, scratch: &Path) -> Result<()> {
        if !self.engine().exists() {
            return Ok(());
        }
        Step::run("kept state", |_| {
            let references = self.references(tools)?;
            let keep = scratch.join("references");
            fs::write(&keep, references).context("write the references of snapshots")?;
            let mut prune = Command::new(engine);
            prune.arg("prune").arg("--state").arg(self.engine()).arg("--keep").arg(keep);
            let pruned: Pruned = serde_json::from_str(&output_of(&mut prune)?).context("what the engine has pruned")?;
            Ok((Outcome::Done(pruned.to_string()), ()))
        })
    }

    fn references(&self, tools: &Tools) -> Result<String> {
        let mut node = tools.node.command("node");
        node.args(["--no-warnings", "--input-type=module", "-e", REFERENCES]).arg(self.wrangler().join("v3/do"));
        output_of(&mut node)
    }

    /// A run that was killed may still be ending its services.
    fn await_earlier_run(&self) -> Result<()> {
        let Ok(earlier) = fs::read_to_string(self.earlier_run()) else { return Ok(()) };
        let started = Instant::now();
        while guard::is_guarded(Path::new(&earlier)) {
            if started.elapsed() > EARLIER_RUN {
                bail!("an earlier run has not ended after {} s: end the processes of {earlier}", EARLIER_RUN.as_secs());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn forget(&self) -> Result<()> {
        for entry in fs::read_dir(&self.directory).context("list the kept state")? {
            let path = entry?.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("lock") => {}
                _ if path.is_dir() => guard::remove(&path)?,
                _ => fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?,
            }
        }
        Ok(())
    }

    fn earlier_run(&self) -> PathBuf {
        self.directory.join("run")
    }
}

impl std::fmt::Display for Pruned {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { snapshots, kept_bytes, removed_bytes } = self;
        write!(formatter, "{snapshots} snapshots take {} MiB", kept_bytes >> 20)?;
        match removed_bytes >> 20 {
            0 => Ok(()),
            removed => write!(formatter, ", {removed} MiB were freed"),
        }
    }
}

/// The standard output of a program that must succeed.
fn output_of(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {}", program.display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("read what {} says", program.display()))
}

/// The name of a checkout's state: its own name for people, and a part that two checkouts never share.
fn name_of(root: &Path) -> String {
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    digest[..6].iter().fold(format!("{name}-"), |name, byte| format!("{name}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::{KeptState, name_of};
    use std::fs;
    use std::path::Path;

    #[test]
    fn one_run_at_a_time_has_the_state_and_the_next_one_finds_it() {
        let cache = tempfile::tempdir().unwrap();
        let directory = cache.path().join("a");
        let open = |fresh| KeptState::open_in(&directory, Path::new("/nowhere"), fresh).unwrap();
        let first = open(false).unwrap();
        fs::create_dir(first.wrangler()).unwrap();
        let key = first.key(|| Ok("one".to_owned())).unwrap();
        assert!(open(true).is_none(), "another run has it");
        assert!(first.wrangler().exists(), "and keeps what is in it");
        drop(first);
        let second = open(false).unwrap();
        assert!(second.wrangler().exists());
        assert_eq!(second.key(|| Ok("two".to_owned())).unwrap(), key);
        drop(second);
        let fresh = open(true).unwrap();
        assert!(!fresh.wrangler().exists());
        assert_eq!(fresh.key(|| Ok("two".to_owned())).unwrap(), "two");
    }

    #[test]
    fn every_checkout_has_a_state_of_its_own() {
        let name = name_of(Path::new("/a/cabana"));
        assert!(name.starts_with("cabana-"), "{name}");
        assert_ne!(name, name_of(Path::new("/b/cabana")));
    }
}
