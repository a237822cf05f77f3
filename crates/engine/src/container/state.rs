//! The states of a container.

use std::time::SystemTime;

/// The state of a container: `Created -> Running -> Exited (-> Running …) -> Removed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Never started.
    Created,
    /// Its first process runs.
    Running(Running),
    /// Its first process has ended, and with it all others.
    Exited(Exited),
    /// Removed; only handles still refer to it.
    Removed {
        /// Code of the last exit; 0 if it never ran.
        code: i32,
        /// How many times it has exited.
        exits: u32,
    },
}

/// A running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its first process on the host; 0 for a sidecar, which has none.
    pub pid: i32,
    /// When it was started.
    pub started: SystemTime,
    /// The port of 127.0.0.1 that a sidecar listens on.
    pub host_port: Option<u16>,
    /// How many times it has exited before.
    pub exits: u32,
}

/// A container that has exited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exited {
    /// The exit code, or 128 + the signal.
    pub code: i32,
    /// When it was started.
    pub started: SystemTime,
    /// When it exited.
    pub finished: SystemTime,
    /// How many times it has exited.
    pub exits: u32,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It does not run; true at once for a container that was never started.
    NotRunning,
    /// It exits once more.
    NextExit,
    /// It is removed.
    Removed,
}

impl Condition {
    /// Reads Docker's spelling; an absent one means [`Condition::NotRunning`].
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "not-running") => Some(Self::NotRunning),
            Some("next-exit") => Some(Self::NextExit),
            Some("removed") => Some(Self::Removed),
            Some(_) => None,
        }
    }
}

impl State {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// Docker's name of the state.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running(_) => "running",
            Self::Exited(_) => "exited",
            Self::Removed { .. } => "dead",
        }
    }

    /// Code of the last exit; 0 if there was none.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Created | Self::Running(_) => 0,
            Self::Exited(exited) => exited.code,
            Self::Removed { code, .. } => *code,
        }
    }

    /// How many times it has exited.
    pub fn exits(&self) -> u32 {
        match self {
            Self::Created => 0,
            Self::Running(running) => running.exits,
            Self::Exited(exited) => exited.exits,
            Self::Removed { exits, .. } => *exits,
        }
    }

    /// Whether a wait that began after `first` exits has ended.
    pub fn satisfies(&self, condition: Condition, first: u32) -> bool {
        match (condition, self) {
            (_, Self::Removed { .. }) => true,
            (Condition::NotRunning, state) => !state.is_running(),
            (Condition::NextExit, state) => state.exits() > first,
            (Condition::Removed, _) => false,
        }
    }

    /// The state after its first process was started. `None` if it runs or was removed.
    pub fn started(&self, pid: i32, host_port: Option<u16>, now: SystemTime) -> Option<Self> {
        match self {
            Self::Running(_) | Self::Removed { .. } => None,
            Self::Created | Self::Exited(_) => Some(Self::Running(Running { pid, started: now, host_port, exits: self.exits() })),
        }
    }

    /// The state after its first process has ended. `None` unless it runs.
    pub fn exited(&self, code: i32, now: SystemTime) -> Option<Self> {
        match self {
            Self::Running(running) => {
                Some(Self::Exited(Exited { code, started: running.started, finished: now, exits: running.exits + 1 }))
            }
            _ => None,
        }
    }

    /// The state after removal.
    pub fn removed(&self) -> Self {
        Self::Removed { code: self.exit_code(), exits: self.exits() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn running() -> State {
        State::Created.started(7, None, NOW).unwrap()
    }

    #[test]
    fn a_container_is_started_exits_and_is_removed() {
        let exited = running().exited(3, NOW).unwrap();
        assert_eq!((exited.status(), exited.exit_code(), exited.exits()), ("exited", 3, 1));
        let again = exited.started(8, None, NOW).unwrap();
        assert_eq!((again.status(), again.exit_code(), again.exits()), ("running", 0, 1));
        let removed = exited.removed();
        assert_eq!((removed.exit_code(), removed.exits()), (3, 1));
    }

    #[test]
    fn impossible_transitions_are_refused() {
        assert_eq!(running().started(1, None, NOW), None);
        assert_eq!(State::Created.exited(0, NOW), None);
        assert_eq!(State::Created.removed().started(1, None, NOW), None);
    }

    #[test]
    fn waits_end_when_their_condition_holds() {
        let check = |state: &State, condition, first, expected| {
            assert_eq!(state.satisfies(condition, first), expected, "{state:?} {condition:?}");
        };
        let exited = running().exited(0, NOW).unwrap();
        check(&State::Created, Condition::NotRunning, 0, true);
        check(&State::Created, Condition::NextExit, 0, false);
        check(&running(), Condition::NotRunning, 0, false);
        check(&exited, Condition::NextExit, 0, true);
        check(&exited, Condition::NextExit, 1, false);
        check(&exited, Condition::Removed, 0, false);
        check(&exited.removed(), Condition::NextExit, 1, true);
        assert_eq!(Condition::parse(Some("removed")), Some(Condition::Removed));
        assert_eq!(Condition::parse(None), Some(Condition::NotRunning));
        assert_eq!(Condition::parse(Some("x")), None);
    }
}
