//! The two generations of cgroups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Limits;
use crate::mount_table::Mount;

/// Controllers that the engine uses.
pub(super) const CONTROLLERS: &[&str] = &["cpu", "memory", "pids"];

/// Length of a CPU accounting period, in microseconds (the kernel's own default).
const CPU_PERIOD: u64 = 100_000;

/// One mounted hierarchy with controllers that the engine uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) mount_point: PathBuf,
    /// Which of the engine's controllers it has.
    controllers: Vec<String>,
    /// Version 2, where one hierarchy has them all.
    unified: bool,
}

/// The hierarchies among these mounts that have controllers the engine uses.
pub(super) fn usable(mounts: Vec<Mount>) -> Vec<Hierarchy> {
    mounts.into_iter().filter_map(hierarchy).filter(|hierarchy| !hierarchy.controllers.is_empty()).collect()
}

fn hierarchy(mount: Mount) -> Option<Hierarchy> {
    let unified = match mount.file_system.as_str() {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let present = if unified {
        let listed = fs::read_to_string(mount.point.join("cgroup.controllers")).unwrap_or_default();
        listed.split_whitespace().map(str::to_owned).collect()
    } else {
        mount.options
    };
    let controllers = present.into_iter().filter(|controller| CONTROLLERS.contains(&controller.as_str())).collect();
    Some(Hierarchy { mount_point: mount.point, controllers, unified })
}

impl Hierarchy {
    /// The parent of all engines' directories.
    pub(super) fn common_parent(&self) -> PathBuf {
        self.mount_point.join("cabana")
    }

    /// Whether it has this controller.
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|own| own == controller)
    }

    /// Its directory's name under /sys/fs/cgroup; `None` for the unified hierarchy.
    pub(super) fn name(&self) -> Option<String> {
        let name = self.mount_point.file_name()?.to_str()?;
        (!self.unified).then(|| name.to_owned())
    }

    /// Makes a directory under which cgroups with limits can be made.
    pub(super) fn make_parent(&self, directory: &Path) -> io::Result<()> {
        // An engine that ends now may remove the common parent between two steps.
        fs::create_dir_all(directory).or_else(|_| fs::create_dir_all(directory))?;
        if !self.unified {
            return Ok(());
        }
        let parent = directory.parent().unwrap_or(&self.mount_point);
        for level in [&self.mount_point, parent, directory] {
            for controller in &self.controllers {
                fs::write(level.join("cgroup.subtree_control"), format!("+{controller}"))?;
            }
        }
        Ok(())
    }

    /// Writes the limits of one cgroup.
    pub(super) fn apply(&self, directory: &Path, limits: &Limits) -> io::Result<()> {
        for controller in &self.controllers {
            match (controller.as_str(), self.unified) {
                ("pids", _) => write(directory, "pids.max", limits.pids)?,
                ("memory", true) => {
                    write(directory, "memory.max", limits.memory_bytes)?;
                    write_if_present(directory, "memory.swap.max", 0)?;
                }
                ("memory", false) => {
                    write(directory, "memory.limit_in_bytes", limits.memory_bytes)?;
                    // Memory and swap together: no swap on top.
                    write_if_present(directory, "memory.memsw.limit_in_bytes", limits.memory_bytes)?;
                }
                _ => self.apply_cpu(directory, limits)?,
            }
        }
        Ok(())
    }

    fn apply_cpu(&self, directory: &Path, limits: &Limits) -> io::Result<()> {
        let Some(nano_cpus) = limits.nano_cpus else {
            return Ok(());
        };
        // The kernel takes no quota below one millisecond.
        let quota = (nano_cpus * CPU_PERIOD / 1_000_000_000).max(1000);
        if self.unified {
            write(directory, "cpu.max", format!("{quota} {CPU_PERIOD}"))
        } else {
            write_if_present(directory, "cpu.cfs_period_us", CPU_PERIOD)?;
            write_if_present(directory, "cpu.cfs_quota_us", quota)
        }
    }
}

fn write(directory: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    fs::write(directory.join(file), value.to_string())
}

/// For files that depend on how the kernel was built.
fn write_if_present(directory: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    if directory.join(file).exists() { write(directory, file, value) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount_table;

    #[test]
    fn hierarchies_of_version_one_are_found() {
        let table = b"\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
41 31 0:38 / /nowhere rw - cgroup2 cgroup2 rw
";
        let found: Vec<_> =
            usable(mount_table::parse(table)).into_iter().map(|hierarchy| (hierarchy.name(), hierarchy.controllers)).collect();
        assert_eq!(
            found,
            [(Some("cpu,cpuacct".to_owned()), vec!["cpu".to_owned()]), (Some("memory".to_owned()), vec!["memory".to_owned()]),]
        );
    }
}
