//! The root file system of a sandbox.
//!
//! It is an overlay of the host's root whose writable layer is a tmpfs: everything can be changed, and no change reaches
//! the host. Some kernels refuse that in a user namespace. Then the root is assembled from read-only views of the host's
//! directories, and only the private directories (/workspace, /tmp, /run, homes) can be written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use super::AGENT_PATH;
use super::mounts::{bind_read_only, directory, empty_file, hide, tmpfs};
use super::plan::{CgroupMembership, Plan};

mod assembled;
mod overlay;

/// Devices that every sandbox has.
const DEVICES: &[&str] = &["full", "null", "random", "tty", "urandom", "zero"];

/// Files of /proc through which root could change or read the host's kernel.
const PROC_READ_ONLY: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];
const PROC_HIDDEN: &[&str] = &["kcore", "keys", "latency_stats", "sched_debug", "timer_list"];

/// Builds the root file system and makes it the root of this mount namespace.
pub(super) fn enter(plan: &Plan) -> Result<()> {
    let options = format!("mode=755,size={}", plan.disk_bytes);
    tmpfs(&plan.scratch, MountFlags::NODEV, &options)?;
    let root = match overlay::build(plan) {
        Ok(root) => root,
        Err(error) => {
            eprintln!("no overlay here, most of the file system is read-only: {error:#}");
            assembled::build(plan)?
        }
    };
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
    pivot(&root)
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

/// Lets the sandbox resolve its own name without a network.
fn write_hosts(root: &Path, hostname: &str) -> Result<()> {
    let hosts = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, content) in [("hosts", hosts), ("hostname", format!("{hostname}\n"))] {
        let path = root.join("etc").join(name);
        // Removed first: a link would be written through.
        let _ = fs::remove_file(&path);
        fs::write(&path, content).with_context(|| format!("writing /etc/{name}"))?;
    }
    Ok(())
}
