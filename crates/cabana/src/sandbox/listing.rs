//! Telling the directory what becomes of the sandbox, behind everyone's back.
//!
//! What it is to be told is stored together with the change itself, and forgotten when the directory has answered. So a database
//! that is down, or an object that ends meanwhile, costs time and nothing else: the object tells it when it is next in memory, and has
//! itself woken for that. Only the latest is told, by one writer at a time.

use std::{cell::Cell, rc::Rc, time::Duration};

use cabana_protocol::Error;

use super::{life::Life, now};
use crate::{Database, directory, lifecycle::Instant, log};

/// How long after a failure the directory is told again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The way to the directory.
pub(super) struct Listing {
    /// `None` where the deployment has no directory.
    database: Option<Database>,
    /// Whether it is being told something.
    busy: Cell<bool>,
    /// When it is told again what it could not be told.
    retry_at: Cell<Option<Instant>>,
}

impl Listing {
    pub(super) fn new(database: Option<Database>) -> Self {
        Self { database, busy: Cell::default(), retry_at: Cell::default() }
    }

    /// When the object has to be in memory, because there is something to tell.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.get()
    }

    /// The time to try again has come.
    pub(super) fn retry(&self) {
        self.retry_at.set(None);
    }

    /// The deployment's database.
    pub(super) fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Whether there is a directory at all.
    pub(super) fn exists(&self) -> bool {
        self.database.is_some()
    }
}

impl Life {
    /// Has the directory told what it does not know yet, without waiting for it. Storage that holds no sandbox any more is freed after that.
    pub(super) fn list(self: &Rc<Self>) {
        // Where nothing was ever stored there is nothing to tell, nor to free.
        if self.listing.exists() && self.records.exist().unwrap_or_default() && !self.listing.busy.replace(true) {
            self.spawn(tell(Rc::clone(self)));
        }
    }
}

async fn tell(life: Rc<Life>) {
    let outcome = settle(&life).await;
    life.listing.busy.set(false);
    let Err(error) = outcome else { return };
    log::warn(None, &format!("the directory does not know of a change yet: {}", error.message));
    life.listing.retry_at.set(Some(now() + RETRY_AFTER));
    if let Err(error) = life.arm().await {
        log::error(None, &format!("the directory is told only when the sandbox is next used: {}", error.message));
    }
}

async fn settle(life: &Life) -> Result<(), Error> {
    let Some(database) = &life.listing.database else { return Ok(()) };
    while let Some(entry) = life.records.owed()? {
        if life.is_gone() {
            // Nobody uses what is gone: without this, nobody would come back to it should the object end here.
            life.listing.retry_at.set(Some(now() + RETRY_AFTER));
            life.arm().await?;
        }
        directory::note(database, &entry).await?;
        life.records.settle(entry.version)?;
    }
    life.listing.retry_at.set(None);
    life.free().await
}
