//! Whether the agent of a running container is alive, judged from evidence. Pure.
//!
//! A failed connection is no proof of death: object and container may be in different places, and the network between them fails on its own.
//! So an agent is dead only where the platform says that its container has ended, or where fresh connections to it have failed for
//! [`Timings::dead_after`] and a reset of the object, which renews the object's own connection to the platform, has changed nothing. Any answer is proof
//! of life.

use std::time::Duration;

use cabana_protocol::health::Health;

use super::{Instant, Timings};

/// The first pause between two probes of an agent that does not answer; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_millis(2_500);

/// So many probes must have failed, however long they took.
const LEAST_FAILURES: u32 = 3;

/// After a reset, failures need to last this part of [`Timings::dead_after`].
const AFTER_RESET: u32 = 6;

/// What came of a probe of the agent's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The agent of this start answered.
    Healthy(Health),
    /// The agent of this start answered, and speaks an older wire than we understand.
    OlderAgent(Health),
    /// Another program answered, or the agent of another start.
    WrongAgent,
    /// No connection came about, or it broke.
    Unreachable,
    /// Nothing answered in time.
    TimedOut,
}

/// What the evidence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The agent is alive.
    Trust,
    /// That is not known: probe again at this time.
    Probe(Instant),
    /// Reset the object, to reach the agent over fresh connections.
    Reconnect,
    /// The agent is dead.
    Dead,
}

/// The evidence about the agent of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Liveness {
    answered_at: Option<Instant>,
    failing_since: Option<Instant>,
    failures: u32,
    /// Whether the object was reset for this container.
    reset: bool,
}

impl Liveness {
    /// No evidence yet. `reset`: whether the object was reset for this container already.
    pub fn new(reset: bool) -> Self {
        Self { reset, ..Self::default() }
    }

    /// The agent has answered something.
    pub fn answered(&mut self, at: Instant) {
        *self = Self { answered_at: Some(at), ..Self::new(self.reset) };
    }

    /// A call has failed: the next one waits for a probe.
    pub fn doubt(&mut self) {
        self.answered_at = None;
    }

    /// Takes the outcome of a probe.
    pub fn probed(&mut self, outcome: &Probe, at: Instant, timings: &Timings) -> Verdict {
        if let Probe::Healthy(_) = outcome {
            self.answered(at);
            return Verdict::Trust;
        }
        self.answered_at = None;
        self.failures += 1;
        let failing_for = at.since(*self.failing_since.get_or_insert(at));
        let limit = if self.reset { timings.dead_after / AFTER_RESET } else { timings.dead_after };
        if failing_for < limit || self.failures < LEAST_FAILURES {
            let pause = FIRST_PAUSE * (1 << (self.failures - 1).min(8));
            return Verdict::Probe(at + pause.min(LONGEST_PAUSE).min(limit / LEAST_FAILURES));
        }
        if self.reset { Verdict::Dead } else { Verdict::Reconnect }
    }

    /// Whether a request may be sent without a probe first.
    pub fn is_trusted(&self, now: Instant, timings: &Timings) -> bool {
        self.heard_within(timings.trust, now)
    }

    /// Whether nothing was heard for so long that a probe is due while requests wait.
    pub fn is_silent(&self, now: Instant, timings: &Timings) -> bool {
        !self.heard_within(timings.probe_after, now)
    }

    fn heard_within(&self, span: Duration, now: Instant) -> bool {
        self.answered_at.is_some_and(|at| now.since(at) < span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant(1_000_000);

    fn healthy() -> Probe {
        let health = r#"{"status":"ok","version":"1","protocol":1,"incarnation":"a","proof":"b"}"#;
        Probe::Healthy(serde_json::from_str(health).unwrap())
    }

    /// Probes for as long as the verdict says so. Returns the last verdict, how long that took, and how many probes.
    fn probe_until_decided(liveness: &mut Liveness, outcome: &Probe) -> (Verdict, Duration, u32) {
        let (mut now, mut probes) = (START, 0);
        loop {
            probes += 1;
            match liveness.probed(outcome, now, &Timings::default()) {
                Verdict::Probe(at) => {
                    assert!(at > now && at.since(now) <= LONGEST_PAUSE);
                    now = at;
                }
                verdict => return (verdict, now.since(START), probes),
            }
        }
    }

    #[test]
    fn failures_for_a_minute_reset_the_object_and_only_then_is_the_agent_dead() {
        for outcome in [Probe::Unreachable, Probe::TimedOut, Probe::WrongAgent] {
            let (verdict, after, probes) = probe_until_decided(&mut Liveness::new(false), &outcome);
            assert_eq!(verdict, Verdict::Reconnect, "{outcome:?}");
            assert!(after >= Duration::from_secs(60) && after < Duration::from_secs(66) && probes > 10, "{after:?} {probes}");
            let (verdict, after, probes) = probe_until_decided(&mut Liveness::new(true), &outcome);
            assert_eq!(verdict, Verdict::Dead, "{outcome:?}");
            assert!(after >= Duration::from_secs(10) && after < Duration::from_secs(16) && probes > 3, "{after:?} {probes}");
        }
    }

    #[test]
    fn any_answer_ends_a_series_of_failures() {
        let timings = Timings::default();
        let mut liveness = Liveness::new(false);
        for second in 0..300 {
            let at = START + Duration::from_secs(second);
            if second % 50 == 49 {
                liveness.answered(at);
                assert!(liveness.is_trusted(at, &timings));
            } else {
                assert!(matches!(liveness.probed(&Probe::Unreachable, at, &timings), Verdict::Probe(_)), "{second}");
                assert!(!liveness.is_trusted(at, &timings));
            }
        }
        assert_eq!(liveness.probed(&healthy(), START, &timings), Verdict::Trust);
    }

    #[test]
    fn two_slow_probes_are_not_enough_evidence() {
        let timings = Timings::default();
        let mut liveness = Liveness::new(true);
        let late = |minutes| START + Duration::from_mins(minutes);
        assert!(matches!(liveness.probed(&Probe::TimedOut, late(0), &timings), Verdict::Probe(_)));
        assert!(matches!(liveness.probed(&Probe::TimedOut, late(5), &timings), Verdict::Probe(_)));
        assert_eq!(liveness.probed(&Probe::TimedOut, late(10), &timings), Verdict::Dead);
    }

    #[test]
    fn trust_ends_with_time_and_with_a_failed_call() {
        let timings = Timings::default();
        let mut liveness = Liveness::new(false);
        assert!(!liveness.is_trusted(START, &timings) && liveness.is_silent(START, &timings));
        liveness.answered(START);
        let later = |seconds| START + Duration::from_secs(seconds);
        assert!(liveness.is_trusted(later(4), &timings) && !liveness.is_trusted(later(5), &timings));
        assert!(!liveness.is_silent(later(9), &timings) && liveness.is_silent(later(10), &timings));
        liveness.answered(later(10));
        liveness.doubt();
        assert!(!liveness.is_trusted(later(10), &timings));
    }
}
