//! A Docker-free container engine for `wrangler dev` on Linux.
//!
//! It serves the part of the Docker Engine API that workerd uses, implements workerd's network sidecar, and runs
//! each container as a [`sandbox`]: the agent's binary in fresh namespaces over an overlay of the host's own
//! root file system. No image is built or pulled; there is nothing to install.
//!
//! ```text
//! serve      starting and stopping the engine
//! api        Docker Engine API on a Unix socket: thin handlers
//! engine     images and containers by name
//! prune      freeing what earlier runs have left
//! layer      what committed containers have changed
//! container  one container: spec, state, task
//! sandbox    namespaces, root file system, privileges
//! network    a network namespace and sockets in it
//! sidecar    CONNECT tunnels into a network
//! limits     cgroups
//! faults     starts that tests make fail
//! rootless   an ordinary user as root of a user namespace
//! docker     the docker commands that wrangler runs
//! ```
//!
//! # With wrangler
//! `cabana-engine serve --socket S --agent A --state D`, and for `wrangler dev`: `DOCKER_HOST=unix://S`,
//! `WRANGLER_DOCKER_BIN=` a link named `docker` to this binary, `MINIFLARE_CONTAINER_EGRESS_IMAGE=` any name.
//! `wrangler deploy --dry-run` needs only the second.
//!
//! # What a sandbox gets
//! - The host's programs and system files, in a root file system whose changes live in memory and end with it, unless it is
//!   committed: then they are copied to a [`layer`] on disk, which later sandboxes share.
//! - An empty /workspace, /tmp, /var/tmp, /run, /home and home (/root); from the host's homes only the
//!   toolchains that [`sandbox::host`] lists, read-only.
//! - PATH, HOME, HOSTNAME, LANG, TERM, the host's CA bundle and proxies ([`sandbox::host_network`]), and the variables of its
//!   creator; no other variable of the engine's.
//! - Root without the capabilities that reach the kernel or the host.
//! - 4096 processes and 8 GiB of memory (at most three quarters of the machine's) by default. Its files may take half of
//!   the memory.
//!
//! # What it does not isolate
//! It is for development, not for code you distrust. Sandboxes share the host's kernel. Where the engine runs as root, a
//! sandbox's root is the host's root, restricted by namespaces and a reduced set of capabilities. A sandbox can read all
//! files of the host that root may read, password hashes and service configuration included, except homes and the
//! engine's state. Limits need cgroups; without them there are none. Connections and names go to the
//! internet as [`sidecar`] says; a sandbox reaches neither the host nor other sandboxes. Every program of the host reaches its ports.

pub mod api;
pub mod client;
pub mod container;
pub mod docker;
pub mod engine;
pub mod faults;
pub mod http;
pub mod id;
pub mod image;
pub mod layer;
pub mod limits;
pub mod mount_table;
pub mod network;
pub mod process;
pub mod prune;
pub mod rootless;
pub mod sandbox;
pub mod serve;
pub mod sidecar;
pub mod signal;
