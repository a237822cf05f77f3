//! What the cases must not do without: a case that finds it missing fails, where it would be skipped on another machine.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::LazyLock;

/// The variable by which the cases know.
pub(super) const VARIABLE: &str = "CABANA_TEST_REQUIRE";

/// Where the memory limit of a new cgroup is, by the version of cgroups.
const CGROUPS: [(&str, &str); 2] = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

/// The user of the engine's cases without root.
const NOBODY: u32 = 65534;

/// What this machine can do.
pub(super) fn of_machine() -> Vec<&'static str> {
    // Once: probes of two threads at a time would be in each other's way.
    static REQUIRED: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let cgroups = has_cgroups().then_some("cgroups");
        cgroups.into_iter().chain(has_user_namespaces().then_some("userns")).collect()
    });
    REQUIRED.clone()
}

/// Whether this user may make cgroups that limit memory.
fn has_cgroups() -> bool {
    CGROUPS.iter().any(|(hierarchy, limit)| {
        let probe = Path::new(hierarchy).join(format!("cabana-probe-{}", process::id()));
        let made = fs::create_dir(&probe).is_ok();
        let limits = made && probe.join(limit).exists();
        made && fs::remove_dir(&probe).is_ok() && limits
    })
}

/// Whether this user may make user namespaces.
fn has_user_namespaces() -> bool {
    let mut unshare = Command::new("unshare");
    // As an ordinary user, whom some kernels refuse what root may.
    if rustix::process::geteuid().is_root() {
        unshare.uid(NOBODY).gid(NOBODY);
    }
    unshare.args(["--user", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    unshare.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::{CGROUPS, of_machine};
    use std::path::Path;
    use std::process;

    #[test]
    fn looking_for_cgroups_leaves_none_behind() {
        of_machine();
        for (hierarchy, _) in CGROUPS {
            assert!(!Path::new(hierarchy).join(format!("cabana-probe-{}", process::id())).exists());
        }
    }
}
