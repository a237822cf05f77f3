//! How a shell that was interrupted is brought back to its senses: it is asked for a report, again and again, until it answers.

use std::time::Duration;

use tokio::time::Instant;

/// Number of the first report that is asked for; those before come by themselves.
const FIRST: u64 = 2;

/// Shortest and longest pause between two requests. The first is seldom lost: only some shells drop their input at an interrupt.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(1);

/// How far it has come.
#[derive(Debug)]
pub(super) struct Recovery {
    /// The report that was asked for last.
    report: u64,
    /// The first report with which it has answered.
    answered: Option<u64>,
    pause: Duration,
    again: Instant,
}

impl Recovery {
    /// Asks after a first pause, or at once.
    pub(super) fn new(at_once: bool) -> Self {
        let again = if at_once { Instant::now() } else { Instant::now() + *PAUSES.start() };
        Self { report: FIRST - 1, answered: None, pause: *PAUSES.start(), again }
    }

    /// When it is to be asked again.
    pub(super) fn again(&self) -> Instant {
        self.again
    }

    /// The report to ask for now.
    pub(super) fn ask(&mut self) -> u64 {
        self.report += 1;
        self.again = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(*PAUSES.end());
        self.report
    }

    /// The shell has come to this report. True when it has recovered: a second answer, to a request that was made after the first,
    /// shows that no signal that was sent before is still to be handled.
    pub(super) fn answer(&mut self, report: u64) -> bool {
        if report != self.report || !asked_for(report) {
            return false;
        }
        let before = *self.answered.get_or_insert_with(|| {
            self.again = Instant::now();
            report
        });
        before < report
    }
}

/// Whether this report was asked for.
pub(super) fn asked_for(report: u64) -> bool {
    report >= FIRST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_answers_in_a_row_are_wanted() {
        let mut recovery = Recovery::new(true);
        assert_eq!(recovery.again(), Instant::now());
        let first = recovery.ask();
        assert!(asked_for(first) && recovery.again() > Instant::now());
        assert!(!recovery.answer(0), "it came by itself");
        let second = recovery.ask();
        assert!(!recovery.answer(first), "late");
        assert!(!recovery.answer(second));
        assert_eq!(recovery.again(), Instant::now());
        assert!(!recovery.answer(second), "the same");
        let third = recovery.ask();
        assert!(recovery.answer(third));
    }
}
