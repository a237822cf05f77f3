//! A Docker-free container engine for `wrangler dev` on Linux.
//!
//! It answers the part of the Docker Engine API that workerd uses, plays workerd's network sidecar, and runs
//! each container as a [`sandbox`]: the agent's binary in fresh namespaces over an overlay of the host's own
//! root file system. No image is built or pulled; there is nothing to install.
//!
//! ```text
//! serve      one engine, from its arguments to its end
//! api        Docker Engine API on a Unix socket: thin handlers
//! engine     images and containers by name
//! container  one container: spec, state, task
//! sandbox    namespaces, root file system, privileges
//! network    a network namespace and sockets in it
//! sidecar    CONNECT tunnels into a network
//! limits     cgroups
//! rootless   an ordinary user as root of a user namespace
//! docker     the CLI face, for what wrangler runs
//! ```
//!
//! # What it does not isolate
//! It is for development, not for code you distrust. Sandboxes share the host's kernel. As root, a sandbox's
//! root is the host's root, held back by namespaces and a reduced set of capabilities. All files of the host
//! that its root may read (outside of homes and the engine's own state), password hashes and service
//! configuration included, can be read inside. Limits need cgroups; without them there are none. There is no
//! network but loopback, in either direction.

pub mod api;
pub mod client;
pub mod container;
pub mod docker;
pub mod engine;
pub mod http;
pub mod id;
pub mod image;
pub mod limits;
pub mod network;
pub mod process;
pub mod rootless;
pub mod sandbox;
pub mod serve;
pub mod sidecar;
pub mod signal;
