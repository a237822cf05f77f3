//! How far something that is supervised has come: a pure state machine.

use cabana_protocol::exec::{Exit, Usage};

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) usage: Option<Usage>,
    /// The session that it ran in has ended with it.
    pub(crate) session_ended: bool,
}

/// How far an attempt to end a tree has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreeEnd {
    /// Nothing is left of it.
    Gone,
    /// Something is left that SIGKILL has not ended in time: it waits in the kernel.
    Stuck,
}

/// It goes through these in order, and may leave out those in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It runs, and nobody wants it to end.
    Running,
    /// Its tree is being ended. Nobody waits for it before that is done: a zombie keeps its number.
    Ending { reason: Exit },
    /// Its tree has been ended. Its own end is awaited.
    Settling { reason: Exit },
    /// It has ended.
    Ended(Outcome),
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It is to end, for this reason.
    MustEnd(Exit),
    /// All has been done to end its tree.
    TreeEnded(TreeEnd),
    /// It has ended.
    Ended(Outcome),
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    EndTree,
    Settle(TreeEnd),
}

impl Phase {
    /// What follows.
    pub(super) fn apply(self, event: Event) -> (Self, Effect) {
        match (self, event) {
            (Self::Running, Event::MustEnd(reason)) => (Self::Ending { reason }, Effect::EndTree),
            (Self::Ending { reason }, Event::TreeEnded(TreeEnd::Gone)) => {
                (Self::Settling { reason }, Effect::Settle(TreeEnd::Gone))
            }
            // What is left of it may go on for ever, so nobody can say how it ended.
            (Self::Ending { .. }, Event::TreeEnded(TreeEnd::Stuck)) => {
                (Self::Settling { reason: Exit::Lost }, Effect::Settle(TreeEnd::Stuck))
            }
            (Self::Running, Event::Ended(outcome)) => (Self::Ended(outcome), Effect::Nothing),
            (Self::Settling { reason }, Event::Ended(outcome)) => {
                (Self::Ended(Outcome { exit: reason, ..outcome }), Effect::Nothing)
            }
            (phase, _) => (phase, Effect::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTCOME: Outcome = Outcome { exit: Exit::Exited { code: 3 }, usage: None, session_ended: false };

    /// The phase after all these events, and the last effect.
    fn after(events: &[Event]) -> (Phase, Effect) {
        events.iter().fold((Phase::Running, Effect::Nothing), |(phase, _), event| phase.apply(*event))
    }

    #[test]
    fn an_exit_that_nobody_asked_for_is_that_of_the_process() {
        assert_eq!(after(&[Event::Ended(OUTCOME)]), (Phase::Ended(OUTCOME), Effect::Nothing));
    }

    #[test]
    fn the_first_reason_to_end_is_the_exit() {
        let end = Event::MustEnd(Exit::TimedOut);
        assert_eq!(after(&[end]), (Phase::Ending { reason: Exit::TimedOut }, Effect::EndTree));
        let twice = [end, Event::MustEnd(Exit::Cancelled)];
        assert_eq!(after(&twice), (Phase::Ending { reason: Exit::TimedOut }, Effect::Nothing), "its tree is being ended already");
        let gone = Event::TreeEnded(TreeEnd::Gone);
        assert_eq!(after(&[end, gone]), (Phase::Settling { reason: Exit::TimedOut }, Effect::Settle(TreeEnd::Gone)));
        let ended = Outcome { exit: Exit::TimedOut, ..OUTCOME };
        assert_eq!(after(&[end, gone, Event::Ended(OUTCOME)]), (Phase::Ended(ended), Effect::Nothing));
        assert_eq!(after(&[end, gone, Event::Ended(OUTCOME), end]), (Phase::Ended(ended), Effect::Nothing));
    }

    #[test]
    fn a_tree_that_cannot_be_killed_is_lost() {
        let stuck = [Event::MustEnd(Exit::TimedOut), Event::TreeEnded(TreeEnd::Stuck)];
        assert_eq!(after(&stuck), (Phase::Settling { reason: Exit::Lost }, Effect::Settle(TreeEnd::Stuck)));
    }

    #[test]
    fn an_end_while_the_tree_is_being_ended_waits() {
        let early = [Event::MustEnd(Exit::Cancelled), Event::Ended(OUTCOME)];
        assert_eq!(after(&early), (Phase::Ending { reason: Exit::Cancelled }, Effect::Nothing));
    }
}
