//! The commands, by family.

pub(crate) mod code;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod forward;
pub(crate) mod init;
pub(crate) mod life;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod mcp;
pub(crate) mod ports;
pub(crate) mod processes;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod shell;
pub(crate) mod snapshots;
pub(crate) mod ssh;
