//! Processes named so that a reused pid is not mistaken for them.

use std::fmt;
use std::fs;
use std::str::FromStr;

/// A process: its pid, and the instant it started (in clock ticks since boot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessName {
    pid: u32,
    started: u64,
}

impl ProcessName {
    /// The process with this pid, if there is one.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: start_time(&stat)? })
    }

    /// This process. `None` without a /proc.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether that very process still exists.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// `<pid>-<start>`, fit for a file name.
impl fmt::Display for ProcessName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.pid, self.started)
    }
}

impl FromStr for ProcessName {
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
    fn own_process_lives_and_another_of_its_pid_does_not() {
        let own = ProcessName::own().unwrap();
        assert!(own.is_alive());
        assert_eq!(own.to_string().parse(), Ok(own));
        let earlier = ProcessName { started: own.started - 1, ..own };
        assert!(!earlier.is_alive());
        assert_eq!("x-1".parse::<ProcessName>(), Err(()));
    }

    #[test]
    fn program_names_with_parentheses() {
        let fields = (3..30).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(start_time(&format!("1 (a) b) {fields}")), Some(22));
    }
}
