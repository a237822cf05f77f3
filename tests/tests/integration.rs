//! One binary for all cases, so that they are linked once. Each case runs in a sandbox of its own, against the agent alone or the
//! whole stack; what is in `control` needs the stack.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archives;
mod control;
mod differential;
mod errors;
mod exec;
mod files;
mod git;
mod limits;
mod load;
mod machine;
mod process;
mod project;
mod session;
mod slow;
mod socket;
mod system;
mod terminal;
mod wire;
