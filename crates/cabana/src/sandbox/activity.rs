//! What keeps a sandbox awake.

use std::rc::Rc;

use cabana_protocol::Error;

use super::{life::Life, now, record::Record};
use crate::lifecycle::{Instant, Lifecycle};

/// How old a use must be before it is stored, as a part of the time after which the sandbox sleeps. The agent knows of its operations
/// without that.
const USE_IS_STORED_AFTER: u32 = 10;

/// Something that keeps the sandbox awake, until it is dropped.
pub(super) struct Busy(Rc<Life>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.note(self.0.used(Lifecycle::over));
    }
}

impl Life {
    /// Keeps the sandbox awake until the guard is dropped. Previews and sockets hold one as well as operations.
    pub(super) fn begin(self: &Rc<Self>) -> Busy {
        self.note(self.used(Lifecycle::begin));
        Busy(Rc::clone(self))
    }

    /// Counts a use that begins or is over. It is stored now and then only: a request is not to cost a write.
    fn used(&self, change: impl FnOnce(&mut Lifecycle, Instant)) -> Result<(), Error> {
        let mut slot = self.record.borrow_mut();
        let Some(record) = slot.as_mut() else { return Ok(()) };
        change(&mut record.lifecycle, now());
        self.store_use(record)
    }

    /// Stores when the sandbox was last used, if what is stored of that is too old.
    pub(super) fn store_use(&self, record: &Record) -> Result<(), Error> {
        let lifecycle = &record.lifecycle;
        if lifecycle.active_at.since(self.use_stored.get()) < lifecycle.sleep_after(&self.rules) / USE_IS_STORED_AFTER {
            return Ok(());
        }
        self.use_stored.set(lifecycle.active_at);
        self.records.save(record)
    }
}
