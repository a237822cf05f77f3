//! One request on its way into the trail.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use cabana_protocol::{
    Tenant,
    audit::{Course, Outcome, line},
};

use super::{Audit, chain::Record};
use crate::{Principal, clock::now, lifecycle::Instant, log};

/// What is not over after so long is written down as open.
const MOMENT: Duration = Duration::from_secs(1);

/// Longest operation that is written down, in characters: a caller may ask for whatever it likes.
const MAX_OPERATION: usize = 64;

/// What was asked, and by whom.
pub(crate) struct Asked<'a> {
    pub(crate) principal: &'a Principal,
    /// See [`Access`](cabana_protocol::Access).
    pub(crate) operation: &'a str,
    /// Its name in every hop's logs.
    pub(crate) request_id: &'a str,
    /// When it came.
    pub(crate) at: Instant,
}

/// A request that is under way; clones mean the same one. It is written when it is over, or before that when [`Self::open`] says so.
#[derive(Clone)]
pub(crate) struct Entry(Rc<Request>);

struct Request {
    audit: Rc<Audit>,
    record: RefCell<Record>,
    written: Cell<Written>,
}

/// How far a request is written down.
#[derive(Clone, Copy)]
enum Written {
    Not,
    Open(u64),
    Over,
}

impl Audit {
    /// Enters a request, whether it came over HTTP (by [`Exchange`](super::Exchange)) or as a frame of a socket. The entry is told how it
    /// went on; one that is dropped was cut short by its caller.
    ///
    /// `None` where the sandbox has no `owner`, because there is none, or the caller may not see it: nobody makes another's object write.
    pub(crate) fn enter(self: &Rc<Self>, owner: Option<&Tenant>, asked: &Asked<'_>) -> Option<Entry> {
        let owner = owner.filter(|owner| asked.principal.sees(owner))?;
        let entry = Entry::begin(self, owner, asked);
        self.write_behind.watch(entry.clone());
        Some(entry)
    }
}

impl Entry {
    fn begin(audit: &Rc<Audit>, owner: &Tenant, asked: &Asked<'_>) -> Self {
        let operation: String = asked.operation.chars().take(MAX_OPERATION).collect();
        let record = Record {
            at_ms: asked.at.0,
            owner: owner.as_str().to_owned(),
            principal: line(&asked.principal.id),
            tenant: asked.principal.tenant.as_str().to_owned(),
            operation: line(&operation),
            request_id: line(asked.request_id),
            ..Record::default()
        };
        Self(Rc::new(Request { audit: Rc::clone(audit), record: RefCell::new(record), written: Cell::new(Written::Not) }))
    }

    /// Adds what has become known.
    pub(crate) fn note(&self, status: Option<u16>, summary: Option<String>) {
        let mut record = self.0.record.borrow_mut();
        record.status = status.or(record.status);
        // Whoever answers in the agent's place may say anything.
        record.summary = summary.map(|summary| line(&summary)).or(record.summary.take());
    }

    /// Sets how many bytes went in and out.
    pub(crate) fn count(&self, bytes_in: Option<u64>, bytes_out: Option<u64>) {
        let mut record = self.0.record.borrow_mut();
        record.bytes_in = bytes_in.unwrap_or(record.bytes_in);
        record.bytes_out = bytes_out.unwrap_or(record.bytes_out);
    }

    /// Adds bytes that went in and out.
    pub(crate) fn add(&self, bytes_in: u64, bytes_out: u64) {
        let mut record = self.0.record.borrow_mut();
        record.bytes_in += bytes_in;
        record.bytes_out += bytes_out;
    }

    /// Writes it down although it is not over.
    pub(crate) fn open(&self) {
        if let Written::Not = self.0.written.get()
            && self.0.record.borrow().duration_ms.is_none()
            && let Some(id) = self.0.write(Outcome::OPEN, None)
        {
            self.0.written.set(Written::Open(id));
            self.0.audit.open.borrow_mut().insert(id);
        }
    }

    /// The same when what was sent just now has gone out: the platform holds back what is sent after something was written, until that is safe.
    pub(crate) fn open_deferred(&self) {
        let entry = self.clone();
        self.defer(move || entry.open());
    }

    /// As [`Self::end`], when what was sent just now has gone out.
    pub(crate) fn end_deferred(&self, outcome: Outcome) {
        let entry = self.clone();
        self.stop_clock();
        self.defer(move || entry.end(outcome));
    }

    /// Takes the time that it took, which is written later.
    pub(super) fn stop_clock(&self) {
        self.0.stop_clock();
    }

    /// Does something when what was sent just now has gone out.
    pub(super) fn defer(&self, then: impl FnOnce() + 'static) {
        self.0.audit.write_behind.run(then);
    }

    /// How long it may go on until it is written down as open.
    pub(super) fn moment_left(&self) -> Duration {
        MOMENT.saturating_sub(now().since(Instant(self.0.record.borrow().at_ms)))
    }

    /// It is over. Only the first end counts. One that is dropped without an end was cut short by its caller.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.0.end(outcome);
    }
}

impl Request {
    fn end(&self, outcome: Outcome) {
        let begun = match self.written.replace(Written::Over) {
            Written::Over => return,
            Written::Not => None,
            Written::Open(id) => Some(id),
        };
        self.stop_clock();
        self.write(outcome, begun);
        if let Some(id) = begun {
            self.audit.open.borrow_mut().remove(&id);
        }
    }

    fn stop_clock(&self) {
        let mut record = self.record.borrow_mut();
        let took = now().since(Instant(record.at_ms)).as_millis();
        record.duration_ms = record.duration_ms.or(u64::try_from(took).ok());
    }

    fn write(&self, outcome: Outcome, begun: Option<u64>) -> Option<u64> {
        let record = Record { outcome: outcome.to_string(), begun, ..self.record.borrow().clone() };
        let request_id = record.request_id.clone();
        self.audit.append(record).inspect_err(|error| log::error(Some(&request_id), &error.message)).ok()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.end(Outcome::Taken(Course::Cut));
    }
}
