//! How far a client is behind. Pure.
//!
//! The runtime queues what is sent to a socket, however much, and says how much of it is still there (`bufferedAmount`). So the agent
//! is told that frames were taken when the queue is short, and sends no more than its window beyond that
//! ([`cabana_protocol::link`]). The client needs to do nothing for it but read.

use std::time::Duration;

use cabana_protocol::link::{LEAST_BYTES, OWED_BYTES};

/// Bytes in a client's queue up to which it has taken, as far as we are concerned, all it was sent.
const SHORT: u32 = 64 << 10;

/// A client that takes nothing for so long, while something waits for it, is taken for dead. The largest frame passes in that time at
/// 40 kB/s.
const STALLED: Duration = Duration::from_secs(300);

/// Bytes that a character of a JavaScript string may take. What is not ASCII counts for too much, which does no harm.
const CHARACTER: usize = 3;

/// The frames of one client on their way from the agent.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Sent, and not reported as taken.
    frames: u64,
    /// The same in bytes, or more.
    bytes: usize,
    /// The queue when it was last looked at, and how long it has not become shorter.
    queue: u32,
    still: Duration,
}

/// What to do about a client that was behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It has caught up: so many frames were taken.
    Taken(u64),
    /// Look again.
    Behind,
    /// Give it up.
    Stalled,
}

impl Flow {
    /// Counts a frame of so many characters, sent while so much was in the queue.
    ///
    /// Returns how many frames to report as taken: none where that is not worth a message, `None` where the client is behind.
    pub(super) fn sent(&mut self, characters: u32, queue: u32) -> Option<u64> {
        self.frames += 1;
        self.bytes += (characters as usize * CHARACTER).max(LEAST_BYTES);
        match queue {
            _ if self.bytes < OWED_BYTES => Some(0),
            0..=SHORT => Some(self.take()),
            _ => None,
        }
    }

    /// Looks at a client that was behind, some time after the last look.
    pub(super) fn look(&mut self, queue: u32, elapsed: Duration) -> Look {
        if queue <= SHORT {
            return Look::Taken(self.take());
        }
        self.still = if queue == self.queue { self.still + elapsed } else { Duration::ZERO };
        self.queue = queue;
        if self.still >= STALLED { Look::Stalled } else { Look::Behind }
    }

    fn take(&mut self) -> u64 {
        let frames = self.frames;
        *self = Self::default();
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u32 = 64 << 10;

    #[test]
    fn a_client_that_reads_is_reported_now_and_then() {
        let mut flow = Flow::default();
        let reports: Vec<_> = (0..200).filter_map(|_| flow.sent(10, 0)).collect();
        assert_eq!(reports.iter().sum::<u64>(), 192, "{reports:?}");
        assert_eq!(reports.iter().filter(|frames| **frames > 0).count(), 3);
        assert_eq!(flow.sent(LARGE, 0), Some(9));
    }

    #[test]
    fn a_client_behind_is_reported_when_it_has_caught_up() {
        let mut flow = Flow::default();
        assert_eq!((flow.sent(LARGE, SHORT + 1), flow.sent(LARGE, SHORT + 1)), (None, None));
        assert_eq!(flow.look(SHORT + 1, Duration::ZERO), Look::Behind);
        assert_eq!(flow.look(SHORT, Duration::ZERO), Look::Taken(2));
        assert_eq!(flow.sent(10, 0), Some(0));
    }

    #[test]
    fn only_one_that_takes_nothing_is_given_up() {
        let mut flow = Flow::default();
        let half = STALLED / 2;
        assert_eq!(flow.look(900_000, half), Look::Behind);
        assert_eq!(flow.look(900_000, half), Look::Behind);
        assert_eq!(flow.look(899_999, half), Look::Behind);
        assert_eq!(flow.look(899_999, half), Look::Behind);
        assert_eq!(flow.look(899_999, half), Look::Stalled);
    }

    #[test]
    fn what_is_owed_is_never_less_than_the_agent_counts() {
        let mut flow = Flow::default();
        // A frame of three bytes a character, as the agent counts it.
        let (characters, bytes) = (7_000, 21_000);
        let mut owed = 0;
        for _ in 0..100 {
            owed += cabana_protocol::link::cost(bytes);
            if flow.sent(characters, 0) > Some(0) {
                owed = 0;
            }
            assert!(owed < OWED_BYTES);
        }
    }
}
