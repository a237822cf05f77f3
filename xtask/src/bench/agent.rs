//! A running agent.

use super::connection::{Connection, Service};
use crate::shell;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Known to the agent and to us.
pub(super) const SECRET: &str = "bench";
/// The search path of everything that is started, agents, commands and peers alike.
pub(super) const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Longest wait for the first answer.
const START: Duration = Duration::from_secs(10);
/// How often it is asked until then.
const LOOK: Duration = Duration::from_micros(100);

/// An agent, ended when dropped.
pub(super) struct Agent {
    child: Child,
    address: SocketAddr,
}

impl Agent {
    /// Starts it and waits until it is healthy. Files are reached below `root`, which is also where commands run.
    pub(super) fn start(program: &Path, root: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("CABANA_AGENT_SECRET", SECRET)
            .env("CABANA_AGENT_LISTEN", address.to_string())
            .env("CABANA_ROOTS", root)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let child = shell::die_with_parent(&mut command).spawn().context("start the agent")?;
        let mut agent = Self { child, address };
        agent.wait_until_healthy()?;
        Ok(agent)
    }

    fn wait_until_healthy(&mut self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < START {
            if let Ok(mut connection) = self.connect() {
                return connection.get("/health").map(drop);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent has ended: {status}");
            }
            thread::sleep(LOOK);
        }
        bail!("the agent does not answer")
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        Service::agent(self.address).connect()
    }

    /// Bytes of memory that are its own or shared, now.
    pub(super) fn resident(&self) -> Result<u64> {
        resident(self.child.id())
    }

    /// The most that [`Self::resident`] has been.
    pub(super) fn peak(&self) -> Result<u64> {
        status(self.child.id(), "VmHWM")
    }

    /// Descriptors that it has open.
    pub(super) fn descriptors(&self) -> Result<u64> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).context("list the agent's descriptors")?;
        Ok(open.count() as u64)
    }

    /// Children that have ended and that it has not waited for.
    pub(super) fn zombies(&self) -> Result<u64> {
        let processes = fs::read_dir("/proc").context("list the processes")?;
        let stats = processes.flatten().filter_map(|process| stat(&process.path()));
        let parent = self.child.id().to_string();
        Ok(stats.filter(|stat| stat[0] == "Z" && stat[1] == parent).count() as u64)
    }

    /// Processor time that it has taken, its children's left aside.
    pub(super) fn busy(&self) -> Result<Duration> {
        let stat = stat(Path::new(&format!("/proc/{}", self.child.id()))).context("read the agent's stat")?;
        let ticks = stat[11].parse::<u64>()? + stat[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Bytes of memory that are this process's own or shared, now.
pub(super) fn resident(process: u32) -> Result<u64> {
    status(process, "VmRSS")
}

/// A field of proc_pid_status(5), in bytes.
fn status(process: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("read a process's status")?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kibibytes = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes << 10).with_context(|| format!("the status has no {field}"))
}

/// The fields of proc_pid_stat(5) from the state on: the name before them may hold anything.
fn stat(process: &Path) -> Option<Vec<String>> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// An address nobody listens on, for a moment at least.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr()?)
}
