//! Maps the kernel's errors to ours, in one place.

use std::{sync::LazyLock, time::SystemTime};

use cabana_protocol::{Code, Error, file::FilePath};
use rustix::io::Errno;
use serde_json::json;

/// The error for a system call on this path that failed.
pub(crate) fn errno_error(path: &FilePath, errno: Errno) -> Error {
    let (code, reason, why) = match errno {
        Errno::NOENT => (Code::NotFound, "no_such_file", "no such file or directory"),
        Errno::XDEV => (Code::Forbidden, "outside_roots", "the path leads outside the sandbox's roots"),
        Errno::LOOP => (Code::Forbidden, "symlink", "a symlink on the path leads nowhere or must not be followed"),
        Errno::ACCESS | Errno::PERM => (Code::Forbidden, "permission", "permission denied"),
        Errno::ROFS => (Code::Forbidden, "read_only", "the file system is read-only"),
        Errno::EXIST => (Code::Conflict, "exists", "already exists"),
        Errno::NOTDIR => (Code::Conflict, "not_a_directory", "not a directory"),
        Errno::ISDIR => (Code::Conflict, "is_a_directory", "is a directory"),
        Errno::NOTEMPTY => (Code::Conflict, "not_empty", "the directory is not empty"),
        Errno::BUSY | Errno::TXTBSY => (Code::Conflict, "in_use", "is in use"),
        Errno::AGAIN => (Code::Conflict, "changing", "directories on the path were being renamed; try again"),
        Errno::NXIO => (Code::Conflict, "not_a_file", "not a regular file"),
        Errno::NOSPC | Errno::DQUOT => (Code::StorageFull, "disk_full", "the disk is full"),
        Errno::FBIG => (Code::PayloadTooLarge, "too_large", "exceeds the largest file size of the file system or the process"),
        Errno::NAMETOOLONG => (Code::InvalidRequest, "invalid_name", "a name in the path is longer than 255 bytes"),
        Errno::INVAL => (Code::InvalidRequest, "invalid_name", "the file system does not allow this name"),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => {
            (Code::TooManyRequests, "exhausted", "the sandbox is out of file descriptors or memory")
        }
        _ => (Code::Internal, "failed", "the system call failed"),
    };
    let error = coded(path, code, reason, why, errno);
    // A container that is new has none of the files of the one before.
    if errno == Errno::NOENT { error.with_details(json!({ "started_at": &*STARTED_AT })) } else { error }
}

/// When the agent was started, and with it the container, RFC 3339 in UTC.
static STARTED_AT: LazyLock<String> = LazyLock::new(|| humantime::format_rfc3339_millis(SystemTime::now()).to_string());

/// Notes that the agent starts now.
pub(crate) fn note_start() {
    LazyLock::force(&STARTED_AT);
}

/// The error for a failed rename or link: EXDEV then means two file systems, not a path that leads outside.
pub(crate) fn rename_error(path: &FilePath, errno: Errno) -> Error {
    match errno {
        Errno::XDEV => coded(path, Code::Unprocessable, "other_file_system", "is on another file system; copy it instead", errno),
        _ => errno_error(path, errno),
    }
}

fn coded(path: &FilePath, code: Code, reason: &str, why: &str, errno: Errno) -> Error {
    Error::new(code, format!("{path}: {why}")).with_details(json!({ "reason": reason, "path": path, "cause": errno.to_string() }))
}

/// The error for an IO error of the standard library.
pub(crate) fn io_error(path: &FilePath, error: &std::io::Error) -> Error {
    match Errno::from_io_error(error) {
        Some(errno) => errno_error(path, errno),
        None => Error::internal(format!("{path}: {error}")),
    }
}

/// The error for something at the path that the operation does not work on.
pub(crate) fn conflict(path: &FilePath, reason: &str, why: &str) -> Error {
    Error::new(Code::Conflict, format!("{path}: {why}")).with_details(json!({ "reason": reason, "path": path }))
}

/// The error for content above an operation's limit; the byte lane has none.
pub(crate) fn content_too_large(operation: &str, limit: u64) -> Error {
    let message = format!("{operation} carries at most {limit} bytes; use the byte lane for larger content: /files?path=…");
    Error::new(Code::PayloadTooLarge, message).with_details(json!({ "reason": "too_large", "limit_bytes": limit }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_to_another_file_system_is_not_outside() {
        let path = FilePath::from("a");
        assert_eq!(rename_error(&path, Errno::XDEV).code, Code::Unprocessable);
        assert_eq!(errno_error(&path, Errno::XDEV).code, Code::Forbidden);
        assert_eq!(rename_error(&path, Errno::NOENT).code, Code::NotFound);
    }
}
