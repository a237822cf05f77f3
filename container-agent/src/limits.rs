//! Every limit of the agent that can be set, its default, and the variable that sets it. Bounds of single buffers, which nobody
//! needs to set, stand where the buffers are.

use std::{ffi::OsString, time::Duration};

use anyhow::Context;

/// What the agent allows. Exceeding a count answers `too_many_requests`, exceeding a size `payload_too_large`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Processes started by callers that run at once. `CABANA_MAX_PROCESSES`, default 1,024.
    pub processes: usize,
    /// Sessions that live at once. `CABANA_MAX_SESSIONS`, default 256.
    pub sessions: usize,
    /// Connections open at once; more wait to be accepted. `CABANA_MAX_CONNECTIONS`, default 1,024.
    pub connections: usize,
    /// Operations running at once on one WebSocket. `CABANA_MAX_OPERATIONS_PER_SOCKET`, default 256.
    pub operations_per_socket: usize,
    /// Bytes of one JSON request or WebSocket message; the byte lanes have no such limit. `CABANA_MAX_REQUEST_BYTES`, default 16 MiB.
    pub request_bytes: usize,
    /// Watches at once, of `file.watch` and `file.changes`. `CABANA_MAX_WATCHES`, default 64; the kernel has a limit of its own for each user, 128 by default.
    pub watches: usize,
    /// Directories that one of them covers. `CABANA_MAX_WATCHED_DIRECTORIES`, default 16,384.
    pub watched_directories: usize,
    /// Bytes of output of all detached processes together that are kept in memory for replay. When they print more, the one of
    /// which most is kept moves its oldest to disk. `CABANA_REPLAY_BYTES`, default 32 MiB.
    pub replay_bytes: usize,
    /// Bytes of output of one detached process that are kept on disk, once they are more than the 1 MiB kept in memory; less
    /// than 64 KiB keeps none there. What is older is forgotten. `CABANA_REPLAY_DISK_BYTES`, default 64 MiB.
    pub replay_disk_bytes: usize,
    /// The same of all detached processes together. When they print more, the one of which most is kept forgets its oldest.
    /// `CABANA_REPLAY_DISK_TOTAL_BYTES`, default 512 MiB.
    pub replay_disk_total_bytes: usize,
    /// Runs of `file.find` and `file.search` at once; more wait for their turn. `CABANA_MAX_SEARCHES`, default 8.
    pub searches: usize,
    /// Bytes of what git prints that one operation on a repository takes in; the answer says so where there is more.
    /// `CABANA_MAX_GIT_OUTPUT_BYTES`, default 4 MiB.
    pub git_output_bytes: usize,
    /// Archives that are made or extracted at once. `CABANA_MAX_ARCHIVES`, default 16.
    pub archives: usize,
    /// What one archive that is extracted may come to.
    pub archive: ArchiveLimits,
    /// How long a process tree may take to end after SIGTERM, before SIGKILL. `CABANA_KILL_GRACE_MS`, default 2,000.
    pub kill_grace: Duration,
}

/// What an archive that is extracted may come to, before it is stopped with `payload_too_large`.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveLimits {
    /// Entries. `CABANA_MAX_ARCHIVE_ENTRIES`, default 1,000,000.
    pub entries: u64,
    /// Bytes, once decompressed. `CABANA_MAX_ARCHIVE_BYTES`, default 16 GiB.
    pub bytes: u64,
    /// How many times its compressed size, beyond the first 64 MiB. `CABANA_MAX_ARCHIVE_RATIO`, default 250.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 1_024,
            sessions: 256,
            connections: 1_024,
            operations_per_socket: 256,
            request_bytes: 16 << 20,
            watches: 64,
            watched_directories: 16_384,
            replay_bytes: 32 << 20,
            replay_disk_bytes: 64 << 20,
            replay_disk_total_bytes: 512 << 20,
            searches: 8,
            git_output_bytes: 4 << 20,
            archives: 16,
            archive: ArchiveLimits { entries: 1_000_000, bytes: 16 << 30, ratio: 250 },
            kill_grace: Duration::from_secs(2),
        }
    }
}

impl Limits {
    /// The defaults, with what `variable` finds in their place.
    pub fn from_env(variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
        let number = |name: &str, default: usize| match variable(name) {
            None => Ok(default),
            Some(text) => text
                .to_str()
                .and_then(|text| text.parse().ok())
                .filter(|number| *number > 0)
                .with_context(|| format!("{name} must be a positive number")),
        };
        let defaults = Self::default();
        let large = |name: &str, default: u64| anyhow::Ok(number(name, usize::try_from(default)?)? as u64);
        let grace_ms = usize::try_from(defaults.kill_grace.as_millis())?;
        Ok(Self {
            processes: number("CABANA_MAX_PROCESSES", defaults.processes)?,
            sessions: number("CABANA_MAX_SESSIONS", defaults.sessions)?,
            connections: number("CABANA_MAX_CONNECTIONS", defaults.connections)?,
            operations_per_socket: number("CABANA_MAX_OPERATIONS_PER_SOCKET", defaults.operations_per_socket)?,
            request_bytes: number("CABANA_MAX_REQUEST_BYTES", defaults.request_bytes)?,
            watches: number("CABANA_MAX_WATCHES", defaults.watches)?,
            watched_directories: number("CABANA_MAX_WATCHED_DIRECTORIES", defaults.watched_directories)?,
            replay_bytes: number("CABANA_REPLAY_BYTES", defaults.replay_bytes)?,
            replay_disk_bytes: number("CABANA_REPLAY_DISK_BYTES", defaults.replay_disk_bytes)?,
            replay_disk_total_bytes: number("CABANA_REPLAY_DISK_TOTAL_BYTES", defaults.replay_disk_total_bytes)?,
            searches: number("CABANA_MAX_SEARCHES", defaults.searches)?,
            git_output_bytes: number("CABANA_MAX_GIT_OUTPUT_BYTES", defaults.git_output_bytes)?,
            archives: number("CABANA_MAX_ARCHIVES", defaults.archives)?,
            archive: ArchiveLimits {
                entries: large("CABANA_MAX_ARCHIVE_ENTRIES", defaults.archive.entries)?,
                bytes: large("CABANA_MAX_ARCHIVE_BYTES", defaults.archive.bytes)?,
                ratio: large("CABANA_MAX_ARCHIVE_RATIO", defaults.archive.ratio)?,
            },
            kill_grace: Duration::from_millis(number("CABANA_KILL_GRACE_MS", grace_ms)? as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_override_and_nonsense_is_refused() {
        let with = |value: &'static str| Limits::from_env(move |name| (name == "CABANA_MAX_PROCESSES").then(|| value.into()));
        assert_eq!(with("7").unwrap().processes, 7);
        assert_eq!(with("7").unwrap().connections, Limits::default().connections);
        for name in [
            "CABANA_MAX_PROCESSES",
            "CABANA_MAX_SESSIONS",
            "CABANA_MAX_CONNECTIONS",
            "CABANA_MAX_OPERATIONS_PER_SOCKET",
            "CABANA_MAX_REQUEST_BYTES",
            "CABANA_MAX_WATCHES",
            "CABANA_MAX_WATCHED_DIRECTORIES",
            "CABANA_REPLAY_BYTES",
            "CABANA_REPLAY_DISK_BYTES",
            "CABANA_REPLAY_DISK_TOTAL_BYTES",
            "CABANA_MAX_SEARCHES",
            "CABANA_MAX_GIT_OUTPUT_BYTES",
            "CABANA_MAX_ARCHIVES",
            "CABANA_MAX_ARCHIVE_ENTRIES",
            "CABANA_MAX_ARCHIVE_BYTES",
            "CABANA_MAX_ARCHIVE_RATIO",
            "CABANA_KILL_GRACE_MS",
        ] {
            for nonsense in ["", "0", "-1", "1.5", "1k", "many", "99999999999999999999"] {
                let error = Limits::from_env(|asked| (asked == name).then(|| nonsense.into())).unwrap_err();
                assert!(error.to_string().contains(name), "{name}={nonsense}: {error}");
            }
        }
    }
}
