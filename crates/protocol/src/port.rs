//! Who listens in the sandbox, and connections to them.

mod connect;

pub use connect::{CloseReason, Connect, ConnectEvent, ConnectInput, ConnectionEnd, MAX_WINDOW_BYTES, Received, ReceivedFold};

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{Operation, ProcessId};

/// Ports that Cabana reserves in every sandbox: the agent's, those that the object names to the runtime and never uses, and that of the network
/// sidecar in development.
pub const RESERVED_PORTS: RangeInclusive<u16> = 49983..=49992;

/// Lists the TCP ports that something in the sandbox listens on, sorted by their number. Cabana's own (49983 to 49992) are not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct List {}

impl Operation for List {
    const NAME: &'static str = "port.list";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    const ASLEEP: Option<&'static str> = Some(r#"{"items":[]}"#);
    type Response = Ports;
}

/// Some ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ports {
    /// The ports.
    #[serde(rename = "items")]
    pub ports: Vec<Port>,
}

/// A port that something listens on. Who that is, is absent where the agent may not look, as for a process of another user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Port {
    /// Its number, 1 to 65535.
    pub port: u16,
    /// The address that it is bound to: `0.0.0.0` and `::` are all of them.
    pub address: String,
    /// By which version of IP it is reached.
    pub protocol: Protocol,
    /// The kernel's number for the process that listens; for the first of them where several share the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What the kernel calls that process: mostly its program's name, of which it keeps 15 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The process started by a caller that it is, or descends from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6, and on `::` mostly over IPv4 too.
    Tcp6,
}
