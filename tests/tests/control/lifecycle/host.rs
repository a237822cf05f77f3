//! The stack's processes, where it runs on this machine: what the cases kill.

use std::{fs, process::Command};

use cabana_tests::until;

use super::Named;

/// A process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) struct Process(u32);

impl Process {
    pub(in crate::control) fn signal(self, signal: &str) {
        assert!(Command::new("kill").args(["-s", signal, &self.0.to_string()]).status().unwrap().success());
    }

    pub(in crate::control) fn parent(self) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
        (parent > 1).then_some(Self(parent))
    }

    /// Its command line.
    pub(in crate::control) fn words(self) -> Vec<String> {
        let line = fs::read_to_string(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
        line.split('\0').map(str::to_owned).collect()
    }

    pub(in crate::control) fn name(self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.0)).unwrap_or_default().trim().to_owned()
    }
}

/// Processes that have this in their command line, whose words are parted by NUL.
pub(in crate::control) fn find(mark: &str) -> Vec<Process> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let marked =
        |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(mark));
    processes.filter(marked).map(Process).collect()
}

/// The agent of a sandbox; `None` where the stack runs elsewhere.
pub(in crate::control) async fn agent_of(sandbox: &Named) -> Option<Process> {
    let mark = format!("7{}.5", sandbox.id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())));
    sandbox.print(&format!("(sleep {mark} > /dev/null 2>&1 &)")).await;
    let mut agent = None;
    // The shell may not have become it yet.
    for _ in 0..100 {
        let process = find(&format!("sleep\0{mark}")).first().copied();
        agent = std::iter::successors(process, |process| process.parent()).find(|process| process.name() == "agent");
        if agent.is_some() {
            break;
        }
        super::pause(20).await;
    }
    if agent.is_none() {
        eprintln!("the stack is not on this machine: nothing is killed");
    }
    agent
}

/// Waits until no process of this machine has this in its command line.
pub(in crate::control) async fn until_gone(mark: &str) {
    until("its processes are gone", async || find(mark).is_empty()).await;
}
