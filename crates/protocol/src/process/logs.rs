//! `process.logs`.

use serde::{Deserialize, Serialize};

use crate::{Data, Operation, exec::Exit};

/// A page of what a process has printed, as far as it is kept, without waiting for more. What is kept, `process.attach` says.
///
/// The answer's `to` is the next page's `from`; there is none when it is `output_bytes`.
///
/// Fails with `not_found`, `gone`, `invalid_request` (`from` is past what has been printed, `max_bytes` over its limit).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Logs {
    /// Its id or name.
    pub process: String,
    /// The first byte wanted. Default: the first that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Most bytes of stdout and stderr together. At most 16 MiB; default 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

impl Operation for Logs {
    const NAME: &'static str = "process.logs";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Log;

    fn summary(&self) -> String {
        self.process.clone()
    }
}

/// A part of what a process printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Log {
    /// The first byte of this part, later than the one wanted where that is no longer kept.
    pub from: u64,
    /// The byte after the last: go on from here.
    pub to: u64,
    /// How many bytes the process has printed so far. Where `to` is less there is more to read.
    pub output_bytes: u64,
    /// What of it went to stdout.
    pub stdout: Data,
    /// What of it went to stderr.
    pub stderr: Data,
    /// How the process ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}
