//! A process that outlives its starter by a moment, to end what the starter began.
//!
//! The starter holds the writing end of a pipe and names on it each process group it starts. When the pipe closes, because the
//! starter is done, was interrupted, or was killed, the guard ends those groups, the last first, and removes the run's
//! directory. So there is one way to end a run, and SIGKILL of the starter takes it too.

mod group;
pub(crate) mod stray;

use anyhow::{Context, Result, bail};
use group::Group;
use rustix::process::Pid;
use std::fs::{self, File, TryLockError};
use std::io::{BufRead, Write, stdin};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long the starter waits between two looks at a guard at work.
const LOOK: Duration = Duration::from_millis(10);
/// The file in a run's directory that its guard holds locked.
const LOCK: &str = "guard.lock";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The directory to remove at the end
    directory: PathBuf,
}

/// The starter's end. Dropping it ends the run, and returns when nothing of it is left.
pub(crate) struct Guard {
    directory: PathBuf,
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts the guard of `directory`. It is in a process group of its own, where the terminal's Ctrl-C does not reach it.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        // The file this program was started from, even if a build has replaced it meanwhile.
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

    /// Marks a program that is to be started as part of the run: the guard ends even what leaves its process group.
    pub(crate) fn mark(&self, command: &mut Command) {
        command.env(stray::MARK, &self.directory);
    }

    /// Entrusts a process group, named by its leader, to the guard.
    pub(crate) fn entrust(&mut self, leader: u32) -> Result<()> {
        let pipe = self.pipe.as_mut().context("the guard is already ending the run")?;
        writeln!(pipe, "{leader}").context("tell the guard of a process group")
    }

    /// Ends the run. `reap` is called again and again meanwhile: the starter's own children must not stay zombies.
    pub(crate) fn finish(&mut self, mut reap: impl FnMut()) {
        drop(self.pipe.take());
        while matches!(self.process.try_wait(), Ok(None)) {
            reap();
            thread::sleep(LOOK);
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
    let mut groups = Vec::new();
    for line in stdin().lock().lines() {
        // A pipe that fails is a starter that is gone.
        let Ok(line) = line else { break };
        let leader = line.trim().parse().ok().and_then(Pid::from_raw).context("a process group must be a positive number")?;
        groups.push(Group::of(leader));
    }
    groups.iter().rev().for_each(Group::end);
    stray::end(&arguments.directory);
    remove(&arguments.directory)
}

/// Whether a guard watches over the directory.
pub(crate) fn is_guarded(directory: &Path) -> bool {
    File::open(directory.join(LOCK)).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Removes a run's directory, unless something is still mounted in it: what is mounted may be the machine's own files.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the mount table")?;
    if let Some(mount) = mount_below(&mounts, directory) {
        bail!("{} stays: {mount} is still mounted", directory.display());
    }
    fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))
}

/// The first mount point of a mount table at or below the directory.
fn mount_below<'a>(mounts: &'a str, directory: &Path) -> Option<&'a str> {
    mounts.lines().filter_map(|line| line.split(' ').nth(4)).find(|point| Path::new(point).starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::mount_below;
    use std::path::Path;

    #[test]
    fn mounts_are_found_below_a_directory_only() {
        let table = "22 1 0:21 / / rw - ext4 root rw\n23 22 0:22 / /run/7/state/root rw - overlay overlay rw\n";
        assert_eq!(mount_below(table, Path::new("/run/7")), Some("/run/7/state/root"));
        assert_eq!(mount_below(table, Path::new("/run/77")), None);
        assert_eq!(mount_below(table, Path::new("/run/7/other")), None);
    }
}
