//! What all journals together may keep. One rule: a process whose output is more than its own share moves its oldest to disk, and on
//! disk forgets its oldest; when all together keep too much, the one that keeps most does.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::Semaphore;

use super::{
    Journal, Shared,
    spool::{Block, Spool},
};
use crate::threads;

/// Shared by all journals that keep output for replay.
#[derive(Debug)]
pub(in super::super) struct Budget {
    /// Bytes that all may keep in memory.
    limit: u64,
    /// Bytes that they do keep in memory.
    memory: AtomicU64,
    spool: Arc<Spool>,
    /// Locked for a look. Those that are gone are dropped when the next one comes.
    journals: Mutex<Vec<Weak<Shared>>>,
    /// Held by whoever moves pages: two at once would move the same ones.
    turn: Arc<Semaphore>,
}

/// What one journal takes of it, for all to see.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    memory: AtomicU64,
    disk: AtomicU64,
}

impl Budget {
    /// So many bytes in memory, and so many on disk, in the first of these directories that takes them.
    pub(in super::super) fn new(memory: u64, disk: u64, directories: Vec<PathBuf>) -> Self {
        Self::with_spool(memory, Spool::new(directories, disk))
    }

    pub(super) fn with_spool(memory: u64, spool: Spool) -> Self {
        Self {
            limit: memory,
            memory: AtomicU64::new(0),
            spool: Arc::new(spool),
            journals: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Counts a journal in.
    pub(super) fn add(&self, journal: &Journal) {
        let mut journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        journals.retain(|journal| journal.strong_count() > 0);
        journals.push(Arc::downgrade(&journal.0));
    }

    /// Whether all together keep more in memory than they may.
    pub(super) fn is_exceeded(&self) -> bool {
        self.memory.load(Relaxed) > self.limit
    }

    /// Moves pages out of memory until neither this journal nor all together keep too much there, when its turn has come.
    pub(super) async fn relieve(self: Arc<Self>, journal: Journal) {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let moved = threads::run_next(move || {
            self.move_surplus(&journal);
            self.spool.trim();
            drop(turn);
        });
        if moved.await.is_none() {
            tracing::error!("output could not be moved to disk");
        }
    }

    /// Blocks for as long as the disk takes.
    fn move_surplus(&self, journal: &Journal) {
        while journal.surplus() > 0 && self.move_out(journal) {}
        while self.is_exceeded() && self.largest(|share| &share.memory).is_some_and(|journal| self.move_out(&journal)) {}
    }

    /// Moves the oldest page of a journal out of memory; false when it has none there.
    fn move_out(&self, journal: &Journal) -> bool {
        let Some((offset, page)) = journal.with_pages(|pages| pages.oldest_in_memory()).flatten() else { return false };
        let block = self.store(journal, &page);
        journal.with_pages(|pages| pages.moved_out(offset, block));
        true
    }

    /// Writes a page to disk. `None` when the journal may not have it there, or the disk does not take it.
    fn store(&self, journal: &Journal, page: &[u8]) -> Option<Block> {
        if journal.with_pages(|pages| pages.disk_is_full())? {
            journal.with_pages(|pages| pages.forget_oldest_on_disk());
        }
        if journal.with_pages(|pages| pages.disk_is_full())? {
            return None;
        }
        loop {
            match self.spool.put(page) {
                Ok(Some(block)) => return Some(block),
                Ok(None) => self.largest(|share| &share.disk)?.with_pages(|pages| pages.forget_oldest_on_disk())?,
                Err(error) => {
                    tracing::debug!("the spool does not take a page: {error}");
                    return None;
                }
            }
        }
    }

    /// The journal that keeps most, if any keeps anything.
    fn largest(&self, kept: impl Fn(&Share) -> &AtomicU64) -> Option<Journal> {
        let journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        let journals = journals.iter().filter_map(Weak::upgrade);
        let sizes = journals.filter_map(|journal| Some((kept(journal.share.as_ref()?).load(Relaxed), journal)));
        sizes.filter(|(kept, _)| *kept > 0).max_by_key(|(kept, _)| *kept).map(|(_, journal)| Journal(journal))
    }
}

impl Share {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, memory: AtomicU64::new(0), disk: AtomicU64::new(0) }
    }

    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The journal keeps so much now. Called with its pages locked.
    pub(super) fn set(&self, memory: u64, disk: u64) {
        let before = self.memory.swap(memory, Relaxed);
        if memory != before {
            // Wraps around where it has become less, and back again in the sum.
            self.budget.memory.fetch_add(memory.wrapping_sub(before), Relaxed);
        }
        self.disk.store(disk, Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let disk = self.disk.load(Relaxed);
        self.set(0, 0);
        if disk > 0 {
            let spool = Arc::clone(&self.budget.spool);
            // Where no thread is idle, the next move of pages trims.
            let _ = threads::run_idle(move || spool.trim());
        }
    }
}
