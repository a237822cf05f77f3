//! What the kernel says of the sandbox's own control group, cgroups(7).

use std::{fs, path::Path};

/// What a file of it says. Where one hierarchy has all controllers (version 2), the controller is "".
pub(crate) fn read(controller: &str, file: &str) -> Option<String> {
    let mount = Path::new("/sys/fs/cgroup").join(controller);
    let table = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // In most containers the mount begins at the container's own group, whatever path the table tells.
    let own = path(&table, controller).map(|path| mount.join(path).join(file));
    own.and_then(|path| fs::read_to_string(path).ok()).or_else(|| fs::read_to_string(mount.join(file)).ok())
}

/// The path in a hierarchy, without the slash it begins with.
pub(crate) fn path<'a>(table: &'a str, controller: &str) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|one| one == controller).then(|| path.trim_start_matches('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_in_either_version() {
        let table = "9:name=systemd:/\n4:memory:/docker/a:b\n2:cpu,cpuacct:/x\n0::/user.slice\n";
        for (controller, expected) in
            [("memory", Some("docker/a:b")), ("cpuacct", Some("x")), ("", Some("user.slice")), ("pids", None)]
        {
            assert_eq!(path(table, controller), expected, "{controller}");
        }
    }
}
