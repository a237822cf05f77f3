//! `system.stats` and `system.info`: how much of the sandbox is used, and what it is. Read anew for each request, on a thread that
//! may block: nothing of it is worth keeping.

mod info;
mod memory;
mod processors;

use std::{fs, io, path::Path};

use cabana_protocol::{
    Error,
    system::{Cpu, Info, Space, Stats, System, Usage},
};

use crate::{Agent, dispatch::Handle};

impl Handle<Stats> for Agent {
    async fn handle(&self, _: Stats) -> Result<Usage, Error> {
        look(self, usage).await
    }
}

impl Handle<Info> for Agent {
    async fn handle(&self, _: Info) -> Result<System, Error> {
        look(self, |agent| Ok(info::read(&agent.processes))).await
    }
}

async fn look<T: Send + 'static>(agent: &Agent, look: impl FnOnce(&Agent) -> io::Result<T> + Send + 'static) -> Result<T, Error> {
    let agent = agent.clone();
    let looked = tokio::task::spawn_blocking(move || look(&agent)).await;
    let looked = looked.unwrap_or_else(|error| Err(io::Error::other(error)));
    looked.map_err(|error| Error::internal(format!("cannot look at the system: {error}")))
}

fn usage(agent: &Agent) -> io::Result<Usage> {
    let (processes, used) = processors::spent()?;
    Ok(Usage {
        cpu: Cpu { used_ms: u64::try_from(used.as_millis()).unwrap_or(u64::MAX), count: processors::count()? },
        memory: memory::read()?,
        disk: disk(agent.roots.first())?,
        processes,
        uptime_ms: u64::try_from(agent.started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

fn disk(path: &Path) -> io::Result<Space> {
    let disk = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(Space { used_bytes: bytes(disk.f_blocks.saturating_sub(disk.f_bfree)), total_bytes: bytes(disk.f_blocks) })
}

/// What a file of the sandbox's own cgroup says. Where one hierarchy has all controllers (version 2), the controller is "".
fn cgroup(controller: &str, file: &str) -> Option<String> {
    let mount = Path::new("/sys/fs/cgroup").join(controller);
    let table = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // In most containers the mount begins at the container's own group, whatever path the table tells.
    let own = cgroup_path(&table, controller).map(|path| mount.join(path).join(file));
    own.and_then(|path| fs::read_to_string(path).ok()).or_else(|| fs::read_to_string(mount.join(file)).ok())
}

/// The path in a hierarchy that cgroups(7) tells, without the slash it begins with.
fn cgroup_path<'a>(table: &'a str, controller: &str) -> Option<&'a str> {
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
    fn the_own_cgroup_is_found_in_either_version() {
        let table = "9:name=systemd:/\n4:memory:/docker/a:b\n2:cpu,cpuacct:/x\n0::/user.slice\n";
        for (controller, path) in
            [("memory", Some("docker/a:b")), ("cpuacct", Some("x")), ("", Some("user.slice")), ("pids", None)]
        {
            assert_eq!(cgroup_path(table, controller), path, "{controller}");
        }
    }
}
