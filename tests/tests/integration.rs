//! One binary for all cases, so that they are linked once. Each case runs in a sandbox of its own, against the agent alone or the
//! whole stack. Its module says where else it does not run, and `cargo xtask test` filters by that:
//!
//! - `control::`: cases of the whole stack, skipped on the agent.
//! - `agent_only`, at any depth: cases that start an agent of their own making, skipped in the image and on the stack.
//! - `bounded`, at any depth: cases that use up what they may have, skipped on the local service, which gives its sandboxes much.
//! - `image_only`, at any depth: cases that start a container of the image of their own making, skipped everywhere else.
//! - `kernels`, at any depth: cases that run code on kernels of Jupyter. In the image they run in that of the kind `python`.
//! - `large`, at any depth: cases that need more memory than the smallest container has. In the image they run in a larger one.
//! - `serial`, at any depth: cases that load the machine or measure it, run one after another behind all others.
//! - `control::outages`: cases that kill a service under all sandboxes, run last and one after another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent_only {
    mod limits;
    mod memory;
}
mod archives;
mod attacks {
    mod serial;
}
mod bare;
mod code;
mod control;
mod differential;
mod errors;
mod exec;
mod files;
mod git;
mod image_only;
mod machine;
mod port;
mod process;
mod project;
mod serial {
    mod load;
}
mod session;
mod slow;
mod socket;
mod system;
mod terminal;
mod wire;
