//! Every limit of the agent that can be set, its default, and the variable that sets it. Bounds of single buffers, which nobody
//! needs to set, stand where the buffers are.

use std::{ffi::OsString, time::Duration};

use anyhow::Context;
use cabana_protocol::{Code, Error};
use serde_json::json;

/// What can be limited: a number that is read from a variable, and shown in a table.
trait Limit: Sized {
    fn of(number: u64) -> Option<Self>;

    #[cfg(test)]
    fn number(&self) -> u64;
}

/// Makes all of it from one list: of each limit its meaning, its name, type and default, and its variable. Sizes are in bytes, spans of
/// time in milliseconds.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:expr, $variable:literal;)+) => {
        /// What the agent allows. Exceeding a count answers `too_many_requests`, exceeding a size `payload_too_large`.
        #[derive(Debug, Clone)]
        pub struct Limits {
            $($(#[doc = $doc])+ #[doc = concat!("\n`", $variable, "`, default `", stringify!($default), "`.")] pub $name: $kind,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// The defaults, with what `variable` finds in their place.
            ///
            /// Fails where that is not a positive number.
            pub fn from_env(variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
                Ok(Self { $($name: read($variable, variable($variable), $default)?,)+ })
            }

            /// Of each limit its variable, its default, and what it means.
            #[cfg(test)]
            fn described() -> Vec<(&'static str, String, &'static str)> {
                let defaults = Self::default();
                vec![$(($variable, tests::show($variable, defaults.$name.number()), concat!($($doc,)+)),)+]
            }
        }
    };
}

limits! {
    /// Processes started by callers that run at once.
    processes: usize = 1_024, "CABANA_MAX_PROCESSES";
    /// Sessions that live at once.
    sessions: usize = 256, "CABANA_MAX_SESSIONS";
    /// Contexts of code that live at once. Each has a process of its own: 50 MB for Python, 200 MB for JavaScript.
    contexts: usize = 32, "CABANA_MAX_CONTEXTS";
    /// How long a context may be idle before it is ended.
    context_idle: Duration = Duration::from_millis(1_800_000), "CABANA_CONTEXT_IDLE_MS";
    /// Connections that have a request under way at once. `GET /health` answers beyond that.
    connections: usize = 1_024, "CABANA_MAX_CONNECTIONS";
    /// How long a client may take to send a request's head.
    header_timeout: Duration = Duration::from_millis(30_000), "CABANA_HEADER_TIMEOUT_MS";
    /// How long nothing of a request's body may come before it is given up.
    body_timeout: Duration = Duration::from_millis(300_000), "CABANA_BODY_TIMEOUT_MS";
    /// Operations running at once on one WebSocket.
    operations_per_socket: usize = 256, "CABANA_MAX_OPERATIONS_PER_SOCKET";
    /// Bytes of one JSON request or WebSocket message; the byte lanes have no such limit.
    request_bytes: usize = 16 << 20, "CABANA_MAX_REQUEST_BYTES";
    /// Bytes of memory that the bodies of requests, answers in JSON, folded output, inputs that wait, WebSockets, watches and output for callers who may return hold together. They never
    /// get more than a quarter of the container's memory, which counts as 256 MiB at least and 12 GiB at most.
    memory_bytes: usize = 1 << 30, "CABANA_MEMORY_BYTES";
    /// Watches at once, of `file.watch` and `file.changes`; the kernel has a limit of its own for each user, 128 by default.
    watches: usize = 64, "CABANA_MAX_WATCHES";
    /// Directories that one of them covers.
    watched_directories: usize = 16_384, "CABANA_MAX_WATCHED_DIRECTORIES";
    /// Bytes of output of all detached processes together that are kept in memory for replay. When they print more, the one of
    /// which most is kept moves its oldest to disk.
    replay_bytes: usize = 32 << 20, "CABANA_REPLAY_BYTES";
    /// Bytes of output of one detached process that are kept on disk, once they are more than the 1 MiB kept in memory; less
    /// than 64 KiB keeps none there. What is older is forgotten.
    replay_disk_bytes: usize = 64 << 20, "CABANA_REPLAY_DISK_BYTES";
    /// The same of all detached processes together. When they print more, the one of which most is kept forgets its oldest.
    replay_disk_total_bytes: usize = 512 << 20, "CABANA_REPLAY_DISK_TOTAL_BYTES";
    /// How long a command goes on whose caller's connection was lost, until the caller is back by `process.attach`. One that ended is
    /// remembered for as long.
    reconnect_grace: Duration = Duration::from_millis(30_000), "CABANA_RECONNECT_GRACE_MS";
    /// Bytes of output of one command that are kept behind its caller, who may have lost them with its connection. All commands together
    /// take a quarter of `CABANA_MEMORY_BYTES`.
    reconnect_bytes: usize = 1 << 20, "CABANA_RECONNECT_BYTES";
    /// Runs of `file.find` and `file.search` at once; more wait for their turn.
    searches: usize = 8, "CABANA_MAX_SEARCHES";
    /// Bytes of what git prints that one operation on a repository takes in; the answer says so where there is more.
    git_output_bytes: usize = 4 << 20, "CABANA_MAX_GIT_OUTPUT_BYTES";
    /// How long a git remote may send less than 1 KiB/s, in whole seconds.
    git_stall: Duration = Duration::from_millis(30_000), "CABANA_GIT_STALL_MS";
    /// How long an operation on one file may take; archives, and operations on whole trees, take as long as they need.
    file_timeout: Duration = Duration::from_millis(120_000), "CABANA_FILE_TIMEOUT_MS";
    /// Archives that are made or extracted at once.
    archives: usize = 16, "CABANA_MAX_ARCHIVES";
    /// How long the client of an archive may read nothing of it before the download is given up.
    archive_timeout: Duration = Duration::from_millis(60_000), "CABANA_ARCHIVE_TIMEOUT_MS";
    /// Entries of one archive that is extracted.
    archive_entries: u64 = 1_000_000, "CABANA_MAX_ARCHIVE_ENTRIES";
    /// Bytes that it comes to, once decompressed.
    archive_bytes: u64 = 16 << 30, "CABANA_MAX_ARCHIVE_BYTES";
    /// How many times its compressed size that may be, beyond the first 64 MiB.
    archive_ratio: u64 = 250, "CABANA_MAX_ARCHIVE_RATIO";
    /// How long a process tree may take to end after SIGTERM, before SIGKILL.
    kill_grace: Duration = Duration::from_millis(2_000), "CABANA_KILL_GRACE_MS";
}

/// What an archive that is extracted may come to, before it is stopped with `payload_too_large`.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveLimits {
    /// [`Limits::archive_entries`].
    pub entries: u64,
    /// [`Limits::archive_bytes`].
    pub bytes: u64,
    /// [`Limits::archive_ratio`].
    pub ratio: u64,
}

impl Limits {
    /// Those of one archive.
    pub fn archive(&self) -> ArchiveLimits {
        ArchiveLimits { entries: self.archive_entries, bytes: self.archive_bytes, ratio: self.archive_ratio }
    }
}

/// Error for a limit that has been reached.
pub(crate) fn reached(limit: usize, what: &str) -> Error {
    Error::new(Code::TooManyRequests, format!("{limit} {what}")).with_details(json!({ "limit": limit }))
}

fn read<T: Limit>(name: &str, variable: Option<OsString>, default: T) -> anyhow::Result<T> {
    let Some(text) = variable else { return Ok(default) };
    let number = text.to_str().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    number.and_then(T::of).with_context(|| format!("{name} must be a positive number"))
}

impl Limit for usize {
    fn of(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    #[cfg(test)]
    fn number(&self) -> u64 {
        *self as u64
    }
}

impl Limit for u64 {
    fn of(number: u64) -> Option<Self> {
        Some(number)
    }

    #[cfg(test)]
    fn number(&self) -> u64 {
        *self
    }
}

impl Limit for Duration {
    fn of(number: u64) -> Option<Self> {
        Some(Self::from_millis(number))
    }

    #[cfg(test)]
    fn number(&self) -> u64 {
        u64::try_from(self.as_millis()).expect("no default is that long")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    const BEGIN: &str = "<!-- limits: begin -->\n";
    const END: &str = "<!-- limits: end -->\n";

    /// A default as people write it: sizes in the largest unit that takes no fraction, other numbers with commas.
    pub(super) fn show(variable: &str, number: u64) -> String {
        const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        if variable.ends_with("_BYTES") {
            let (unit, bytes) = UNITS.into_iter().find(|(_, bytes)| number.is_multiple_of(*bytes)).unwrap();
            return format!("{} {unit}", number / bytes);
        }
        let digits = number.to_string();
        let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
        groups.join(",")
    }

    #[test]
    fn variables_override_and_nonsense_is_refused() {
        let with = |value: &'static str| Limits::from_env(move |name| (name == "CABANA_MAX_PROCESSES").then(|| value.into()));
        assert_eq!(with("7").unwrap().processes, 7);
        assert_eq!(with("7").unwrap().connections, Limits::default().connections);
        for (name, _, _) in Limits::described() {
            for nonsense in ["", "0", "-1", "1.5", "1k", "many", "99999999999999999999"] {
                let error = Limits::from_env(|asked| (asked == name).then(|| nonsense.into())).unwrap_err();
                assert!(error.to_string().contains(name), "{name}={nonsense}: {error}");
            }
        }
    }

    #[test]
    fn limits_page_lists_every_limit() {
        let lines = Limits::described()
            .into_iter()
            .map(|(variable, default, meaning)| format!("| `{variable}` | {default} |{meaning} |\n"));
        let table = format!("| variable | default | what it limits |\n| --- | --- | --- |\n{}", lines.collect::<String>());
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/limits.md");
        let page = fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(BEGIN).expect("docs/limits.md marks the table's begin");
        let (kept, after) = rest.split_once(END).expect("docs/limits.md marks the table's end");
        if std::env::var_os("CABANA_BLESS").is_some() {
            fs::write(&path, [before, BEGIN, &table, END, after].concat()).unwrap();
        } else {
            assert!(kept == table, "CABANA_BLESS=1 cargo test -p cabana-agent writes the table of docs/limits.md:\n{table}");
        }
    }
}
