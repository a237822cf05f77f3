//! The root file system of a sandbox.
//!
//! It is an overlay of the host's root whose writable layer is a tmpfs: everything can be changed, and no change reaches
//! the host. Some kernels refuse that in a user namespace. Then the root is assembled from read-only views of the host's
//! directories, and only the private directories (/workspace, /tmp, /run, homes) can be written.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use super::AGENT_PATH;
use super::mounts::{bind_read_only, directory, empty_file, hide, tmpfs};
use super::plan::{CgroupMembership, Plan};
use crate::container::upload::UploadedFile;

mod assembled;
mod overlay;

pub(crate) use overlay::UNCOMMITTED;

/// Devices that every sandbox has.
const DEVICES: &[&str] = &["full", "null", "random", "tty", "urandom", "zero"];

/// Files of /proc through which root could change or read the host's kernel.
const PROC_READ_ONLY: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];
const PROC_HIDDEN: &[&str] = &["kcore", "keys", "latency_stats", "sched_debug", "timer_list"];

/// Builds the root file system and makes it the root of this mount namespace. Returns its upper directory where it is an overlay.
pub(super) fn enter(plan: &Plan) -> Result<Option<OwnedFd>> {
    let options = format!("mode=755,size={}", plan.disk_bytes);
    tmpfs(&plan.scratch, MountFlags::NODEV, &options)?;
    let (root, upper) = match overlay::build(plan) {
        Ok((root, upper)) => (root, Some(upper)),
        // Without its layers it would look like a sandbox that has lost its files.
        Err(error) if !plan.layers.is_empty() => return Err(error),
        Err(error) => {
            eprintln!("no overlay here, most of the file system is read-only: {error:#}");
            (assembled::build(plan)?, None)
        }
    };
    name_resolution(&root, plan)?;
    for shown in &plan.host.toolchains {
        let target = inside(&root, &shown.target);
        directory(&target, 0o755)?;
        bind_read_only(&shown.source, &target)?;
    }
    for path in &plan.host.hidden {
        let path = inside(&root, path);
        // Another rule may hide it already.
        if path.exists() {
            hide(&path)?;
        }
    }
    devices(&root)?;
    kernel_views(&root, &plan.cgroups)?;
    agent(&root, &plan.agent)?;
    pivot(&root)?;
    place(&plan.uploads)?;
    Ok(upper)
}

/// Places files. Links among their directories lead nowhere but inside, because the sandbox's root is already this process's own.
fn place(files: &[UploadedFile]) -> Result<()> {
    for UploadedFile { path, mode, content } in files {
        let about = || format!("placing {}", path.display());
        fs::create_dir_all(path.parent().with_context(about)?).with_context(about)?;
        // Removed first: a link would be written through, and an earlier file would keep its mode.
        let _ = fs::remove_file(path);
        fs::write(path, content).with_context(about)?;
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).with_context(about)?;
    }
    Ok(())
}

/// The host's absolute `path` below the new root.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn agent(root: &Path, agent: &Path) -> Result<()> {
    directory(&root.join("run/lock"), 0o1777)?;
    let target = inside(root, Path::new(AGENT_PATH));
    directory(target.parent().expect("the agent's path has a parent"), 0o755)?;
    empty_file(&target)?;
    bind_read_only(agent, &target)
}

fn devices(root: &Path) -> Result<()> {
    let dev = root.join("dev");
    tmpfs(&dev, MountFlags::NOSUID, "mode=755,size=64k")?;
    for device in DEVICES {
        let target = dev.join(device);
        empty_file(&target)?;
        mount_bind(Path::new("/dev").join(device), &target).with_context(|| format!("the device {device}"))?;
    }
    directory(&dev.join("shm"), 0o1777)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    tmpfs(&dev.join("shm"), flags, "mode=1777")?;
    terminals(&dev)?;
    for (link, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(link)).with_context(|| format!("/dev/{link}"))?;
    }
    Ok(())
}

fn terminals(dev: &Path) -> Result<()> {
    let pts = dev.join("pts");
    directory(&pts, 0o755)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let devpts = |options| mount("devpts", &pts, "devpts", flags, Some(options));
    // In a user namespace the group 5 (tty) may have no mapping.
    devpts(c"newinstance,ptmxmode=0666,mode=0620,gid=5")
        .or_else(|_| devpts(c"newinstance,ptmxmode=0666,mode=0620"))
        .context("terminals")
}

fn kernel_views(root: &Path, cgroups: &[CgroupMembership]) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let proc = root.join("proc");
    mount("proc", &proc, "proc", flags, None).context("mounting /proc")?;
    for name in PROC_READ_ONLY {
        let path = proc.join(name);
        if path.exists() {
            bind_read_only(&path, &path)?;
        }
    }
    for name in PROC_HIDDEN {
        let path = proc.join(name);
        if path.exists() {
            hide(&path)?;
        }
    }
    let sys = root.join("sys");
    let sysfs = mount("sysfs", &sys, "sysfs", flags | MountFlags::RDONLY, None);
    if sysfs.is_err() {
        // A user namespace may not mount it where the host hides parts of its own; few programs need it.
        return tmpfs(&sys, flags | MountFlags::RDONLY, "mode=755,size=4k");
    }
    own_cgroups(&sys.join("fs/cgroup"), cgroups)
}

/// Shows the sandbox its own limits and usage only.
fn own_cgroups(target: &Path, cgroups: &[CgroupMembership]) -> Result<()> {
    if cgroups.is_empty() || !target.is_dir() {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    tmpfs(target, flags, "mode=755,size=64k")?;
    for cgroup in cgroups {
        match &cgroup.hierarchy {
            None => bind_read_only(&cgroup.directory, target)?,
            Some(hierarchy) => {
                directory(&target.join(hierarchy), 0o755)?;
                bind_read_only(&cgroup.directory, &target.join(hierarchy))?;
            }
        }
    }
    Ok(())
}

/// Makes `root` the root directory and unmounts the host's.
fn pivot(root: &Path) -> Result<()> {
    std::env::set_current_dir(root)?;
    rustix::process::pivot_root(".", ".").context("changing the root")?;
    unmount(".", UnmountFlags::DETACH).context("leaving the host's root")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// The nameserver of a sandbox, as on Cloudflare. The network sidecar answers its queries.
const NAMESERVER: &str = "nameserver 1.1.1.1";

/// Lets the sandbox resolve names: its own without a network, those that the host has addresses for, and all others by the sidecar.
fn name_resolution(root: &Path, plan: &Plan) -> Result<()> {
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    for (name, content) in [
        ("hosts", hosts_of_sandbox(&hosts, &plan.hostname)),
        ("hostname", format!("{}\n", plan.hostname)),
        ("resolv.conf", resolver_of_sandbox(&resolver)),
    ] {
        replace(root, &plan.scratch, name, &content).with_context(|| format!("writing /etc/{name}"))?;
    }
    Ok(())
}

/// Replaces a file of /etc. Where /etc is read-only, the file is covered, or the target of a link to a private directory is written.
fn replace(root: &Path, scratch: &Path, name: &str, content: &str) -> Result<()> {
    let path = root.join("etc").join(name);
    // Removed first: a link would be written through.
    let removed = fs::remove_file(&path);
    if !matches!(&removed, Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem) {
        return Ok(fs::write(&path, content)?);
    }
    if let Ok(link) = fs::read_link(&path) {
        let target = inside(root, &Path::new("/etc").join(link));
        directory(target.parent().context("a link to the root directory")?, 0o755)?;
        return Ok(fs::write(&target, content)?);
    }
    let source = scratch.join(name);
    fs::write(&source, content)?;
    bind_read_only(&source, &path)
}

/// The sandbox's own names, then the host's entries without those of loopback addresses, which mean the host.
fn hosts_of_sandbox(host: &str, hostname: &str) -> String {
    let is_elsewhere = |line: &&str| {
        let address = line.split_whitespace().next().and_then(|address| address.parse::<IpAddr>().ok());
        address.is_some_and(|address| !address.is_loopback() && !address.is_unspecified())
    };
    let own = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    host.lines().filter(is_elsewhere).fold(own, |hosts, line| hosts + line + "\n")
}

/// The sandbox's nameserver, with the host's search list and options.
fn resolver_of_sandbox(host: &str) -> String {
    let is_kept = |line: &&str| matches!(line.split_whitespace().next(), Some("search" | "domain" | "options"));
    host.lines().filter(is_kept).fold(format!("{NAMESERVER}\n"), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_host_that_mean_the_host_itself_are_left_out() {
        let host = "127.0.0.1 localhost db\n# a comment\n::1 six\n0.0.0.0 blocked\n\n192.0.2.7\tregistry.example # mirror\n";
        let own = "127.0.0.1\tlocalhost box\n::1\tlocalhost ip6-localhost ip6-loopback\n";
        assert_eq!(hosts_of_sandbox(host, "box"), format!("{own}192.0.2.7\tregistry.example # mirror\n"));
    }

    #[test]
    fn the_search_list_of_the_host_is_kept_and_its_servers_are_not() {
        let host = "nameserver 192.0.2.1\nsearch a.example b.example\n options ndots:2\n";
        assert_eq!(resolver_of_sandbox(host), "nameserver 1.1.1.1\nsearch a.example b.example\n options ndots:2\n");
    }
}
