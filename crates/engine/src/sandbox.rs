//! A sandbox: one process tree in namespaces of its own (mount, pid, network, uts, ipc, cgroup) over the
//! host's root file system.
//!
//! ```text
//! launch.rs   engine side: a thread per sandbox that starts it and waits for its end
//! plan.rs     what the engine asks of init, sent over a socket
//! host.rs     what of the host a sandbox sees: PATH, toolchains, hidden directories
//! init.rs     inside: the first process; sets everything up, then becomes the agent
//! root.rs     inside: the root file system
//! mounts.rs   inside: the mount calls
//! privileges.rs  inside: what even root may not do
//! ```
//!
//! Nothing outlives the engine: the thread that started a sandbox is the one whose death sends SIGKILL to
//! its first process, with which the kernel ends every process of the pid namespace, and with them the mount
//! namespace that holds all mounts.

pub mod host;
pub mod init;
pub mod launch;
mod mounts;
pub mod plan;
mod privileges;
mod root;

/// Where the agent lies in every sandbox, read-only.
pub const AGENT_PATH: &str = "/run/cabana/agent";

/// The writable home of a sandbox.
pub const HOME: &str = "/root";
