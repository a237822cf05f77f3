//! What sockets may hold in memory. The memory is the isolate's, and the platform may run many objects in one isolate: so they share one
//! budget, and each knows its share.
//!
//! The platform reads clients' sockets whether or not the object has dealt with what it read before, so inputs cannot be held back: what
//! there is no room for is refused.

use std::{cell::Cell, rc::Rc};

/// Bytes of everything that waits, whichever way it goes. An isolate has 128 MB.
const ALL_BYTES: usize = 80 << 20;

/// Of these, bytes that wait for clients to take them.
const OUTPUT_BYTES: usize = 48 << 20;

/// Bytes of inputs for which each object has room, whatever the others hold.
const OWN_BYTES: usize = 64 << 10;

thread_local! {
    static ISOLATE: Budget = Budget::default();
}

/// The budget of one isolate.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget {
    outputs: Rc<Pool>,
    inputs: Rc<Pool>,
}

/// Bytes that all who have a share of them hold together.
#[derive(Debug, Default)]
struct Pool {
    bytes: Cell<usize>,
    /// How many shares are not empty.
    holders: Cell<usize>,
}

/// The part of a budget that one object holds. What is dropped holds nothing.
#[derive(Debug)]
struct Share {
    pool: Rc<Pool>,
    bytes: usize,
}

/// Bytes that wait for an object's clients to take them.
#[derive(Debug)]
pub(super) struct Outputs(Share);

/// Bytes of inputs that wait for an object's agent to take them.
#[derive(Debug)]
pub(super) struct Inputs {
    share: Share,
    outputs: Rc<Pool>,
}

impl Budget {
    /// That of the isolate that this runs in.
    pub(super) fn of_isolate() -> Self {
        ISOLATE.with(Clone::clone)
    }

    pub(super) fn outputs(&self) -> Outputs {
        Outputs(Share { pool: Rc::clone(&self.outputs), bytes: 0 })
    }

    pub(super) fn inputs(&self) -> Inputs {
        Inputs { share: Share { pool: Rc::clone(&self.inputs), bytes: 0 }, outputs: Rc::clone(&self.outputs) }
    }

    /// What all hold.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.outputs.bytes.get() + self.inputs.bytes.get()
    }
}

impl Share {
    fn set(&mut self, bytes: usize) {
        let holders = self.pool.holders.get() + usize::from(bytes > 0) - usize::from(self.bytes > 0);
        self.pool.holders.set(holders);
        self.pool.bytes.set(self.pool.bytes.get() - self.bytes + bytes);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Outputs {
    /// How many bytes all may hold.
    #[cfg(test)]
    pub(super) const LIMIT: usize = OUTPUT_BYTES;

    /// Holds `after` where it held `before`.
    pub(super) fn replace(&mut self, before: u32, after: u32) {
        self.0.set(self.0.bytes - before as usize + after as usize);
    }

    /// Whether all hold too much, and this object no less than falls to each. Of those who hold too much together, one at least does.
    pub(super) fn is_excessive(&self) -> bool {
        let (all, holders) = (self.0.pool.bytes.get(), self.0.pool.holders.get());
        all > OUTPUT_BYTES && self.0.bytes.saturating_mul(holders) >= all
    }
}

impl Inputs {
    /// How many bytes all may hold.
    pub(super) const LIMIT: usize = ALL_BYTES;

    /// Holds so many bytes from now on.
    pub(super) fn set(&mut self, bytes: usize) {
        self.share.set(bytes);
    }

    /// Holds so many bytes more.
    pub(super) fn add(&mut self, bytes: usize) {
        self.share.set(self.share.bytes + bytes);
    }

    /// Whether there is room for so many bytes.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let all = self.share.pool.bytes.get() + self.outputs.bytes.get();
        self.share.bytes + bytes <= OWN_BYTES || all.saturating_add(bytes) <= ALL_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_have_the_room_that_nothing_else_takes() {
        let budget = Budget::default();
        let (mut outputs, mut one, mut other) = (budget.outputs(), budget.inputs(), budget.inputs());
        assert!(one.has_room(ALL_BYTES) && !one.has_room(ALL_BYTES + 1));
        one.add(ALL_BYTES - (1 << 20));
        assert!(other.has_room(1 << 20) && !other.has_room((1 << 20) + 1));
        outputs.replace(0, 1 << 20);
        assert!(!one.has_room(1) && other.has_room(OWN_BYTES) && !other.has_room(OWN_BYTES + 1), "each has a little of its own");
        other.add(OWN_BYTES);
        assert!(!other.has_room(1));
        outputs.replace(1 << 20, 0);
        assert!(one.has_room(1 << 19));
        drop(one);
        assert!(other.has_room(ALL_BYTES - OWN_BYTES));
        other.set(0);
        assert_eq!((budget.bytes(), budget.inputs.holders.get()), (0, 0));
    }

    #[test]
    fn of_those_who_hold_too_much_together_the_largest_is_excessive() {
        let budget = Budget::default();
        let part = OUTPUT_BYTES as u32 / 10;
        let mut shares: Vec<_> = (0..10).map(|_| budget.outputs()).collect();
        shares.iter_mut().for_each(|share| share.replace(0, part));
        assert!(!shares.iter().any(Outputs::is_excessive));
        shares[3].replace(part, part + 100);
        let excessive: Vec<_> = shares.iter().map(Outputs::is_excessive).collect();
        assert_eq!(excessive.iter().filter(|excessive| **excessive).count(), 1);
        assert!(excessive[3]);
        shares[3].replace(part + 100, part);
        shares.iter_mut().for_each(|share| share.replace(part, part + 1));
        assert!(shares.iter().all(Outputs::is_excessive));
    }
}
