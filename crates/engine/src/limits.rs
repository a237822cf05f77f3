//! Memory, process and CPU limits of a sandbox, through cgroups where the machine has them.
//!
//! Each sandbox has a cgroup `cabana/<engine>/<sandbox>` in every hierarchy used, where `<engine>` names the
//! engine's process by pid and start time. So an engine recognizes the cgroups of a dead one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::mount_table;
use crate::process::ProcessIdentity;
use crate::sandbox::plan::CgroupMembership;

mod hierarchy;

use hierarchy::{CONTROLLERS, Hierarchy};

/// Processes and threads of a sandbox unless the container requests another number.
pub const DEFAULT_PIDS: u64 = 4096;

/// Memory of a sandbox unless the container requests another size; at most three quarters of the machine's.
pub const DEFAULT_MEMORY_BYTES: u64 = 8 << 30;

/// What a sandbox may use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all processes, including the files they write (those live in memory).
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// CPU time per second of real time, in billionths; `None` is no limit.
    pub nano_cpus: Option<u64>,
}

impl Limits {
    /// Limits as requested; defaults where a value is `None` or 0.
    pub fn new(memory_bytes: Option<u64>, pids: Option<u64>, nano_cpus: Option<u64>) -> Self {
        let requested = |value: Option<u64>| value.filter(|value| *value > 0);
        let default = DEFAULT_MEMORY_BYTES.min(machine_memory() / 4 * 3);
        Self {
            memory_bytes: requested(memory_bytes).unwrap_or(default),
            pids: requested(pids).unwrap_or(DEFAULT_PIDS),
            nano_cpus: requested(nano_cpus),
        }
    }

    /// Most bytes of files: half of the memory, so that a full disk is reported before memory is exhausted.
    pub fn disk_bytes(&self) -> u64 {
        self.memory_bytes / 2
    }
}

fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit) * info.totalram
}

/// The hierarchies of this machine, with a directory of this engine's in each.
#[derive(Debug)]
pub struct Cgroups {
    directories: Vec<(Hierarchy, PathBuf)>,
}

impl Cgroups {
    /// Finds the hierarchies, removes the cgroups of dead engines, and makes this engine's directories.
    ///
    /// Without usable cgroups (an ordinary user, mostly) there are no limits: see [`Cgroups::missing`].
    pub fn prepare() -> Self {
        let mut directories = Vec::new();
        let Some(own) = ProcessIdentity::current() else {
            return Self { directories };
        };
        for hierarchy in hierarchy::usable(mount_table::read()) {
            remove_stale(&hierarchy.common_parent());
            let directory = hierarchy.common_parent().join(own.to_string());
            match hierarchy.make_parent(&directory) {
                Ok(()) => directories.push((hierarchy, directory)),
                Err(error) => tracing::warn!(
                    hierarchy = %hierarchy.mount_point.display(), %error, "no limits through this cgroup hierarchy"
                ),
            }
        }
        Self { directories }
    }

    /// Says which limits do not hold here; `None` if all do.
    pub fn missing(&self) -> Option<String> {
        let has = |controller: &&str| self.directories.iter().any(|(hierarchy, _)| hierarchy.has(controller));
        let missing: Vec<&str> = CONTROLLERS.iter().copied().filter(|controller| !has(controller)).collect();
        (!missing.is_empty()).then(|| {
            let names = missing.join(", ");
            format!("no limits of {names} hold for sandboxes: the engine needs root and writable cgroups for them")
        })
    }

    /// Makes the cgroups of one sandbox.
    pub fn create(&self, name: &str, limits: &Limits) -> io::Result<SandboxCgroups> {
        let mut cgroups = SandboxCgroups { memberships: Vec::new() };
        for (hierarchy, parent) in &self.directories {
            let directory = parent.join(name);
            fs::create_dir(&directory)?;
            cgroups.memberships.push(CgroupMembership { directory: directory.clone(), hierarchy: hierarchy.name() });
            hierarchy.apply(&directory, limits)?;
        }
        Ok(cgroups)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for (_, directory) in &self.directories {
            // The next engine, or a sweep, removes what is still busy.
            let _ = fs::remove_dir(directory);
            let _ = directory.parent().map(fs::remove_dir);
        }
    }
}

/// The cgroups of one sandbox. Dropping it removes them; the sandbox must have ended.
#[derive(Debug)]
pub struct SandboxCgroups {
    /// One per hierarchy.
    pub memberships: Vec<CgroupMembership>,
}

impl SandboxCgroups {
    /// What stops all its processes at once; `None` on machines whose only cgroups are those of version 1.
    pub fn freezer(&self) -> Option<Freezer> {
        let unified = self.memberships.iter().find(|membership| membership.hierarchy.is_none())?;
        Some(Freezer { directory: unified.directory.clone() })
    }
}

/// Stops the processes of a sandbox for a while.
#[derive(Clone, Debug)]
pub struct Freezer {
    directory: PathBuf,
}

impl Freezer {
    /// Stops all processes, until the guard is dropped. Waits up to a second; one that the kernel does not stop by then, it stops later.
    pub fn freeze(self) -> io::Result<Frozen> {
        fs::write(self.directory.join("cgroup.freeze"), "1")?;
        let frozen = Frozen(self);
        for _ in 0..100 {
            let events = fs::read_to_string(frozen.0.directory.join("cgroup.events"))?;
            if events.lines().any(|line| line == "frozen 1") {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(frozen)
    }
}

/// Stopped processes. Dropping it lets them go on.
#[derive(Debug)]
pub struct Frozen(Freezer);

impl Drop for Frozen {
    fn drop(&mut self) {
        // The cgroup may have gone with its sandbox.
        let _ = fs::write(self.0.directory.join("cgroup.freeze"), "0");
    }
}

impl Drop for SandboxCgroups {
    fn drop(&mut self) {
        for membership in &self.memberships {
            if let Err(error) = remove_idle(&membership.directory) {
                tracing::warn!(cgroup = %membership.directory.display(), %error, "cgroup not removed");
            }
        }
    }
}

/// Removes the cgroups of engines that no longer run, and the common parent with the last of them.
pub fn remove_all_stale() {
    for hierarchy in hierarchy::usable(mount_table::read()) {
        let parent = hierarchy.common_parent();
        remove_stale(&parent);
        // Fails, as it should, while another engine runs.
        let _ = fs::remove_dir(parent);
    }
}

/// Removes the directories of engines that no longer run. The kernel refuses to remove a cgroup that has
/// processes, so nothing that lives can be hit.
fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let engine = entry.file_name().to_str().and_then(|name| name.parse::<ProcessIdentity>().ok());
        if engine.is_some_and(|engine| !engine.is_alive()) {
            remove_tree(&entry.path());
        }
    }
}

fn remove_tree(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    if let Err(error) = remove_idle(directory)
        // Another engine, starting at the same time, may have been faster.
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(cgroup = %directory.display(), %error, "stale cgroup not removed");
    }
}

/// Removes a cgroup. Killed processes stay in it for some milliseconds, until the kernel has reaped them.
fn remove_idle(directory: &Path) -> io::Result<()> {
    const ATTEMPTS: usize = 100;
    const PAUSE: Duration = Duration::from_millis(10);
    let busy = |error: &io::Error| error.kind() == io::ErrorKind::ResourceBusy;
    for _ in 1..ATTEMPTS {
        match fs::remove_dir(directory) {
            Err(error) if busy(&error) => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_cgroups_are_named() {
        let table = b"32 31 0:29 / /cg rw - cgroup cgroup rw,memory\n33 31 0:30 / /cg2 rw - cgroup cgroup rw,cpu\n";
        let mut hierarchies = hierarchy::usable(mount_table::parse(table)).into_iter();
        let mut cgroups = Cgroups { directories: Vec::new() };
        assert!(cgroups.missing().unwrap().contains("no limits of cpu, memory, pids hold"));
        let mut add = |hierarchy: Hierarchy| cgroups.directories.push((hierarchy, PathBuf::from("/nonexistent")));
        hierarchies.by_ref().for_each(&mut add);
        assert!(cgroups.missing().unwrap().contains("no limits of pids hold"));
    }

    #[test]
    fn defaults_apply_where_nothing_was_requested() {
        let limits = Limits::new(None, Some(0), Some(0));
        assert_eq!((limits.pids, limits.nano_cpus), (DEFAULT_PIDS, None));
        assert!(limits.memory_bytes > 0 && limits.memory_bytes <= DEFAULT_MEMORY_BYTES);
        let limits = Limits::new(Some(1 << 20), Some(7), Some(5));
        assert_eq!(limits.memory_bytes, 1 << 20);
        assert_eq!(limits.disk_bytes(), 1 << 19);
        assert_eq!((limits.pids, limits.nano_cpus), (7, Some(5)));
    }
}
