//! How far clients are behind. Pure.
//!
//! The runtime queues what is sent to a socket, however much, and says how much of it is still there (`bufferedAmount`). So the agent
//! is told that frames were taken when the queue is short, and sends no more than its window beyond that
//! ([`cabana_protocol::link`]). The client needs to do nothing for it but read.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use cabana_protocol::link::{LEAST_BYTES, OWED_BYTES};

/// Bytes in a client's queue up to which it has taken, as far as we are concerned, all it was sent.
const SHORT: u32 = 64 << 10;

/// A client that takes nothing for so long, while something waits for it, is taken for dead. The largest frame passes in that time at
/// 40 kB/s.
const STALLED: Duration = Duration::from_secs(300);

/// Bytes in the queues of all clients together. An object has 128 MB for everything, and a client's window alone is no bound for as many
/// clients as there may be.
const MOST_BYTES: usize = 48 << 20;

/// Bytes that a character of a JavaScript string may take. What is not ASCII counts for too much, which does no harm.
const CHARACTER: usize = 3;

/// The frames of all clients on their way from the agent, by the clients' numbers.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: HashMap<u64, Flow>,
    /// Bytes in all queues, as far as is known: those that nobody has looked at for a while may be shorter.
    bytes: usize,
}

/// Those of one client.
#[derive(Debug, Default)]
struct Flow {
    /// Sent, and not reported as taken.
    frames: u64,
    /// The same in bytes, or more.
    bytes: usize,
    /// The queue as it was last known, and how long it has not become shorter.
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

impl Flows {
    /// Counts a frame of so many characters, sent to a client while so much was in its queue.
    ///
    /// Returns how many frames to report as taken: none where that is not worth a message, `None` where the client is behind.
    pub(super) fn sent(&mut self, client: u64, characters: u32, queue: u32) -> Option<u64> {
        self.change(client, |flow| flow.sent(characters, queue))
    }

    /// Looks at a client that was behind, some time after the last look.
    pub(super) fn look(&mut self, client: u64, queue: u32, elapsed: Duration) -> Look {
        self.change(client, |flow| flow.look(queue, elapsed))
    }

    /// Notes how long a client's queue is.
    pub(super) fn note(&mut self, client: u64, queue: u32) {
        self.change(client, |flow| flow.queue = queue);
    }

    /// The link that a client's frames came over is closed: nobody asks any more what was taken of them.
    pub(super) fn restart(&mut self, client: u64) {
        self.change(client, Flow::take);
    }

    /// Forgets a client, and what it has not taken.
    pub(super) fn forget(&mut self, client: u64) {
        self.bytes -= self.flows.remove(&client).map_or(0, |flow| flow.queue as usize);
    }

    /// Whom to give up, because all queues together are too long: who has taken nothing for the longest time, and of those, who has the most to take.
    pub(super) fn excess(&self) -> Option<u64> {
        if self.bytes <= MOST_BYTES {
            return None;
        }
        let worst = self.flows.iter().max_by_key(|(client, flow)| (flow.still, flow.queue, Reverse(**client)));
        worst.map(|(client, _)| *client)
    }

    fn change<T>(&mut self, client: u64, change: impl FnOnce(&mut Flow) -> T) -> T {
        let flow = self.flows.entry(client).or_default();
        self.bytes -= flow.queue as usize;
        let outcome = change(flow);
        self.bytes += flow.queue as usize;
        outcome
    }
}

impl Flow {
    fn sent(&mut self, characters: u32, queue: u32) -> Option<u64> {
        self.frames += 1;
        self.bytes += (characters as usize * CHARACTER).max(LEAST_BYTES);
        self.queue = queue.saturating_add(characters);
        match queue {
            _ if self.bytes < OWED_BYTES => Some(0),
            0..=SHORT => Some(self.take()),
            _ => None,
        }
    }

    fn look(&mut self, queue: u32, elapsed: Duration) -> Look {
        self.still = if queue < self.queue { Duration::ZERO } else { self.still + elapsed };
        self.queue = queue;
        if queue <= SHORT {
            return Look::Taken(self.take());
        }
        if self.still >= STALLED { Look::Stalled } else { Look::Behind }
    }

    fn take(&mut self) -> u64 {
        let frames = self.frames;
        *self = Self { queue: self.queue, ..Self::default() };
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
        assert_eq!(flow.sent(900_000, 0), Some(1));
        assert_eq!(flow.look(900_000, half), Look::Behind);
        assert_eq!(flow.look(899_999, half), Look::Behind);
        assert_eq!(flow.look(899_999, half), Look::Behind);
        assert_eq!(flow.look(899_999, half), Look::Stalled);
    }

    #[test]
    fn together_clients_hold_no_more_than_an_object_bears() {
        let mut flows = Flows::default();
        let (frame, clients) = (MOST_BYTES as u32 / 100, 100);
        for client in 0..clients {
            flows.sent(client, frame, 0);
        }
        assert_eq!(flows.excess(), None);
        // One has taken something, one has not for a while, and one has gone on being sent.
        flows.look(1, frame - 1_000, Duration::from_secs(1));
        flows.look(2, frame, Duration::from_secs(1));
        flows.sent(3, 2_000, frame);
        assert_eq!(flows.excess(), Some(2));
        flows.forget(2);
        assert_eq!(flows.excess(), None);
        flows.sent(4, frame, frame);
        assert_eq!(flows.excess(), Some(4), "else the longest");
        flows.note(4, 0);
        assert_eq!(flows.excess(), None);
        (0..clients).for_each(|client| flows.forget(client));
        assert_eq!((flows.bytes, flows.flows.len()), (0, 0));
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
