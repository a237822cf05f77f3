//! What watches over something that runs until its end: the [`task`] that owns it, and what that task needs to end a whole tree.
//!
//! The same task serves a process and a command of a session. They differ in how they end, which is their [`Target`].
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`task`] | the task: output, input, timeout, end |
//! | [`phase`] | how far it has come, as a pure state machine |
//! | [`target`] | what is supervised |
//! | [`tree`] | everything that a process started, and how to end it |
//! | [`reaper`] | waits for orphans |
//! | [`oom`] | detects OOM kills |

pub(super) mod oom;
mod phase;
pub(super) mod reaper;
mod target;
mod task;
pub(crate) mod tree;

pub(super) use oom::Oom;
pub(crate) use phase::{Outcome, TreeEnd};
pub(super) use reaper::OwnedChildren;
pub(super) use target::ChildTarget;
pub(crate) use target::{Audience, Target};
pub(crate) use task::{Supervisor, SupervisorContext};
