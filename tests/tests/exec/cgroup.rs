//! A control group for an agent of a case's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

const MOUNT: &str = "/sys/fs/cgroup";

/// Removed when dropped, with whatever still runs in it.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// One with a limit of processes and threads.
    pub(crate) fn with_pids(limit: u64) -> Self {
        Self::make("pids", &[("pids.max", limit)])
    }

    /// One with a limit of memory, and without swap.
    pub(crate) fn with_memory(bytes: u64) -> Self {
        match is_unified() {
            true => Self::make("memory", &[("memory.max", bytes), ("memory.swap.max", 0)]),
            false => Self::make("memory", &[("memory.limit_in_bytes", bytes), ("memory.memsw.limit_in_bytes", bytes)]),
        }
    }

    fn make(controller: &str, limits: &[(&str, u64)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let hierarchy = if is_unified() { PathBuf::from(MOUNT) } else { Path::new(MOUNT).join(controller) };
        if is_unified() {
            fs::write(hierarchy.join("cgroup.subtree_control"), format!("+{controller}")).expect("root may use cgroups");
        }
        let name = format!("cabana-case-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let group = Self(hierarchy.join(name));
        fs::create_dir(&group.0).expect("this case needs root and the machine's cgroups");
        for (file, limit) in limits {
            let path = group.0.join(file);
            // Not every kernel counts swap.
            if path.exists() {
                fs::write(path, limit.to_string()).unwrap();
            }
        }
        group
    }

    /// A program that moves itself into the group, and becomes its argument.
    pub(crate) fn starter(&self) -> [String; 3] {
        ["sh".to_owned(), "-c".to_owned(), format!("echo $$ > {}/cgroup.procs && exec \"$0\"", self.0.display())]
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes that have been killed stay for some milliseconds, and an agent that has crashed has killed none.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            let left = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
            if !left.is_empty() {
                let _ = Command::new("kill").arg("-KILL").args(left.lines()).stderr(Stdio::null()).status();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether one hierarchy has all controllers, as in version 2.
fn is_unified() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}
