//! A process that cleans up after its starter, however the starter ends.
//!
//! The starter holds the writing end of a pipe and writes cleanup steps on it: each process group that it starts, and programs to run
//! after them. The pipe closes when the starter finishes, is interrupted, or is killed. Then the guard ends the groups, the last first,
//! runs the programs, and removes the run's directory. So a run ends in one way only, also after SIGKILL of the starter.

mod cleanup;
mod group;
mod mounts;
pub(crate) mod stray;

use anyhow::{Context, Result, bail};
use cleanup::CleanupStep;
use std::fs::{self, File, TryLockError};
use std::io::{BufRead, Write, stdin};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How often the starter polls a guard that cleans up.
const POLL: Duration = Duration::from_millis(10);
/// The file in a run's directory that its guard holds locked.
const LOCK: &str = "guard.lock";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The directory to remove at the end
    directory: PathBuf,
}

/// The starter's handle. Dropping it ends the run, and returns when the guard has cleaned up.
pub(crate) struct Guard {
    directory: PathBuf,
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts the guard of `directory`, in its own process group, so that Ctrl-C does not reach it.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        // This program's own file, even if a build has replaced it since.
        let mut process = Command::new("/proc/self/exe")
            .arg("guard")
            .arg(directory)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start the guard process")?;
        let pipe = process.stdin.take();
        Ok(Self { directory: directory.to_owned(), process, pipe })
    }

    /// Marks a program as part of the run, so that the guard ends it even if it leaves its process group.
    pub(crate) fn mark(&self, command: &mut Command) {
        command.env(stray::MARK, &self.directory);
    }

    /// Has the guard end a process group, named by its leader.
    pub(crate) fn entrust(&mut self, leader: u32) -> Result<()> {
        self.add(&CleanupStep::EndGroup(leader))
    }

    /// Has the guard run a program, with one argument, after every process of the run has ended.
    pub(crate) fn run_at_end(&mut self, program: &Path, argument: &str) -> Result<()> {
        self.add(&CleanupStep::Run(program.to_owned(), argument.to_owned()))
    }

    fn add(&mut self, step: &CleanupStep) -> Result<()> {
        let pipe = self.pipe.as_mut().context("the guard is already ending the run")?;
        writeln!(pipe, "{}", step.encode()?).context("write to the guard")
    }

    /// Ends the run. Calls `reap` repeatedly meanwhile, because the starter's own children must not stay zombies.
    pub(crate) fn finish(&mut self, mut reap: impl FnMut()) {
        drop(self.pipe.take());
        while matches!(self.process.try_wait(), Ok(None)) {
            reap();
            thread::sleep(POLL);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.finish(|| {});
    }
}

/// The guard process itself.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let lock = File::create(arguments.directory.join(LOCK)).context("create the guard's lock")?;
    lock.lock().context("lock the run's directory")?;
    let mut steps = Vec::new();
    for line in stdin().lock().lines() {
        // An error means that the starter has ended.
        let Ok(line) = line else { break };
        steps.push(CleanupStep::decode(&line)?);
    }
    steps.iter().rev().for_each(CleanupStep::end_group);
    stray::end(&arguments.directory);
    steps.iter().for_each(CleanupStep::run);
    remove(&arguments.directory)
}

/// Whether the directory has a guard.
pub(crate) fn is_guarded(directory: &Path) -> bool {
    File::open(directory.join(LOCK)).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Removes a run's directory, unless something is mounted in it: that could be the machine's own files.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    // The mount table has no symbolic links in its paths.
    let directory = directory.canonicalize().with_context(|| format!("find {}", directory.display()))?;
    let table = fs::read("/proc/self/mountinfo").context("read the mount table")?;
    if let Some(mount) = mounts::first_below(&table, &directory) {
        bail!("{} stays: {} is still mounted", directory.display(), mount.display());
    }
    fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::remove;
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Needs root, as the sandboxes of `cargo xtask dev` do with limits; an ordinary user may not mount.
    #[test]
    fn a_directory_that_holds_a_mount_stays_also_when_reached_by_a_link() {
        let base = tempfile::tempdir().unwrap();
        let point = base.path().join("run/with a blank");
        fs::create_dir_all(&point).unwrap();
        symlink("run", base.path().join("link")).unwrap();
        if mount("none", &point, "tmpfs", MountFlags::empty(), None).is_err() {
            return eprintln!("skipped: mounting needs root");
        }
        fs::write(point.join("file"), "").unwrap();
        let outcome = remove(&base.path().join("link"));
        let kept = point.join("file").exists();
        unmount(&point, UnmountFlags::empty()).unwrap();
        assert!(outcome.unwrap_err().to_string().contains("with a blank is still mounted"));
        assert!(kept);
        remove(&base.path().join("run")).unwrap();
        assert!(!point.exists());
    }
}
