//! Telling the directory what becomes of the sandbox, asynchronously.
//!
//! What it is to be told is stored together with the change itself, and forgotten when the directory has answered. So a database
//! that is down, or an object that ends meanwhile, costs time and nothing else: the object tells it when it is next in memory, and has
//! itself woken for that. Only the latest is told, by one writer at a time.

use std::{cell::Cell, rc::Rc, time::Duration};

use cabana_protocol::Error;

use super::runtime::{Store, Supervisor};
use crate::{
    Address,
    audit::{Audit, Link},
    clock::now,
    directory::Directory,
    lifecycle::Instant,
    log,
};

/// How long after a failure the directory is told again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// After so many records of the audit the directory's database learns how far it has come.
const NOTE_EVERY: u64 = 100;

/// The way to the directory, and the end of a storage that holds nothing the directory does not know.
pub(super) struct DirectoryOutbox {
    supervisor: Rc<Supervisor>,
    audit: Rc<Audit>,
    /// `None` where the deployment has no directory.
    directory: Option<Directory>,
    /// The number of the audit's last record that the directory knows of, as far as this object does.
    noted: Cell<u64>,
    /// Whether something is being delivered.
    busy: Cell<bool>,
    /// When it is tried again.
    retry_at: Cell<Option<Instant>>,
}

impl DirectoryOutbox {
    pub(super) fn new(supervisor: Rc<Supervisor>, audit: Rc<Audit>, directory: Option<Directory>) -> Rc<Self> {
        Rc::new(Self { supervisor, audit, directory, noted: Cell::default(), busy: Cell::default(), retry_at: Cell::default() })
    }

    /// When the object has to be in memory, because there is something to deliver.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.get()
    }

    /// The time to try again has come.
    pub(super) fn retry(self: &Rc<Self>) {
        self.retry_at.set(None);
        self.deliver();
    }

    /// Delivers what the directory does not know yet, without waiting for it. Storage that holds no sandbox any more is freed after that.
    pub(super) fn deliver(self: &Rc<Self>) {
        // Where nothing was ever stored there is nothing to deliver, nor to free.
        if self.directory.is_some() && self.store().rows().exist().unwrap_or_default() && !self.busy.replace(true) {
            let this = Rc::clone(self);
            self.supervisor.platform().state().wait_until(async move {
                let outcome = this.deliver_all().await;
                this.busy.set(false);
                if let Err(error) = outcome {
                    this.put_off(&error).await;
                }
            });
        }
    }

    async fn put_off(&self, error: &Error) {
        log::warn(None, &format!("the directory does not know of a change yet: {}", error.message));
        self.retry_at.set(Some(now() + RETRY_AFTER));
        if let Err(error) = self.supervisor.arm().await {
            log::error(None, &format!("the directory is told only when the sandbox is next used: {}", error.message));
        }
    }

    async fn deliver_all(&self) -> Result<(), Error> {
        let Some(directory) = &self.directory else { return Ok(()) };
        while let Some(entry) = self.store().rows().next_entry()? {
            if self.store().is_empty() {
                // Nobody uses what is gone: without this, nobody would come back to it should the object end here.
                self.retry_at.set(Some(now() + RETRY_AFTER));
                self.supervisor.arm().await?;
            }
            let head = self.audit.head()?;
            directory.note(&entry, &head).await?;
            self.noted.set(head.id.max(self.noted.get()));
            self.store().rows().acknowledge(entry.version)?;
        }
        self.retry_at.set(None);
        self.free().await
    }

    /// Frees the storage once the directory knows.
    pub(super) async fn free_when_told(self: &Rc<Self>) -> Result<(), Error> {
        if self.store().is_empty() && self.directory.is_some() && self.store().rows().exist()? {
            self.deliver();
            return Ok(());
        }
        self.free().await
    }

    /// Frees the storage, unless it holds a sandbox, or a container is left that the alarm is to end; but for the audit, which stays for its
    /// time.
    pub(super) async fn free(&self) -> Result<(), Error> {
        if !self.store().is_empty() || self.supervisor.has_stray() {
            return Ok(());
        }
        if self.audit.is_kept()? {
            self.store().rows().drop_tables()?;
            return self.supervisor.arm().await;
        }
        if let Some(directory) = &self.directory {
            // The next trail counts from 1 again.
            directory.forget_audit(&self.address()?).await?;
            self.noted.set(0);
        }
        self.supervisor.disarmed();
        self.audit.forget();
        self.store().rows().wipe().await
    }

    /// Has the directory's database know how far the audit has come, if it has come a good deal further than is known there: who cuts its end
    /// off later does not go unnoticed. Nobody waits for it, and what fails is made up for by the next.
    pub(super) fn note_audit(self: &Rc<Self>) {
        let (Some(directory), Ok(head), Ok(address)) = (self.directory.clone(), self.audit.head(), self.address()) else {
            return;
        };
        if head.id < self.noted.get() + NOTE_EVERY {
            return;
        }
        self.noted.set(head.id);
        self.supervisor.platform().state().wait_until(async move {
            if let Err(error) = directory.note_audit(&address, &head).await {
                log::warn(None, &format!("the audit's head is not noted: {}", error.message));
            }
        });
    }

    /// The audit's head as the directory's database knows it; `None` where there is none.
    ///
    /// Fails with `timeout` and `unavailable`.
    pub(super) async fn noted_head(&self) -> Result<Option<Link>, Error> {
        match &self.directory {
            Some(directory) => directory.noted_audit(&self.address()?).await,
            None => Ok(None),
        }
    }

    fn address(&self) -> Result<Address, Error> {
        self.supervisor.platform().address()
    }

    fn store(&self) -> &Store {
        self.supervisor.store()
    }
}
