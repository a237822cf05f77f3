//! From the kernel's errors to ours, once.

use cabana_protocol::{Code, Error, file::FilePath};
use rustix::io::Errno;
use serde_json::json;

/// What the kernel's refusal about this path means to the caller.
pub(super) fn failure(path: &FilePath, errno: Errno) -> Error {
    let (code, why) = match errno {
        Errno::NOENT => (Code::NotFound, "no such file or directory"),
        Errno::XDEV => (Code::Forbidden, "it leads outside"),
        Errno::LOOP => (Code::Forbidden, "a symlink on it may not be followed"),
        Errno::ACCESS | Errno::PERM => (Code::Forbidden, "permission denied"),
        Errno::ROFS => (Code::Forbidden, "the file system is read-only"),
        Errno::EXIST => (Code::Conflict, "it exists"),
        Errno::NOTDIR => (Code::Conflict, "not a directory"),
        Errno::ISDIR => (Code::Conflict, "it is a directory"),
        Errno::NOTEMPTY => (Code::Conflict, "the directory is not empty"),
        Errno::BUSY | Errno::TXTBSY => (Code::Conflict, "it is in use"),
        Errno::AGAIN => (Code::Conflict, "directories on it were being renamed"),
        Errno::NXIO => (Code::Conflict, "not a regular file"),
        Errno::NOSPC | Errno::DQUOT => (Code::StorageFull, "the disk is full"),
        Errno::FBIG => (Code::PayloadTooLarge, "larger than the file system, or the limit on the size of files, allows"),
        Errno::NAMETOOLONG => (Code::InvalidRequest, "a name in it is longer than 255 bytes"),
        Errno::INVAL => (Code::InvalidRequest, "the file system does not take such a name"),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => (Code::TooManyRequests, "the sandbox is out of descriptors or memory"),
        _ => (Code::Internal, "the kernel refused"),
    };
    coded(path, code, why, errno)
}

/// The same for a rename, which may find itself between two file systems.
pub(super) fn rename_failure(path: &FilePath, errno: Errno) -> Error {
    match errno {
        Errno::XDEV => coded(path, Code::Unprocessable, "on another file system; only a copy gets there", errno),
        _ => failure(path, errno),
    }
}

fn coded(path: &FilePath, code: Code, why: &str, errno: Errno) -> Error {
    Error::new(code, format!("{path}: {why}")).with_details(json!({ "path": path, "cause": errno.to_string() }))
}

/// The same for what the standard library reports.
pub(super) fn io_failure(path: &FilePath, error: &std::io::Error) -> Error {
    match Errno::from_io_error(error) {
        Some(errno) => failure(path, errno),
        None => Error::internal(format!("{path}: {error}")),
    }
}

/// The path holds something else than the operation works on.
pub(super) fn wrong_kind(path: &FilePath, why: &str) -> Error {
    Error::new(Code::Conflict, format!("{path}: {why}")).with_details(json!({ "path": path }))
}

/// The content is over an operation's limit; the byte lane has none.
pub(super) fn too_large(operation: &str, limit: u64) -> Error {
    let message = format!("{operation} carries at most {limit} bytes; larger content travels on the byte lane, /files?path=…");
    Error::new(Code::PayloadTooLarge, message).with_details(json!({ "limit_bytes": limit }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_system_is_not_outside() {
        let path = FilePath::from("a");
        assert_eq!(rename_failure(&path, Errno::XDEV).code, Code::Unprocessable);
        assert_eq!(failure(&path, Errno::XDEV).code, Code::Forbidden);
        assert_eq!(rename_failure(&path, Errno::NOENT).code, Code::NotFound);
    }
}
