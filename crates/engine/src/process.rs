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
    /// The process with this pid, if there is one.
    pub fn from_pid(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: start_time(&stat)? })
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

/// Field 22 of a process's /proc stat file; the second field is the program's name, which may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
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
        let fields = (3..30).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(start_time(&format!("1 (a) b) {fields}")), Some(22));
    }
}
