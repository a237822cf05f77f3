//! Stopping every process of the sandbox at one stroke.
//!
//! Processes that all fork, each in a group of its own, multiply faster than they are found one by one, and leave the agent so little
//! processor time that a look at them takes minutes. kill(2) reaches all processes at once: one that is about to fork sees the signal
//! first. What is stopped can be counted in peace.

use std::{
    collections::HashSet,
    io,
    time::{Duration, Instant},
};

use cabana_protocol::Signal;
use rustix::process::{Pid, getpid};

use super::{
    MARK,
    kill::{Whom, send},
    proc::{self, Entry, generations},
};

/// How long a look at all processes may take. It takes some milliseconds, unless they leave the agent no processor time.
const LOOK: Duration = Duration::from_millis(500);

/// All processes are stopped until this is dropped. SIGKILL ends them all the same.
#[derive(Debug)]
pub(super) struct Freeze {
    /// Those that go on afterwards, in this order; `None` while nobody knows them.
    others: Option<Vec<Pid>>,
}

/// Looks at all processes, with the variable that marks them where `claim` [does not know](proc::read_all_before) whose they are. Freezes them
/// first where that takes too long and the agent [may](Freeze::apply).
pub(super) fn read(claim: &mut dyn FnMut(&Entry) -> bool) -> (io::Result<Vec<Entry>>, Option<Freeze>) {
    if !Freeze::is_possible() {
        return (proc::read_all_before(MARK, None, claim), None);
    }
    match proc::read_all_before(MARK, Some(Instant::now() + LOOK), claim) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            // Which of them were stopped before is not known: those go on, too.
            let frozen = Freeze::apply(&[]).map(|(freeze, all)| (all, Some(freeze)));
            frozen.unwrap_or((Err(error), None))
        }
        all => (all, None),
    }
}

impl Freeze {
    /// The agent owns the processes of its namespace only as the first of them. Elsewhere it would stop others, too.
    fn is_possible() -> bool {
        getpid().is_init()
    }

    /// Stops all that `known` tells of, and what they have started since; those that were stopped before stay so afterwards. `None` where
    /// there are processes that the agent must not touch.
    pub(super) fn apply(known: &[Entry]) -> Option<(Self, io::Result<Vec<Entry>>)> {
        Self::is_possible().then(|| {
            send(Whom::All, Signal::STOP);
            let stopped = known.iter().filter(|entry| entry.stopped).map(|entry| entry.pid).collect();
            let all = proc::read_all(MARK);
            let others = all.as_ref().ok().map(|all| thawed(all, &stopped));
            (Self { others }, all)
        })
    }

    /// These are killed, and need not go on.
    pub(super) fn leave_out(&mut self, killed: &HashSet<Pid>) {
        self.others.iter_mut().for_each(|others| others.retain(|pid| !killed.contains(pid)));
    }
}

impl Drop for Freeze {
    fn drop(&mut self) {
        match &self.others {
            Some(others) => others.iter().for_each(|pid| send(Whom::Process(*pid), Signal::CONT)),
            None => send(Whom::All, Signal::CONT),
        }
    }
}

/// Who goes on, children before their parents: a shell that waits for its job does not see it stopped.
fn thawed(all: &[Entry], stopped: &HashSet<i32>) -> Vec<Pid> {
    let generations = generations(all);
    let mut pids: Vec<i32> = all.iter().map(|entry| entry.pid).filter(|pid| !stopped.contains(pid)).collect();
    pids.sort_by_key(|pid| std::cmp::Reverse(generations.get(pid)));
    pids.into_iter().filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::proc::Variable, *};

    #[test]
    fn nothing_is_frozen_by_an_agent_that_is_not_the_first_process() {
        // This test is not, either.
        assert!(Freeze::apply(&[]).is_none());
        let (all, freeze) = read(&mut |_| false);
        assert!(!all.unwrap().is_empty() && freeze.is_none());
    }

    #[test]
    fn children_go_on_before_their_parents_and_the_stopped_stay() {
        let entry =
            |pid, parent| Entry { pid, parent, group: pid, session: pid, stopped: false, started: 0, variable: Variable::Unset };
        let all = [entry(1, 0), entry(10, 1), entry(12, 11), entry(11, 10), entry(20, 1)];
        let order: Vec<_> = thawed(&all, &HashSet::from([20])).into_iter().map(|pid| pid.as_raw_nonzero().get()).collect();
        assert_eq!(order, [12, 11, 10, 1]);
    }
}
