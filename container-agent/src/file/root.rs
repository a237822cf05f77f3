//! Where file operations reach, confined by the kernel: every path is opened relative to a root with openat2(2) and
//! RESOLVE_BENEATH, so no `..`, symlink or race leads outside.

use std::{
    ffi::OsStr,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cabana_protocol::{Code, Error, file::FilePath};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

use super::{failure::failure, target::Target};

/// The directories that file operations reach.
#[derive(Debug)]
pub struct Roots {
    paths: Vec<PathBuf>,
    /// Held from the check of a condition to the change that it guards, so that of two callers with one ETag one wins.
    change: Mutex<()>,
}

impl Roots {
    /// These directories, absolute, at least one; they are made when missing.
    ///
    /// Fails when they cannot be made, when one holds another, which could not be kept from changes through the other, or when
    /// the kernel does not confine paths.
    pub(crate) fn new(roots: &[PathBuf]) -> io::Result<Self> {
        roots.iter().try_for_each(fs::create_dir_all)?;
        let paths = roots.iter().map(fs::canonicalize).collect::<io::Result<Vec<_>>>()?;
        for (index, path) in paths.iter().enumerate() {
            if let Some(other) = paths[..index].iter().find(|other| other.starts_with(path) || path.starts_with(other)) {
                return Err(io::Error::other(format!("the roots {} and {} overlap", other.display(), path.display())));
            }
            open_root(path).map_err(|errno| unusable(path, errno))?;
        }
        Ok(Self { paths, change: Mutex::new(()) })
    }

    /// Where relative paths begin.
    pub(crate) fn first(&self) -> &Path {
        &self.paths[0]
    }

    /// All of them.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// To be held while a file is checked and changed. The change is a system call or two.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The root that holds this path. Nothing below the root is looked at yet.
    ///
    /// Fails with `invalid_request` (empty, too long, NUL) or `forbidden` (below no root).
    pub(super) fn target<'a>(&self, asked: &'a FilePath) -> Result<Target<'a>, Error> {
        let bytes = asked.as_bytes();
        if bytes.is_empty() || bytes.len() > FilePath::MAX_BYTES || bytes.contains(&0) {
            return Err(Error::invalid_request("a path has 1 to 4,096 bytes, none of them NUL"));
        }
        let path = self.first().join(Path::new(OsStr::from_bytes(bytes)));
        let under = self.paths.iter().find_map(|root| Some((root, path.strip_prefix(root).ok()?)));
        let (root, below) = under.ok_or_else(|| {
            let roots: Vec<_> = self.paths.iter().map(|root| root.display().to_string()).collect();
            let message = format!("{asked}: outside the sandbox's roots ({})", roots.join(", "));
            Error::new(Code::Forbidden, message).with_details(serde_json::json!({ "path": asked }))
        })?;
        let root = open_root(root).map_err(|errno| failure(asked, errno))?;
        Ok(Target::new(asked, root, below))
    }
}

/// A root is opened for each operation, so that one that was removed and made again is found again.
fn open_root(root: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, root, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

fn unusable(root: &Path, errno: Errno) -> io::Error {
    let root = root.display();
    io::Error::other(match errno {
        Errno::NOSYS | Errno::PERM => format!(
            "openat2(2), which confines file operations to {root}, is refused ({errno}): it takes Linux 5.6 or later and a seccomp \
             profile that allows it"
        ),
        _ => format!("cannot open {root}: {errno}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_do_not_overlap() {
        let directory = tempfile::tempdir().unwrap();
        let root = |name: &str| directory.path().join(name);
        std::os::unix::fs::symlink(root("a"), root("link")).unwrap();
        assert!(Roots::new(&[root("a"), root("ab")]).is_ok());
        for other in ["a", "a/inner", "", "link"] {
            let error = Roots::new(&[root("a"), root(other)]).unwrap_err();
            assert!(error.to_string().contains("overlap"), "{other}: {error}");
        }
    }

    #[test]
    fn a_kernel_that_does_not_confine_is_named() {
        for errno in [Errno::NOSYS, Errno::PERM] {
            assert!(unusable(Path::new("/workspace"), errno).to_string().contains("openat2"));
        }
    }
}
