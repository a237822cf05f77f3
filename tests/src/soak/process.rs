//! Processes of this machine, as the kernel shows them: what a row measures and signals.

use std::{fs, iter, process::Command};

use crate::{Sandbox, until};

/// Starts a program as process 1 of a namespace, with which all that it has started ends.
pub(super) const AS_INIT: &[&str] = &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process(u32);

impl Process {
    /// The agent of a sandbox that runs on this machine without namespaces: its commands are the agent's children.
    pub(super) async fn agent_of(sandbox: &Sandbox) -> Self {
        Self(sandbox.shell("echo $PPID").await.trim().parse().unwrap())
    }

    /// The agents that this program has started, whatever namespaces they are in.
    pub(super) fn own_agents() -> Vec<Self> {
        let own = Self(std::process::id());
        let is_agent = |process: &Self| process.name() == "cabana-agent";
        // A command of the agent's has its name until it has become the program.
        let is_first = |process: &Self| !process.ancestors().skip(1).any(|ancestor| is_agent(&ancestor));
        all().filter(|process| is_agent(process) && is_first(process) && process.ancestors().any(|other| other == own)).collect()
    }

    /// The agent of a sandbox of a stack on this machine: the ancestor of a command that is known by its words.
    pub(super) async fn agent_behind(sandbox: &Sandbox, mark: &str) -> Self {
        sandbox.shell(&format!("(sleep {mark} > /dev/null 2>&1 &)")).await;
        let words = format!("sleep\0{mark}\0");
        let mut agent = None;
        // The shell may not have become it yet.
        until("the agent is found", async || {
            let marked = all().find(|process| process.words() == words);
            agent = marked.and_then(|process| process.ancestors().find(|process| process.name() == "agent"));
            agent.is_some()
        })
        .await;
        agent.unwrap()
    }

    /// Sends it a signal, by name.
    pub(super) fn signal(self, signal: &str) {
        assert!(Command::new("kill").args(["-s", signal, &self.0.to_string()]).status().unwrap().success());
    }

    /// Whether it has not ended.
    pub(super) fn lives(self) -> bool {
        self.stat().is_some_and(|stat| stat[0] != "Z")
    }

    /// Memory that is its own or shared, now, in KiB.
    pub(super) fn resident_kib(self) -> u64 {
        self.status("VmRSS")
    }

    /// The most that was, in KiB.
    pub(super) fn peak_kib(self) -> u64 {
        self.status("VmHWM")
    }

    /// Descriptors that it has open.
    pub(super) fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().count()
    }

    /// Bytes of files without a name that it holds open, in KiB: its spool.
    pub(super) fn unnamed_files_kib(self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let open = fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().flatten();
        let files = open.filter_map(|entry| fs::metadata(entry.path()).ok());
        files.filter(|file| file.is_file() && file.nlink() == 0).map(|file| file.blocks() / 2).sum()
    }

    /// Children that have ended and that it has not waited for.
    pub(super) fn zombies(self) -> usize {
        let parent = self.0.to_string();
        all().filter_map(Self::stat).filter(|stat| stat[0] == "Z" && stat[1] == parent).count()
    }

    fn ancestors(self) -> impl Iterator<Item = Self> {
        iter::successors(Some(self), |process| process.stat()?[1].parse().ok().filter(|parent| *parent > 0).map(Self))
    }

    fn words(self) -> String {
        fs::read_to_string(format!("/proc/{}/cmdline", self.0)).unwrap_or_default()
    }

    fn name(self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.0)).unwrap_or_default().trim().to_owned()
    }

    /// The fields of proc_pid_stat(5) from the state on: the name before them may hold anything.
    fn stat(self) -> Option<Vec<String>> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
    }

    /// A field of proc_pid_status(5) in KiB.
    fn status(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

fn all() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).map(Process)
}

/// Memory that the machine could give away, in KiB.
pub(super) fn available_kib() -> u64 {
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let value = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A size as people read it.
pub(super) fn mebibytes(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1_024, kib % 1_024 * 10 / 1_024)
}
