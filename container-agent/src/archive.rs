//! Trees of files as tar archives, out and in. The work is done on threads that may block ([`pipe`]).

mod chunks;
mod creation;
mod error;
mod extended;
mod extraction;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod members;
mod meter;
mod name;
mod pipe;
mod replacement;
mod writer;

pub use chunks::{CHUNKING_BYTES, ChunkReader, Chunker};
pub use creation::{Filter, create};
pub use extraction::extract;
pub use pipe::{Piece, PieceSender, PieceWriter, incoming, outgoing};
pub use replacement::replace;
