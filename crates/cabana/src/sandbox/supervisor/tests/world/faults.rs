//! What goes wrong in the world, and what the object must not make of it.

use std::time::Duration;

use super::{Ask, World};
use crate::fault::Exit;

/// How long a container may have been within reach when it is given up: what was found before is judged then.
const HEALTHY: Duration = Duration::from_secs(12);

/// What goes wrong, until it is taken back.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Faults {
    /// Connections to the container fail: at once, or by saying nothing.
    pub(in super::super) refused: bool,
    pub(in super::super) stalled: bool,
    /// So many starts end at once, with these words of the platform.
    pub(in super::super) lacking: Option<(usize, String)>,
    /// So many starts are carried out while the platform says that they came to nothing, with these words, until the object is loaded again.
    pub(in super::super) lies: Option<(usize, String)>,
    /// A container's agent answers so long after its start.
    pub(in super::super) slow: Duration,
    /// One connection in so many fails; 0: none.
    pub(in super::super) dropped: usize,
    /// Calls to end a container are not answered.
    pub(in super::super) endless: bool,
    /// Snapshots fail, or take so long.
    pub(in super::super) unsavable: bool,
    pub(in super::super) snapshot_takes: Duration,
    /// Calls to set network rules are not answered.
    pub(in super::super) unruled: bool,
    /// The agent is of another version.
    pub(in super::super) older: bool,
}

impl World {
    pub(in super::super) fn fault(&self, change: impl FnOnce(&mut Faults)) {
        let mut faults = self.faults.borrow_mut();
        if faults.refused || faults.stalled {
            self.unreachable_until.set(self.now());
        }
        change(&mut faults);
    }

    /// No fault is left: a container that is slow to start is there, and one that was asked to end has ended.
    pub(in super::super) fn calm(&self) {
        self.fault(|faults| *faults = Faults::default());
        let terminated = self.terminated.take();
        if terminated.is_some() && terminated == self.secret() {
            self.end_container(Exit::Evicted);
        }
        if let Some(running) = self.container.borrow_mut().as_mut() {
            running.ready_at = running.ready_at.min(self.now());
        }
    }

    /// How much the object has under way.
    pub(in super::super) fn under_way(&self) -> usize {
        self.tasks.borrow().len() + self.fresh.borrow().len()
    }

    /// A stop or a destroy was answered, or never will be.
    pub(super) fn answered_end(&self, ask: Ask) {
        if matches!(ask, Ask::Stop | Ask::Destroy) {
            self.ends_asked.set(self.ends_asked.get() - 1);
        }
    }

    /// Notes that the object ends, or replaces, a container that could be reached for a while and that nobody wants to end.
    pub(super) fn check_cut(&self, how: &str) {
        let faults = self.faults.borrow();
        let Some(ready_at) = self.container.borrow().as_ref().map(|running| running.ready_at) else { return };
        let healthy_for = self.now().since(self.unreachable_until.get().max(ready_at));
        if !(self.end_asked.get() || faults.refused || faults.stalled || ready_at > self.now()) && healthy_for > HEALTHY {
            self.violations.borrow_mut().push(format!("a container that has been healthy for {healthy_for:?} was {how}"));
        }
        // Once it was given up, nobody wants it any more.
        self.end_asked.set(true);
    }

    /// Whether a connection to the agent of this secret comes about.
    pub(super) fn reaches(&self, secret: &str) -> bool {
        let faults = self.faults.borrow();
        let container = self.container.borrow();
        let ready = container.as_ref().is_some_and(|running| running.secret == secret && running.ready_at <= self.now());
        let connection = self.connections.replace(self.connections.get() + 1);
        let dropped = faults.dropped > 0 && connection.is_multiple_of(faults.dropped + 1);
        ready && !faults.refused && !faults.stalled && !dropped
    }
}
