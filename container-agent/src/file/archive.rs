//! Trees of files as tar archives, out and in. The work is done on threads that may block ([`pipe`]).

mod creation;
mod damage;
mod directories;
mod extended;
mod extraction;
mod filter;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod members;
mod meter;
mod name;
mod pipe;
mod writer;

pub use creation::create;
pub use extraction::extract;
pub use filter::Filter;
pub use format::Format;
pub use pipe::{Inlet, Piece, inlet, outlet};
