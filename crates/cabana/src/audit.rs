//! The audit trail: one entry for everything that is asked of the sandbox, in the object's own SQLite.
//!
//! Entries are written after the answer has gone out, those of some time together ([`write_behind`]): the platform holds an answer back until what
//! was written before it is safe. What is not over within a moment is noted as open before it is; so an object that goes away
//! meanwhile leaves a trace of it.
//!
//! The trail outlives the sandbox: who destroys one does not take its history away. It ends by age and count, `CABANA_AUDIT_DAYS` and
//! `CABANA_AUDIT_ROWS`.

pub(crate) mod chain;
mod counters;
mod entry;
mod exchange;
mod meter;
mod query;
mod store;
mod write_behind;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};

use cabana_protocol::{
    Error,
    audit::{AuditPage, AuditVerification},
};
use worker::Storage;

pub(crate) use self::{
    chain::Link,
    entry::{Asked, Entry},
    exchange::Exchange,
    query::{list, refusal, verify},
};
use self::{
    chain::{Check, Record},
    counters::Counters,
    query::Query,
    store::Store,
    write_behind::WriteBehind,
};
use crate::{Principal, clock::now, lifecycle::Instant};

/// After so many records the counters are stored, and what is too much or too old is forgotten.
const TIDY_EVERY: u64 = 100;

/// An idle sandbox is not woken for every record that has become too old.
const TRIM_PAUSE: Duration = Duration::from_secs(24 * 3_600);

/// How much of the trail is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// How long.
    pub(crate) age: Duration,
    /// How many records.
    pub(crate) records: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_secs(30 * 24 * 3_600), records: 100_000 }
    }
}

/// The trail of one sandbox.
pub(crate) struct Audit {
    store: Store,
    retention: Retention,
    /// `None` until it is needed.
    trail: RefCell<Option<Trail>>,
    /// The entries of this object's time in memory that are under way.
    open: RefCell<BTreeSet<u64>>,
    /// Whether tables were looked for, and not found.
    absent: Cell<bool>,
    write_behind: Rc<WriteBehind>,
}

/// What is known of the trail without reading it.
struct Trail {
    head: Link,
    /// The number of the last record that was forgotten.
    forgotten: u64,
    /// When the oldest and the newest came.
    span: Option<(Instant, Instant)>,
    counters: Counters,
    /// The last record that the stored counters count.
    stored: u64,
}

impl Audit {
    pub(crate) fn new(storage: Storage, retention: Retention) -> Rc<Self> {
        Rc::new(Self {
            store: Store::new(storage),
            retention,
            trail: RefCell::default(),
            open: RefCell::default(),
            absent: Cell::default(),
            write_behind: Rc::default(),
        })
    }

    /// Writes what is to be written, for whoever is about to look.
    pub(crate) fn catch_up(&self) {
        self.write_behind.catch_up();
    }

    /// Whether there is anything that the caller may see.
    pub(crate) fn shows(&self, principal: &Principal) -> Result<bool, Error> {
        Ok(self.read(|_| ())?.is_some() && self.store.shows(principal)?)
    }

    /// A page of what the caller may see.
    fn page(&self, query: &Query, principal: &Principal) -> Result<AuditPage, Error> {
        if self.read(|_| ())?.is_none() {
            return Ok(AuditPage::default());
        }
        let open: Vec<_> = self.open.borrow().iter().copied().collect();
        self.store.page(query, principal, &open)
    }

    /// Checks a page of the chain, see [`Store::verify`].
    fn verify(&self, from: Option<Link>, noted: Option<Link>) -> Result<AuditVerification, Error> {
        let head = self.head()?;
        if self.read(|_| ())?.is_none() {
            return Ok(Check::after(Link::default(), noted).finish(&head));
        }
        // What is noted is older than this.
        let forgotten = self.read(|trail| trail.forgotten)?.unwrap_or_default();
        self.store.verify(from, noted.filter(|noted| noted.id > forgotten), &head)
    }

    /// The link of the newest record.
    pub(crate) fn head(&self) -> Result<Link, Error> {
        Ok(self.read(|trail| trail.head.clone())?.unwrap_or_default())
    }

    /// What was counted.
    pub(crate) fn counters(&self) -> Result<Counters, Error> {
        Ok(self.read(|trail| trail.counters.clone())?.unwrap_or_default())
    }

    /// How many requests are under way, of those that take longer than a moment.
    pub(crate) fn open_count(&self) -> u64 {
        self.open.borrow().len() as u64
    }

    /// When something of the trail is to be forgotten.
    pub(crate) fn deadline(&self, has_sandbox: bool) -> Option<Instant> {
        let (oldest, newest) = self.read(|trail| trail.span).ok().flatten().flatten()?;
        Some(if has_sandbox { oldest + self.retention.age + TRIM_PAUSE } else { newest + self.retention.age })
    }

    /// Forgets what is too old. True where nothing is left.
    pub(crate) fn trim(&self) -> Result<bool, Error> {
        let mut slot = self.trail.borrow_mut();
        if let Some(trail) = slot.as_mut() {
            self.tidy(trail)?;
        }
        Ok(slot.as_ref().is_none_or(|trail| trail.span.is_none()))
    }

    /// The storage was wiped.
    pub(crate) fn forget(&self) {
        self.trail.replace(None);
        self.absent.set(true);
    }

    /// Whether there is a trail to keep.
    pub(crate) fn is_kept(&self) -> Result<bool, Error> {
        Ok(self.read(|trail| trail.span.is_some())?.unwrap_or(false))
    }

    /// Writes a record, whose number this decides.
    fn append(&self, mut record: Record) -> Result<u64, Error> {
        let mut slot = self.trail.borrow_mut();
        let trail = match slot.as_mut() {
            Some(trail) => trail,
            None => {
                self.store.make()?;
                self.absent.set(false);
                slot.insert(self.load()?)
            }
        };
        record.id = trail.head.id + 1;
        let link = trail.head.next(&record);
        self.store.append(&record, &link.hash)?;
        trail.head = link;
        trail.counters.count(&record);
        let at = Instant(record.at_ms);
        trail.span = Some(trail.span.map_or((at, at), |(oldest, newest)| (oldest, newest.max(at))));
        if record.id - trail.stored >= TIDY_EVERY {
            self.tidy(trail)?;
        }
        Ok(record.id)
    }

    /// Looks at the trail, if there is one.
    fn read<T>(&self, look: impl FnOnce(&Trail) -> T) -> Result<Option<T>, Error> {
        let mut slot = self.trail.borrow_mut();
        if slot.is_none() && !self.absent.get() {
            if self.store.exists()? {
                *slot = Some(self.load()?);
            } else {
                self.absent.set(true);
            }
        }
        Ok(slot.as_ref().map(look))
    }

    fn load(&self) -> Result<Trail, Error> {
        let (counters, stored) = self.store.counters()?;
        let span = self.store.span()?;
        Ok(Trail { head: self.store.head()?, forgotten: self.store.anchor()?.id, span, counters, stored })
    }

    /// Stores the counters, and then forgets records that they have counted.
    fn tidy(&self, trail: &mut Trail) -> Result<(), Error> {
        self.store.save_counters(&trail.counters)?;
        trail.stored = trail.head.id;
        let too_many = trail.head.id.saturating_sub(self.retention.records);
        let oldest = now().0.saturating_sub(u64::try_from(self.retention.age.as_millis()).unwrap_or(u64::MAX));
        let too_old = self.store.last_before(oldest, &trail.head)?;
        let through = too_many.max(too_old);
        if through > trail.forgotten {
            self.store.trim(through)?;
            trail.forgotten = through;
            trail.span = self.store.span()?;
        }
        Ok(())
    }
}
