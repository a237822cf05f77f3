//! A child of the agent: from a [`Command`](super::Command) to a pid, its standard streams, and its end.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`mod@spawn`] | starts a child |
//! | [`vfork`] | creates one, without copying the agent's memory |
//! | [`handle`] | its pid, and how it ended, from the kernel |
//! | [`stdio`] | its pipes: numbered chunks of output, and a queue for stdin |
//! | [`pty`] | its pseudo-terminal |
//! | [`users`] | the user it runs as |
//! | [`attributes`] | what it starts with, and the agent's priority over it |
//! | [`capabilities`] | what it may do |
//! | [`descriptors`] | what it does not inherit |

mod attributes;
mod capabilities;
mod descriptors;
mod handle;
mod pty;
mod spawn;
mod stdio;
mod users;
mod vfork;

pub use attributes::raise_self;
pub use capabilities::KeptCapabilities;
pub use descriptors::keep_descriptors;
pub(super) use handle::ChildHandle;
pub(super) use pty::Terminal;
pub(crate) use spawn::Stdio;
pub(super) use spawn::{Child, beside, spawn, spawn_apart};
pub use stdio::{Chunk, Stream};
pub(crate) use stdio::{Pipes, StdinWriter};
pub use users::Identity;
pub(crate) use vfork::Inherited;
pub use vfork::{block_child_signal, note_signals};
