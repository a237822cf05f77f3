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

use worker::{Delay, wasm_bindgen_futures::spawn_local};

use super::{Audit, chain::Record};
use crate::{
    Principal,
    lifecycle::Instant,
    log,
    sandbox::{life::Life, now},
};

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

impl Life {
    /// Enters a request, whichever way it came: of HTTP by [`Exchange`](super::Exchange), or a frame of a socket. The entry is told how it
    /// went on; one that is dropped was cut short by its caller.
    ///
    /// `None` where there is no sandbox, or the caller may not see it: nobody makes another's object write.
    pub(crate) fn enter(&self, asked: &Asked<'_>) -> Option<Entry> {
        let owner = self.owner().filter(|owner| asked.principal.sees(owner))?;
        let entry = Entry::begin(&self.audit, &owner, asked);
        let kept = entry.clone();
        spawn_local(async move {
            Delay::from(MOMENT).await;
            kept.open();
        });
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
            && let Some(id) = self.0.write(Outcome::OPEN, None)
        {
            self.0.written.set(Written::Open(id));
            self.0.audit.open.borrow_mut().insert(id);
        }
    }

    /// The same when what was sent just now has gone out: the platform holds back what is sent after something was written, until that is safe.
    pub(crate) fn open_afterwards(&self) {
        let entry = self.clone();
        afterwards(move || entry.open());
    }

    /// As [`Self::end`], when what was sent just now has gone out.
    pub(crate) fn end_afterwards(&self, outcome: Outcome) {
        let entry = self.clone();
        afterwards(move || entry.end(outcome));
    }

    /// It is over. Only the first end counts. One that is dropped without an end was cut short by its caller.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.0.end(outcome);
    }
}

/// Does something when what was sent has gone out.
pub(super) fn afterwards(then: impl FnOnce() + 'static) {
    spawn_local(async move {
        Delay::from(Duration::ZERO).await;
        then();
    });
}

impl Request {
    fn end(&self, outcome: Outcome) {
        let begun = match self.written.replace(Written::Over) {
            Written::Over => return,
            Written::Not => None,
            Written::Open(id) => Some(id),
        };
        let at = Instant(self.record.borrow().at_ms);
        self.record.borrow_mut().duration_ms = u64::try_from(now().since(at).as_millis()).ok();
        self.write(outcome, begun);
        if let Some(id) = begun {
            self.audit.open.borrow_mut().remove(&id);
        }
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
