//! Archives of a tenant in a bucket: one manifest for each, and chunks that they share.
//!
//! ```text
//! catalog  which archives there are, which chunks they need, who writes one       the tenant's object, in one transaction at a time
//! bucket   manifests and chunks by their keys                                     R2
//! writer   stores the chunks of a new archive                                      the sandbox's object
//! sweep    removes the chunks that no archive needs
//! ```
//!
//! A chunk that an archive needs is never removed. The catalog alone decides that: an archive is in it, with the names of its chunks, from the one
//! transaction that ends its making, when all of them are stored. While somebody makes an archive nothing is removed, because it may need a chunk that it
//! found in the bucket; while chunks are removed nobody begins. Both are leases, which end when their holder does not come back, and a maker whose
//! lease has ended cannot finish its archive. So whatever dies in between leaves chunks that nobody needs, and the next sweep finds them.

pub(crate) mod bucket;
pub(crate) mod catalog;
pub(crate) mod rows;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

use cabana_protocol::{chunk::ChunkName, sandbox::Archive};
use serde::{Deserialize, Serialize};

/// What is stored of an archive beside its chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) archive: Archive,
    /// Its chunks, in their order, each with the bytes of its content.
    pub(crate) chunks: Vec<(ChunkName, u32)>,
}
