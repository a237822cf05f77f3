//! Which archives a tenant has, and who may write and remove.

use std::{collections::BTreeSet, time::Duration};

use cabana_protocol::{
    Code, Error,
    chunk::ChunkName,
    sandbox::{Archive, ArchiveId, MAX_ARCHIVES},
};
use serde_json::json;

use crate::lifecycle::Instant;

/// How long one who makes an archive may say nothing.
pub(crate) const WRITE_LEASE: Duration = Duration::from_mins(10);

/// How long a sweep may say nothing. A call to the bucket that is under way when its caller ends is over long before.
pub(crate) const SWEEP_LEASE: Duration = Duration::from_mins(5);

/// How long after something was given up the chunks are swept: several go at once.
pub(crate) const SWEEP_PAUSE: Duration = Duration::from_mins(1);

/// Most names that one who makes an archive is told.
pub(crate) const KNOWN_CHUNKS: usize = 64 << 10;

/// Where the catalog is stored. Each call is carried out whole or not at all, and calls in a row without an `await` between them are one.
pub(crate) trait Rows {
    /// Who makes archives, and until when they hold their leases.
    fn writers(&self) -> Result<Vec<(ArchiveId, Instant)>, Error>;
    fn put_writer(&self, id: &ArchiveId, until: Instant) -> Result<(), Error>;
    fn remove_writer(&self, id: &ArchiveId) -> Result<(), Error>;
    /// Until when a sweep holds its lease, if one is under way.
    fn sweeping(&self) -> Result<Option<Instant>, Error>;
    fn set_sweeping(&self, until: Option<Instant>) -> Result<(), Error>;
    /// Since when there may be chunks that no archive needs.
    fn dirty(&self) -> Result<Option<Instant>, Error>;
    fn set_dirty(&self, since: Option<Instant>) -> Result<(), Error>;
    /// The newest first.
    fn archives(&self) -> Result<Vec<Archive>, Error>;
    fn archive(&self, id: &ArchiveId) -> Result<Option<Archive>, Error>;
    fn put_archive(&self, archive: &Archive, chunks: &BTreeSet<ChunkName>) -> Result<(), Error>;
    fn remove_archive(&self, id: &ArchiveId) -> Result<(), Error>;
    /// Names of chunks that archives need, those of the newest archives first.
    fn chunks(&self, most: usize) -> Result<Vec<ChunkName>, Error>;
    fn needs(&self, chunk: &ChunkName) -> Result<bool, Error>;
}

/// The catalog of one tenant.
pub(crate) struct Catalog<R>(pub(crate) R);

impl<R: Rows> Catalog<R> {
    /// Lets somebody make an archive; gives the names of chunks that are stored, and stay while the lease is held.
    ///
    /// Fails with `container_not_ready` while chunks are removed, and with `conflict` where there are too many archives.
    pub(crate) fn begin(&self, id: &ArchiveId, now: Instant) -> Result<Vec<ChunkName>, Error> {
        if let Some(until) = self.0.sweeping()?.filter(|until| *until > now) {
            let retry_after_ms = u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX).min(5_000);
            let details = json!({ "reason": "sweeping", "retry_after_ms": retry_after_ms });
            let message = "chunks that no archive needs are being removed; try again";
            return Err(Error::new(Code::ContainerNotReady, message).with_details(details));
        }
        if self.0.archives()?.len() >= MAX_ARCHIVES {
            let message = format!("the tenant has {MAX_ARCHIVES} archives already: delete one");
            return Err(Error::new(Code::Conflict, message).with_details(json!({ "reason": "limit", "limit": MAX_ARCHIVES })));
        }
        self.0.put_writer(id, now + WRITE_LEASE)?;
        self.0.chunks(KNOWN_CHUNKS)
    }

    /// Holds the lease for longer. Fails with `interrupted` where it has ended.
    pub(crate) fn renew(&self, id: &ArchiveId, now: Instant) -> Result<(), Error> {
        self.check_writer(id, now)?;
        self.0.put_writer(id, now + WRITE_LEASE)
    }

    /// Adds an archive whose chunks and manifest are all stored. Fails with `interrupted` where the lease has ended.
    pub(crate) fn commit(&self, archive: &Archive, chunks: &BTreeSet<ChunkName>, now: Instant) -> Result<(), Error> {
        self.check_writer(&archive.id, now)?;
        self.0.put_archive(archive, chunks)?;
        self.0.remove_writer(&archive.id)
    }

    /// Gives an archive up that is being made.
    pub(crate) fn abort(&self, id: &ArchiveId, now: Instant) -> Result<(), Error> {
        self.0.remove_writer(id)?;
        self.note_dirty(now)
    }

    /// Forgets an archive. Does nothing where there is none.
    pub(crate) fn delete(&self, id: &ArchiveId, now: Instant) -> Result<(), Error> {
        if self.0.archive(id)?.is_some() {
            self.0.remove_archive(id)?;
            self.note_dirty(now)?;
        }
        Ok(())
    }

    /// An archive. Fails with `not_found`.
    pub(crate) fn find(&self, id: &ArchiveId) -> Result<Archive, Error> {
        self.0.archive(id)?.ok_or_else(|| Error::not_found("there is no such archive").because("no_such_archive"))
    }

    /// Lets a sweep begin, or go on where it holds the lease `held`; gives its lease. `None` while somebody makes an archive.
    pub(crate) fn sweep(&self, held: Option<Instant>, now: Instant) -> Result<Option<Instant>, Error> {
        for (writer, until) in self.0.writers()? {
            if until > now {
                return Ok(None);
            }
            self.abort(&writer, now)?;
        }
        let lease = self.0.sweeping()?.filter(|until| *until > now);
        if lease != held {
            // Another sweep has it, or this one has lost it.
            return Ok(None);
        }
        let until = now + SWEEP_LEASE;
        self.0.set_sweeping(Some(until))?;
        Ok(Some(until))
    }

    /// A sweep that holds this lease has come to its end.
    pub(crate) fn swept(&self, held: Instant) -> Result<(), Error> {
        if self.0.sweeping()? == Some(held) {
            self.0.set_sweeping(None)?;
            self.0.set_dirty(None)?;
        }
        Ok(())
    }

    /// When a sweep is to be tried next, if there is anything to sweep or somebody makes an archive who may not come back.
    pub(crate) fn sweep_at(&self) -> Result<Option<Instant>, Error> {
        let writers = self.0.writers()?.into_iter().map(|(_, until)| until).max();
        let due = self.0.dirty()?.map(|since| since + SWEEP_PAUSE);
        let sweeping = self.0.sweeping()?;
        Ok(due.max(writers).map(|at| sweeping.map_or(at, |until| at.max(until))))
    }

    fn check_writer(&self, id: &ArchiveId, now: Instant) -> Result<(), Error> {
        if self.0.writers()?.iter().any(|(writer, until)| writer == id && *until > now) {
            return Ok(());
        }
        Err(Error::new(Code::Interrupted, "the making of the archive was given up, because it took too long")
            .because("lease_lost"))
    }

    fn note_dirty(&self, now: Instant) -> Result<(), Error> {
        let since = self.0.dirty()?.unwrap_or(now);
        self.0.set_dirty(Some(since))
    }
}
