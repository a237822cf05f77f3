//! How far a cell is, from the messages that concern it. Pure: it reads no clock.

use std::time::Duration;

use cabana_protocol::{code::RunStatus, exec::Exit};
use tokio::time::Instant;

/// How long a cell's last output may pause after its answer, where the kernel does not say that all of it has come.
const PAUSE: Duration = Duration::from_secs(2);

/// Why a cell is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its time is up.
    TimedOut,
    /// Its caller does not want it any more.
    Cancelled,
    /// Somebody has interrupted it. It may go on.
    Interrupted,
}

/// What is to be done with a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Interrupt it.
    Interrupt,
    /// End its kernel: it does not react.
    Kill,
    /// Have the kernel print a sentinel, which arrives behind all output of the cell.
    Flush,
    /// It is over.
    Finish,
}

/// A cell that runs.
#[derive(Debug)]
pub(super) struct Progress {
    deadline: Instant,
    grace: Duration,
    trails: bool,
    /// The kernel's answer: whether the cell has failed.
    failed: Option<bool>,
    idle: bool,
    stop: Option<Stop>,
    kill_at: Option<Instant>,
    finish_at: Option<Instant>,
    /// What had been shown when the end was last put off.
    shown: u64,
}

impl Progress {
    /// Of a cell that has until then, and so long after an interrupt.
    pub(super) fn new(deadline: Instant, grace: Duration, trails: bool) -> Self {
        Self { deadline, grace, trails, failed: None, idle: false, stop: None, kill_at: None, finish_at: None, shown: 0 }
    }

    /// Whether it is being stopped for good.
    fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop != Stop::Interrupted)
    }

    /// Whether its caller may have it stopped.
    pub(super) fn may_be_stopped(&self) -> bool {
        self.failed.is_none() && !self.is_stopped()
    }

    /// When it is to be looked at again.
    pub(super) fn due(&self) -> Instant {
        let deadline = (!self.is_stopped() && self.failed.is_none()).then_some(self.deadline);
        [deadline, self.kill_at, self.finish_at].into_iter().flatten().min().unwrap_or(self.deadline)
    }

    /// What is due at this time, when so much has been shown.
    pub(super) fn look(&mut self, now: Instant, shown: u64) -> Option<Step> {
        if self.finish_at.is_some_and(|at| at <= now) {
            if shown != self.shown {
                self.shown = shown;
                self.finish_at = Some(now + PAUSE);
                return None;
            }
            return Some(Step::Finish);
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            return Some(Step::Kill);
        }
        if !self.is_stopped() && self.failed.is_none() && self.deadline <= now {
            return self.stop(Stop::TimedOut, now);
        }
        None
    }

    /// It is to be stopped.
    pub(super) fn stop(&mut self, stop: Stop, now: Instant) -> Option<Step> {
        let is_over = self.failed.is_some();
        match (self.stop, stop) {
            _ if is_over => return None,
            (Some(Stop::TimedOut | Stop::Cancelled), Stop::TimedOut | Stop::Cancelled) => return None,
            (Some(Stop::TimedOut | Stop::Cancelled), Stop::Interrupted) => {}
            (_, Stop::Interrupted) => self.stop = Some(stop),
            (_, Stop::TimedOut | Stop::Cancelled) => {
                self.stop = Some(stop);
                self.kill_at = Some(now + self.grace);
            }
        }
        Some(Step::Interrupt)
    }

    /// The kernel has answered.
    pub(super) fn answered(&mut self, failed: bool, now: Instant, shown: u64) -> Option<Step> {
        self.failed = Some(failed);
        self.kill_at = None;
        self.wait_for_end(now, shown)
    }

    /// The kernel is idle again.
    pub(super) fn idle(&mut self, now: Instant, shown: u64) -> Option<Step> {
        self.idle = true;
        if self.failed.is_some() { self.wait_for_end(now, shown) } else { None }
    }

    fn wait_for_end(&mut self, now: Instant, shown: u64) -> Option<Step> {
        if self.idle && !self.trails {
            return Some(Step::Finish);
        }
        (self.finish_at, self.shown) = (Some(now + PAUSE), shown);
        self.idle.then_some(Step::Flush)
    }

    /// How it ended, where the kernel has answered.
    pub(super) fn status(&self) -> RunStatus {
        match (self.stop, self.failed) {
            (Some(Stop::TimedOut), _) => RunStatus::TimedOut,
            (Some(Stop::Cancelled), _) => RunStatus::Cancelled,
            (Some(Stop::Interrupted), Some(true)) => RunStatus::Interrupted,
            (_, Some(true)) => RunStatus::Error,
            (_, Some(false) | None) => RunStatus::Ok,
        }
    }

    /// How it ended, where its kernel has.
    pub(super) fn status_at_end(&self, exit: Option<Exit>) -> RunStatus {
        match self.stop {
            Some(Stop::TimedOut) => RunStatus::TimedOut,
            Some(Stop::Cancelled) => RunStatus::Cancelled,
            _ if exit == Some(Exit::Cancelled) => RunStatus::Cancelled,
            _ => RunStatus::KernelDied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(2);

    fn progress(trails: bool) -> (Progress, Instant) {
        let now = Instant::now();
        (Progress::new(now + Duration::from_secs(10), GRACE, trails), now)
    }

    #[test]
    fn a_cell_is_over_when_it_is_answered_and_idle_in_either_order() {
        for idle_first in [true, false] {
            let (mut cell, now) = progress(false);
            let (first, second) = if idle_first {
                (cell.idle(now, 0), cell.answered(true, now, 0))
            } else {
                (cell.answered(true, now, 0), cell.idle(now, 0))
            };
            assert_eq!((first, second), (None, Some(Step::Finish)));
            assert_eq!(cell.status(), RunStatus::Error);
        }
    }

    #[test]
    fn an_end_that_is_not_told_does_not_hang() {
        let (mut cell, now) = progress(false);
        assert_eq!(cell.answered(false, now, 5), None);
        let due = cell.due();
        assert_eq!(cell.look(due, 6), None, "output still comes");
        assert_eq!(cell.look(cell.due(), 6), Some(Step::Finish));
        assert_eq!(cell.status(), RunStatus::Ok);
    }

    #[test]
    fn trailing_output_is_flushed_and_a_lost_sentinel_does_not_hang() {
        let (mut cell, now) = progress(true);
        assert_eq!((cell.idle(now, 0), cell.answered(false, now, 3)), (None, Some(Step::Flush)));
        assert_eq!(cell.look(cell.due(), 9), None);
        assert_eq!(cell.look(cell.due(), 9), Some(Step::Finish));
    }

    #[test]
    fn a_cell_that_is_stopped_is_interrupted_first_and_then_killed() {
        for (stop, status) in [(Stop::TimedOut, RunStatus::TimedOut), (Stop::Cancelled, RunStatus::Cancelled)] {
            let (mut cell, now) = progress(false);
            assert_eq!(cell.stop(stop, now), Some(Step::Interrupt));
            assert_eq!(cell.stop(stop, now), None);
            assert_eq!(cell.due(), now + GRACE);
            assert_eq!(cell.look(now + GRACE, 0), Some(Step::Kill));
            assert_eq!(cell.status_at_end(Some(Exit::Cancelled)), status);
            let (mut cell, now) = progress(false);
            cell.stop(stop, now);
            assert_eq!((cell.answered(true, now, 0), cell.idle(now, 0)), (None, Some(Step::Finish)));
            assert_eq!(cell.status(), status);
        }
    }

    #[test]
    fn a_deadline_stops_a_cell_and_an_interrupt_does_not_put_it_off() {
        let (mut cell, now) = progress(false);
        assert_eq!(cell.stop(Stop::Interrupted, now), Some(Step::Interrupt));
        assert_eq!(cell.look(now + GRACE, 0), None, "code may catch an interrupt");
        assert_eq!(cell.look(cell.due(), 0), Some(Step::Interrupt));
        assert_eq!(cell.status(), RunStatus::TimedOut);
        let (mut cell, now) = progress(false);
        cell.stop(Stop::Interrupted, now);
        cell.answered(true, now, 0);
        assert_eq!(cell.status(), RunStatus::Interrupted);
    }

    #[test]
    fn a_kernel_that_ends_by_itself_has_died() {
        let (cell, _) = progress(false);
        assert_eq!(cell.status_at_end(Some(Exit::OomKilled)), RunStatus::KernelDied);
        assert_eq!(cell.status_at_end(Some(Exit::Cancelled)), RunStatus::Cancelled);
    }
}
