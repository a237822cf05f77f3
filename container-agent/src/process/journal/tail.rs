//! What a journal keeps for a caller whose connection may be lost.

use std::time::Duration;

use crate::{Limits, memory::Held};

/// Pieces that are kept at most: of a byte each they would take far more memory than they hold.
pub(super) const TAIL_CHUNKS: usize = 4_096;

/// What is kept at most, in bytes, of a process that has ended: many of them are remembered.
const ENDED_BYTES: u64 = 256 << 10;

/// What a piece takes beside its bytes.
const CHUNK_BYTES: usize = 128;

/// What is accounted for at once.
const STEP_BYTES: usize = 16 << 10;

/// How much is kept behind the caller, who may not have got it, and for how long it is waited for.
#[derive(Debug)]
pub(in crate::process) struct Tail {
    bytes: u64,
    pub(super) grace: Duration,
    /// The accounts of what is kept: of all that callers hold, and of all tails.
    held: [Held; 2],
}

impl Tail {
    pub(in crate::process) fn new(limits: &Limits, held: [Held; 2]) -> Self {
        Self { bytes: limits.reconnect_bytes as u64, grace: limits.reconnect_grace, held }
    }

    /// Whether a piece is kept that ends so many bytes behind the caller, where there are so many pieces.
    pub(super) fn keeps(&self, behind: u64, chunks: usize) -> bool {
        behind < self.bytes && chunks <= TAIL_CHUNKS
    }

    /// Nothing will be added.
    pub(super) fn close(&mut self) {
        self.bytes = self.bytes.min(ENDED_BYTES);
    }

    /// Accounts for this much. False where there is no room for it.
    pub(super) fn account(&mut self, bytes: u64, chunks: usize) -> bool {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(chunks * CHUNK_BYTES);
        let wanted = bytes.next_multiple_of(STEP_BYTES);
        self.held.iter_mut().all(|held| held.bytes() == wanted || held.resize(wanted).is_ok())
    }
}
