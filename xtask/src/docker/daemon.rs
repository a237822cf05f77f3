//! The daemon: the one that runs on this machine, or one of this run's own.
//!
//! The one of our own lives in a process namespace and a mount namespace: when their first process is killed, the kernel ends every
//! container in them and removes every mount. So it ends with the run also after SIGKILL of this program, whose guard does that. Its
//! images and layers stay in the cache, for the next run. It uses the machine's network, as Docker does: the bridge `docker0` and the
//! firewall rules stay.

use super::{Docker, directory};
use crate::dev::service::Service;
use crate::guard::Guard;
use crate::progress::Step;
use crate::{paths, setup};
use anyhow::{Context, Result, bail};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The cgroup below which a daemon of our own puts its containers.
const CGROUP: &str = "cabana-docker";
/// Where a daemon of our own keeps images and layers.
const DATA: &str = "data";
/// Longest wait for the daemon's first answer.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Ends the namespaces' processes when it is asked to end, and waits for them.
const LEADER: &str = r#"
trap 'trap "" TERM; kill -TERM 0' TERM
unshare --mount --pid --fork --kill-child --mount-proc sh -c "$0" "$@" &
wait "$!"
wait "$!""#;
/// The first process of the namespaces. The sockets of the containers' shims have a place that cannot be chosen: it is hidden from the
/// machine.
const FIRST: &str = r#"
trap : TERM
mkdir -p /run/containerd && mount -t tmpfs cabana /run/containerd || exit 1
"$@" &
while kill -0 "$!" 2>/dev/null; do wait "$!"; done"#;
/// What the daemon is told beside its arguments. What builds have left is kept to a size.
const CONFIGURATION: &str = r#"{ "builder": { "gc": { "enabled": true, "defaultKeepStorage": "10GB" } } }"#;

/// A daemon that answers. Dropping it ends one of our own.
pub(crate) struct Daemon {
    docker: Docker,
    own: Option<Own>,
}

/// What runs a daemon of our own.
struct Own {
    service: Service,
    guard: Guard,
    /// Keeps other runs from the same data.
    _lock: File,
}

impl Daemon {
    /// Finds the daemon, or starts one. An error says why there cannot be one.
    ///
    /// A daemon of our own ends with the calling thread.
    pub(crate) fn provide(step: &Step) -> Result<Self> {
        if let Some(daemon) = Self::running() {
            return Ok(daemon);
        }
        if !rustix::process::geteuid().is_root() {
            bail!("no Docker daemon answers, and only root can start one");
        }
        setup::provide_docker()?;
        // The package may have started one.
        if let Some(daemon) = Self::running() {
            return Ok(daemon);
        }
        Self::start(&Docker::find()?, &directory(&paths::cache()?), step)
    }

    /// Whether there is a daemon that may have images: one that runs, or what one of our own has left.
    pub(crate) fn has_data() -> Result<bool> {
        Ok(Self::running().is_some() || directory(&paths::cache()?).join(DATA).exists())
    }

    fn running() -> Option<Self> {
        let docker = Docker::find().ok()?;
        docker.server_version()?;
        Some(Self { docker, own: None })
    }

    fn start(docker: &Docker, directory: &Path, step: &Step) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let lock = lock(directory, step)?;
        remove_cgroups();
        let run = directory.join(format!("run-{}", process::id()));
        DirBuilder::new().mode(0o700).create(&run).with_context(|| format!("create {}", run.display()))?;
        let mut guard = Guard::start(&run)?;
        let socket = run.join("docker.sock");
        let mut command = command(&run, &socket, &directory.join(DATA))?;
        let log = run.join("log");
        let service = Service::start("dockerd", &mut command, Stdio::null(), log, &mut guard)?;
        let mut daemon = Self { docker: docker.at(&socket), own: Some(Own { service, guard, _lock: lock }) };
        daemon.wait(step)?;
        daemon.remove_containers();
        Ok(daemon)
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Whether it is a daemon of our own, which has no images but ours.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    fn wait(&mut self, step: &Step) -> Result<()> {
        let started = Instant::now();
        let Some(own) = &mut self.own else { return Ok(()) };
        while self.docker.server_version().is_none() {
            own.service.check()?;
            if started.elapsed() > START {
                bail!("dockerd does not answer; its last words:\n{}", own.service.last_words());
            }
            step.tick("starting dockerd");
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Removes what a run that was killed has left in the data.
    fn remove_containers(&self) {
        let list = crate::shell::capture(&mut self.docker.command(["ps", "--all", "--quiet"])).unwrap_or_default();
        let containers: Vec<&str> = list.split_whitespace().collect();
        if !containers.is_empty() {
            let remove = ["rm", "--force", "--volumes"].iter().chain(&containers);
            let _ = crate::shell::capture(&mut self.docker.command(remove));
        }
        let _ = crate::shell::capture(&mut self.docker.command(["image", "prune", "--force"]));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.own.is_some() {
            // It would give each the time to end well.
            self.remove_containers();
        }
        if let Some(Own { service, guard, .. }) = &mut self.own {
            guard.finish(|| service.reap());
        }
    }
}

/// The daemon in its namespaces.
fn command(run: &Path, socket: &Path, data: &Path) -> Result<Command> {
    let configuration = run.join("daemon.json");
    fs::write(&configuration, CONFIGURATION).with_context(|| format!("write {}", configuration.display()))?;
    let mut command = Command::new("sh");
    command.args(["-c", LEADER, FIRST, "first", "dockerd"]).arg("--config-file").arg(configuration);
    command.arg("--host").arg(format!("unix://{}", socket.display()));
    command.arg("--data-root").arg(data).arg("--exec-root").arg(run.join("exec")).arg("--pidfile").arg(run.join("pid"));
    command.args(["--cgroup-parent", &format!("/{CGROUP}"), "--shutdown-timeout", "3", "--log-level", "warn"]);
    Ok(command)
}

/// Waits until no other run uses the data.
fn lock(directory: &Path, step: &Step) -> Result<File> {
    let path = directory.join("lock");
    let lock = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            step.announce("waiting for another run's Docker daemon to end");
            lock.lock().with_context(|| format!("lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("lock {}", path.display())),
    }
    Ok(lock)
}

/// Removes the cgroups of containers that were killed; those in use stay.
fn remove_cgroups() {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
        remove_empty(&hierarchy.join(CGROUP));
    }
}

fn remove_empty(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
