//! The process inside the sandbox's container: runs commands and handles files over HTTP and WebSocket.
//!
//! [`run`] serves one listener until it is told to stop. A request becomes an operation in [`http`], finds its handler in
//! [`dispatch`], and is carried out by [`exec`] or [`mod@file`]; a command's process is owned by one task in [`process`], and so is
//! a shell that lives between commands in [`session`].
//! [`git`] has processes too. [`port`] and [`system`] look around in the sandbox.
//!
//! The agent trusts whoever knows its secret and nobody else: what runs in the sandbox reaches its port, but never learns
//! the secret.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "a library for the program, the tests and the fuzzer: its readers see private items"
)]

mod activity;
pub mod agent;
mod body;
mod buffers;
mod cgroup;
pub mod config;
pub mod dispatch;
pub mod exec;
pub mod file;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod git;
pub mod http;
pub mod limits;
pub mod log;
pub mod port;
pub mod process;
pub mod secret;
mod server;
pub mod session;
mod signals;
pub mod summary;
pub mod system;
pub mod threads;
mod waiting;

pub use activity::{Activity, Busy};
pub use agent::Agent;
pub use config::Config;
pub use limits::Limits;
pub use server::run;
pub use signals::Signals;
