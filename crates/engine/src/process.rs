//! Identities of processes that survive the reuse of pids.

use std::fmt;
use std::fs;
use std::str::FromStr;

/// A process: its pid, and the instant it started (in clock ticks since boot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    pid: u32,
    started: u64,
}

impl ProcessIdentity {
    /// The process with this pid, if there is one that still runs: a zombie has ended.
    pub fn from_pid(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: start_time_of_running(&stat)? })
    }

    /// This process. `None` without a /proc.
    pub fn current() -> Option<Self> {
        Self::from_pid(std::process::id())
    }

    /// Whether that very process still exists.
    pub fn is_alive(self) -> bool {
        Self::from_pid(self.pid) == Some(self)
    }
}

/// `<pid>-<start>`, fit for a file name.
impl fmt::Display for ProcessIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.pid, self.started)
    }
}

impl FromStr for ProcessIdentity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, started) = text.split_once('-').ok_or(())?;
        Ok(Self { pid: pid.parse().map_err(|_| ())?, started: started.parse().map_err(|_| ())? })
    }
}

/// Field 22 of a process's /proc stat file, unless field 3 says that it is a zombie or dead. The second field is the program's name,
/// which may hold anything.
fn start_time_of_running(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_not_mistaken_for_an_earlier_one_of_its_pid() {
        let own = ProcessIdentity::current().unwrap();
        assert!(own.is_alive());
        assert_eq!(own.to_string().parse(), Ok(own));
        let earlier = ProcessIdentity { started: own.started - 1, ..own };
        assert!(!earlier.is_alive());
        assert_eq!("x-1".parse::<ProcessIdentity>(), Err(()));
    }

    #[test]
    fn program_names_may_contain_parentheses() {
        let fields = (4..30).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(start_time_of_running(&format!("1 (a) b) S {fields}")), Some(22));
        assert_eq!(start_time_of_running(&format!("1 (a) S b) Z {fields}")), None);
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessIdentity::from_pid(child.id()).unwrap();
        assert!(process.is_alive());
        child.kill().unwrap();
        // Nobody has waited for it yet, so it stays a zombie.
        while process.is_alive() {
            std::thread::yield_now();
        }
        assert!(Path::new("/proc").join(child.id().to_string()).exists());
        child.wait().unwrap();
    }
}
