//! Processes of this machine: those of a stack that runs on it, which cases watch and kill.

use std::{fs, process::Command};

use crate::until;

/// A process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// The process of this number.
    pub fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// Processes whose command line contains this text; NUL separates its words.
    pub fn find(text: &str) -> Vec<Self> {
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let matches =
            |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text));
        pids.filter(matches).map(Self).collect()
    }

    /// Its number.
    pub fn pid(self) -> u32 {
        self.0
    }

    /// Sends it a signal, by the signal's name without `SIG`.
    pub fn signal(self, signal: &str) {
        assert!(self.signal_if_alive(signal), "{} is gone", self.0);
    }

    /// The same for one that may have ended; whether it has not.
    pub fn signal_if_alive(self, signal: &str) -> bool {
        Command::new("kill").args(["-s", signal, &self.0.to_string()]).status().unwrap().success()
    }

    /// Its parent, unless that is the machine's first process.
    pub fn parent(self) -> Option<Self> {
        let parent = self.status("PPid")?.parse().ok()?;
        (parent > 1).then_some(Self(parent))
    }

    /// It, its parent, and so on.
    pub fn ancestors(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |process| process.parent())
    }

    /// Its command line.
    pub fn words(self) -> Vec<String> {
        let line = fs::read_to_string(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
        line.split('\0').map(str::to_owned).collect()
    }

    /// The name of its program, as the kernel has it.
    pub fn name(self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.0)).unwrap_or_default().trim().to_owned()
    }

    /// The letter of its state, by proc_pid_stat(5); `None` where it is gone.
    pub fn state(self) -> Option<char> {
        self.status("State")?.chars().next()
    }

    /// The kernel's number for a namespace of it, which tells one container from another.
    pub fn namespace(self, kind: &str) -> Option<String> {
        Some(fs::read_link(format!("/proc/{}/ns/{kind}", self.0)).ok()?.to_string_lossy().into_owned())
    }

    /// A field of its `/proc/…/status`.
    fn status(self, field: &str) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }
}

/// Waits until no process of this machine has this text in its command line.
pub async fn until_gone(text: &str) {
    until("its processes are gone", async || Process::find(text).is_empty()).await;
}
