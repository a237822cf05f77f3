//! The process inside the sandbox's container: runs commands and handles files over HTTP and WebSocket.
//!
//! [`run`] serves one listener until it is told to stop. A request becomes an operation in [`http`], finds its handler in
//! [`dispatch`], and is carried out by [`process`], [`mod@file`] or another family; a command's process is owned by one task in [`process`], and so is
//! a shell that lives between commands in [`session`].
//! [`code`] has kernels of Jupyter run cells. [`git`] has processes too. [`port`] and [`system`] look around in the sandbox. [`interception`] prepares a start under network rules.
//!
//! The agent trusts whoever knows its secret and nobody else: what runs in the sandbox reaches its port, but never learns
//! the secret.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "a library for the program, the tests and the fuzzer: its readers see private items"
)]

mod activity;
pub mod agent;
pub mod archive;
mod body;
mod buffers;
pub mod caller;
mod cgroup;
pub mod code;
pub mod config;
pub mod connections;
pub mod dispatch;
pub mod file;
pub mod fs;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod git;
mod globs;
pub mod http;
pub mod interception;
pub mod limits;
pub mod listen;
pub mod log;
pub mod memory;
pub mod port;
pub mod process;
pub mod redact;
pub mod secret;
mod server;
pub mod session;
pub mod sftp;
mod signals;
pub mod system;
pub mod threads;
pub mod variables;
mod waiting;
pub mod watch;

pub use activity::{Activity, Busy};
pub use agent::Agent;
pub use config::Config;
pub use limits::Limits;
pub use server::run;
pub use signals::Signals;
