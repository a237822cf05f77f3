//! The sandbox's file system, confined to its roots by the kernel. It knows nothing of operations.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`roots`] | the directories that operations reach |
//! | [`target`] | a path below a root, and the name at its end |
//! | [`resolve`] | opening what is beneath a directory, and never what is not |
//! | [`dir`] | walking a tree of any depth with few descriptors; removing one |
//! | [`temp`] | content that appears whole, and content that it replaces |
//! | [`metadata`] | statx(2), ETags, permission bits |
//! | [`as_user`] | making files for the user whom commands run as |
//! | [`work`] | work on files, on threads that may block |
//! | [`error`] | from the kernel's errors to ours |

mod as_user;
mod dir;
mod error;
mod metadata;
mod resolve;
mod roots;
mod target;
mod temp;
mod work;

/// What fuzzing calls.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    pub use super::resolve::fuzz::path;
}

pub use as_user::{AsUser, AsUserGuard};
pub(crate) use dir::{DirStack, OpenDir, clear_directory, remove_tree};
pub(crate) use error::{conflict, content_too_large, errno_error, io_error, note_start, rename_error};
pub(crate) use metadata::{Identity, etag, file_type, identity, identity_of, look, modified, permissions, without_privileges};
pub use resolve::Confinement;
pub(crate) use resolve::{Dir, caller_path, is_dots, join, open_file};
pub use roots::Roots;
pub(crate) use roots::{ChangeLock, Claim};
pub(crate) use target::{Entry, Target};
pub(crate) use temp::{
    DeferredUnlink, Temporary, TemporaryDirectory, TemporaryName, is_temporary_name, replace_with_link, replace_with_symlink,
};
pub use work::FileSystem;
