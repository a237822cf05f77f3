//! The engine as a process, driven over its socket. One binary, so that it is linked once.
//!
//! These tests need root, as sandboxes do; without it they fail and say so.

// A helper of a test may panic as the test itself may; clippy only knows about functions marked as tests.
#![allow(clippy::unwrap_used)]

mod support;

mod cleanup;
mod command_line;
mod commit;
mod egress;
mod faults;
mod isolation;
mod lifecycle;
mod limits;
mod rootless;
mod tunnel;
