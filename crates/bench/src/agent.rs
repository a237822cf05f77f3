//! A running agent.

use crate::SEARCH_PATH;
use crate::connection::{Connection, Service};
use crate::process;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The secret that callers of the agent show.
pub(crate) const SECRET: &str = "bench";
/// Longest wait for the first response.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two connection attempts until then.
const POLL_INTERVAL: Duration = Duration::from_micros(100);

/// An agent, stopped when dropped.
pub(crate) struct Agent {
    child: Child,
    address: SocketAddr,
}

impl Agent {
    /// Starts it, with these variables on top, and waits until it is healthy. Files are reached below `root`, which is also where commands run.
    pub(crate) fn start(program: &Path, root: &Path, variables: &[(&str, &OsStr)]) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("CABANA_AGENT_SECRET", SECRET)
            .env("CABANA_AGENT_LISTEN", address.to_string())
            .env("CABANA_ROOTS", root)
            // In a container of the image, the image's.
            .envs(std::env::var_os("CABANA_USER").map(|user| ("CABANA_USER", user)))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let child = die_with_parent(&mut command).spawn().with_context(|| format!("start {}", program.display()))?;
        let mut agent = Self { child, address };
        agent.wait_until_healthy()?;
        Ok(agent)
    }

    fn wait_until_healthy(&mut self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT {
            if let Ok(mut connection) = self.connect() {
                return connection.get("/health").map(drop);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent exited before it was healthy: {status}");
            }
            thread::sleep(POLL_INTERVAL);
        }
        bail!("the agent was not healthy within {} s", START_TIMEOUT.as_secs())
    }

    pub(crate) fn connect(&self) -> Result<Connection> {
        Service::agent(self.address).connect()
    }

    /// Resident memory now, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        process::resident_bytes(self.child.id())
    }

    /// The most that [`Self::resident_bytes`] has been.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        process::peak_bytes(self.child.id())
    }

    /// How far the peak is above `bytes`.
    pub(crate) fn growth_since(&self, bytes: u64) -> Result<u64> {
        Ok(self.peak_bytes()?.saturating_sub(bytes))
    }

    pub(crate) fn descriptors(&self) -> Result<u64> {
        process::descriptors(self.child.id())
    }

    pub(crate) fn zombies(&self) -> Result<u64> {
        process::zombies(self.child.id())
    }

    /// Processor time, without that of its children.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        process::cpu_time(self.child.id())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail when it has exited by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Stops the agent when this program ends, also when it is killed. The kernel watches the spawning thread, here the main one.
fn die_with_parent(command: &mut Command) -> &mut Command {
    let set = || set_parent_process_death_signal(Some(Signal::TERM)).map_err(Into::into);
    // SAFETY: between fork and exec the closure makes one prctl call: it allocates nothing and takes no lock.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(set)
    }
}

/// An address that is free now. Another process may take it before the agent does; the agent then fails to start.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr()?)
}
