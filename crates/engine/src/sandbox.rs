//! A sandbox: one process tree in its own namespaces (mount, pid, network, uts, ipc, cgroup) over the host's root file
//! system.
//!
//! ```text
//! launch.rs   engine side: a thread per sandbox that starts it and waits for its end
//! plan.rs     the engine's instructions to init, sent over a socket
//! host.rs     which parts of the host a sandbox sees: PATH, toolchains, hidden directories
//! host_network.rs  the host's CA bundle and proxies
//! init.rs     inside: the first process; sets everything up, then becomes the agent
//! root.rs     inside: the root file system
//! mounts.rs   inside: the mount calls
//! privileges.rs  inside: the capabilities that root keeps
//! ```
//!
//! Nothing outlives the engine. The kernel sends SIGKILL to a sandbox's first process when the thread that started it
//! ends. With the first process it kills all others of the pid namespace, and frees the mount namespace.

pub mod host;
pub mod host_network;
pub mod init;
pub mod launch;
mod mounts;
pub mod plan;
mod privileges;
mod root;

pub(crate) use root::UNCOMMITTED;

/// Where the agent lies in every sandbox, read-only.
pub const AGENT_PATH: &str = "/run/cabana/agent";

/// What init writes when it passes the upper directory of the root to the engine: a descriptor travels with at least one byte.
const UPPER_FOLLOWS: &[u8] = b"\0";

/// The writable home of a sandbox.
pub const HOME: &str = "/root";
