//! How far clients are behind: the reckoning, which is pure, and the timer that looks at those that are, while there are any.
//!
//! The runtime queues what is sent to a socket, however much, and says how much of it is still there (`bufferedAmount`). So the agent
//! is told that frames were taken when the queue is short, and sends no more than its window beyond that
//! ([`cabana_protocol::link`]). The client needs to do nothing for it but read.

use std::{cmp::Reverse, collections::HashMap, rc::Rc, time::Duration};

use cabana_protocol::link::{LEAST_BYTES, OWED_BYTES};
use worker::Delay;

use super::{
    Gateway,
    budget::{Budget, Outputs},
};

/// Bytes in a client's queue up to which it has taken, as far as we are concerned, all it was sent.
const SHORT: u32 = 64 << 10;

/// A client that takes nothing for so long, while something waits for it, is taken for dead. The largest frame passes in that time at
/// 40 kB/s.
const STALLED: Duration = Duration::from_secs(300);

/// Bytes that a character of a JavaScript string may take. What is not ASCII counts for too much, which does no harm.
const CHARACTER: usize = 3;

/// How often clients that are behind are looked at: at first, and at most, each pause being twice the one before.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(250);

/// The frames of all clients on their way from the agent, by the clients' numbers.
///
/// A client's window alone is no bound for as many clients as there may be, of as many objects as share the isolate.
#[derive(Debug)]
pub(super) struct Flows {
    flows: HashMap<u64, Flow>,
    /// Bytes in all queues, as far as is known: those that nobody has looked at for a while may be shorter.
    queued: Outputs,
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
    pub(super) fn new(budget: &Budget) -> Self {
        Self { flows: HashMap::new(), queued: budget.outputs() }
    }

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
        let queue = self.flows.remove(&client).map_or(0, |flow| flow.queue);
        self.queued.replace(queue, 0);
    }

    /// Whom to give up, because all queues of the isolate together are too long, and these no shorter than those of other objects: who has taken nothing for the longest time, and of those, who has the most to take.
    pub(super) fn slowest_over_budget(&self) -> Option<u64> {
        if !self.queued.is_excessive() {
            return None;
        }
        let worst = self.flows.iter().max_by_key(|(client, flow)| (flow.still, flow.queue, Reverse(**client)));
        worst.map(|(client, _)| *client)
    }

    fn change<T>(&mut self, client: u64, change: impl FnOnce(&mut Flow) -> T) -> T {
        let flow = self.flows.entry(client).or_default();
        let before = flow.queue;
        let outcome = change(flow);
        let after = flow.queue;
        self.queued.replace(before, after);
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

impl Gateway {
    /// Sees to it that a client that is behind is looked at until it has caught up.
    pub(super) fn watch_slow(self: &Rc<Self>, client: u64) {
        let mut behind = self.behind.borrow_mut();
        if behind.contains(&client) {
            return;
        }
        behind.push(client);
        if behind.len() == 1 {
            let gateway = Rc::clone(self);
            self.state().wait_until(async move { gateway.poll_slow_clients().await });
        }
    }

    /// Gives clients up where all together have more in their queues than the object bears.
    pub(super) fn shed(self: &Rc<Self>) {
        if self.flows.borrow().slowest_over_budget().is_none() {
            return;
        }
        // What is known of those that are not behind may be old.
        for client in self.clients.borrow().values() {
            self.flows.borrow_mut().note(client.number, client.queue());
        }
        loop {
            let excess = self.flows.borrow().slowest_over_budget();
            let Some(client) = excess.and_then(|number| self.clients.borrow().get(&number).cloned()) else { return };
            self.give_up(&client);
        }
    }

    async fn poll_slow_clients(self: Rc<Self>) {
        let mut pause = FIRST_LOOK;
        while !self.behind.borrow().is_empty() {
            Delay::from(pause).await;
            let before = self.behind.borrow().clone();
            let still: Vec<_> = before.iter().copied().filter(|&client| self.is_behind(client, pause)).collect();
            let progress = still.len() < before.len();
            // Others may have fallen behind meanwhile; they come after those that were looked at.
            self.behind.borrow_mut().splice(..before.len(), still);
            // Another object may have filled what they share.
            self.shed();
            pause = if progress { FIRST_LOOK } else { (pause * 2).min(LAST_LOOK) };
        }
    }

    fn is_behind(self: &Rc<Self>, number: u64, pause: Duration) -> bool {
        let Some(client) = self.clients.borrow().get(&number).cloned() else { return false };
        // Nobody asks what was taken of a link that is closed.
        if self.link.borrow().current().is_none() {
            self.flows.borrow_mut().restart(number);
            return false;
        }
        let look = self.flows.borrow_mut().look(number, client.queue(), pause);
        match look {
            Look::Taken(frames) => self.link.borrow().taken(number, frames),
            Look::Behind => return true,
            Look::Stalled => self.give_up(&client),
        }
        false
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
        let budget = Budget::default();
        let mut flows = Flows::new(&budget);
        let (frame, clients) = (Outputs::LIMIT as u32 / 100, 100);
        for client in 0..clients {
            flows.sent(client, frame, 0);
        }
        assert_eq!(flows.slowest_over_budget(), None);
        // One has taken something, one has not for a while, and one has gone on being sent.
        flows.look(1, frame - 1_000, Duration::from_secs(1));
        flows.look(2, frame, Duration::from_secs(1));
        flows.sent(3, 2_000, frame);
        assert_eq!(flows.slowest_over_budget(), Some(2));
        flows.forget(2);
        assert_eq!(flows.slowest_over_budget(), None);
        flows.sent(4, frame, frame);
        assert_eq!(flows.slowest_over_budget(), Some(4), "else the longest");
        flows.note(4, 0);
        assert_eq!(flows.slowest_over_budget(), None);
        (0..clients).for_each(|client| flows.forget(client));
        assert_eq!((budget.bytes(), flows.flows.len()), (0, 0));
    }

    /// A hundred objects of one isolate, each with clients that do not read: what the agents' windows let through.
    #[test]
    fn the_objects_of_an_isolate_together_hold_no_more_than_it_bears() {
        const WINDOW: u32 = cabana_protocol::link::WINDOW_BYTES as u32;
        let budget = Budget::default();
        let mut objects: Vec<_> = (0..100).map(|_| Flows::new(&budget)).collect();
        let (mut closed, mut most) = (vec![0; objects.len()], 0);
        for client in 0..20 {
            for (number, flows) in objects.iter_mut().enumerate() {
                // The first has four times as many clients as the others.
                for client in (client..80).step_by(20).take(if number == 0 { 4 } else { 1 }) {
                    flows.sent(client, WINDOW, 0);
                }
                most = most.max(budget.bytes());
                while let Some(slowest) = flows.slowest_over_budget() {
                    flows.forget(slowest);
                    closed[number] += 1;
                }
            }
            // The timer that looks at clients that are behind does so, too.
            for (number, flows) in objects.iter_mut().enumerate() {
                while let Some(slowest) = flows.slowest_over_budget() {
                    flows.forget(slowest);
                    closed[number] += 1;
                }
            }
            assert!(budget.bytes() <= Outputs::LIMIT);
        }
        assert!(most <= 100_000_000, "{most}");
        let left: usize = objects.iter().map(|flows| flows.flows.len()).sum();
        assert!(left as u32 * WINDOW + WINDOW * 100 > Outputs::LIMIT as u32, "no more are closed than need be: {left}");
        assert!(closed[0] > closed[1..].iter().copied().max().unwrap_or_default(), "{closed:?}");
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
