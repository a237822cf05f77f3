//! The sandbox as a machine: what it is, and how much of it is used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Operation;

/// Tells how much of the sandbox is used at this moment. One that sleeps uses nothing, and has nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stats {}

impl Operation for Stats {
    const NAME: &'static str = "system.stats";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    const ASLEEP: Option<&'static str> = Some(
        r#"{"cpu":{"used_ms":0,"count":0.0},"memory":{"used_bytes":0,"total_bytes":0},"disk":{"used_bytes":0,"total_bytes":0},"processes":0,"uptime_ms":0}"#,
    );
    type Response = Usage;
}

/// How much of the sandbox is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usage {
    /// Processors.
    pub cpu: Cpu,
    /// Memory. What the kernel keeps there only to be faster, and gives up when asked, is not used.
    pub memory: Space,
    /// The disk that the first root is on.
    pub disk: Space,
    /// How many processes there are, the agent included.
    pub processes: u64,
    /// How long the agent has been up.
    pub uptime_ms: u64,
}

/// Use of the processors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cpu {
    /// Time that all processes have spent on them since the sandbox started, in steps of 10 ms: two readings give a share.
    pub used_ms: u64,
    /// How many may be used at once; 0.5 is half the time of one.
    pub count: f64,
}

/// Use of memory or of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Space {
    /// How much is used.
    pub used_bytes: u64,
    /// How much there is.
    pub total_bytes: u64,
}

/// Describes the sandbox: its system, and which programs it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Info {}

impl Operation for Info {
    const NAME: &'static str = "system.info";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = System;
}

/// What the sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct System {
    /// The agent's version.
    pub version: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// The processor's architecture, as `uname -m` prints it.
    pub architecture: String,
    /// The name of the machine.
    pub hostname: String,
    /// Which system the image holds, as its os-release names it; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// Whom commands run as: the user's name, or its number where it has none.
    pub user: String,
    /// The shell that runs scripts.
    pub shell: String,
    /// Where commands start and relative paths begin.
    pub root: String,
    /// What keeps the paths of file operations beneath the roots; absent where an older agent does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
    /// Where usual programs are, of those that the sandbox has: interpreters, compilers, package managers and the like.
    pub programs: BTreeMap<String, String>,
}

/// What keeps the paths of file operations beneath the roots. Both come to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Confinement {
    /// The kernel, in one call: openat2(2).
    Openat2,
    /// A walk from directory to directory, where a seccomp profile refuses that call; a little slower.
    Walk,
}
