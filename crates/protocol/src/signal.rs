//! Signals by their Linux names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// A Linux signal. On the wire its name, `SIGTERM`; read with or without `SIG` and in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
pub struct Signal(i32);

/// signal(7), the numbers of x86-64 and aarch64.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

const FIRST_REAL_TIME: i32 = 34;
const LAST: i32 = 64;

impl Signal {
    /// Says that the terminal is gone.
    pub const HUP: Self = Self(1);
    /// What ctrl-C sends.
    pub const INT: Self = Self(2);
    /// Ends a process, whatever it does about signals.
    pub const KILL: Self = Self(9);
    /// Lets a stopped process go on.
    pub const CONT: Self = Self(18);
    /// Halts a process until SIGCONT.
    pub const STOP: Self = Self(19);
    /// Asks a process to end.
    pub const TERM: Self = Self(15);

    /// The signal of this number, as the kernel counts: 1 to 31, and 34 to 64. The C library keeps 32 and 33 for itself.
    pub fn from_number(number: i32) -> Option<Self> {
        ((1..=31).contains(&number) || (FIRST_REAL_TIME..=LAST).contains(&number)).then_some(Self(number))
    }

    /// The kernel's number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0 - 1).ok().and_then(|index| NAMES.get(index)) {
            Some(name) => formatter.write_str(name),
            None => write!(formatter, "SIGRTMIN{:+}", self.0 - FIRST_REAL_TIME),
        }
    }
}

impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = NAMES.iter().position(|name| &name[3..] == bare).and_then(|index| i32::try_from(index + 1).ok());
        let real_time = || {
            bare.strip_prefix("RTMIN")
                .and_then(|rest| rest.parse::<i32>().ok())
                .and_then(|offset| FIRST_REAL_TIME.checked_add(offset))
        };
        named
            .or_else(real_time)
            .and_then(Self::from_number)
            .ok_or_else(|| Error::invalid_request(format!("not a signal: {:?}", text.chars().take(20).collect::<String>())))
    }
}

impl TryFrom<String> for Signal {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_name_that_reads_back() {
        for number in (1..=31).chain(FIRST_REAL_TIME..=LAST) {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
        }
    }

    #[test]
    fn names_are_read_as_people_write_them() {
        for text in ["SIGTERM", "TERM", "term", "SigTerm"] {
            assert_eq!(text.parse::<Signal>().unwrap(), Signal::TERM);
        }
        for text in ["", "SIG", "15", "SIGNOPE", "SIGRTMIN-1", "SIGRTMIN+99", "RTMIN+2147483647"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }
}
