//! The engine's instructions to a sandbox's first process.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::host::HostView;
use crate::container::upload::UploadedFile;

/// Everything `init` needs to know. It is sent over a socket, so process lists do not show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Host name inside.
    pub hostname: String,
    /// Program and arguments of the process that becomes PID 1.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// The agent's binary on the host.
    pub agent: PathBuf,
    /// An empty directory of the host, over which the sandbox mounts its tmpfs.
    pub scratch: PathBuf,
    /// Files to place.
    pub uploads: Vec<UploadedFile>,
    /// Limit of the size of the sandbox's files, in bytes (they are in memory).
    pub disk_bytes: u64,
    /// Cgroups to join.
    pub cgroups: Vec<CgroupMembership>,
    /// Which parts of the host are shown and hidden.
    pub host: HostView,
    /// Directories that lie over the host's files, oldest first.
    pub layers: Vec<PathBuf>,
}

/// One cgroup that a sandbox belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupMembership {
    /// The cgroup's directory on the host.
    pub directory: PathBuf,
    /// Name of the hierarchy under /sys/fs/cgroup inside; `None` for the unified one, which is the root there.
    pub hierarchy: Option<String>,
}
