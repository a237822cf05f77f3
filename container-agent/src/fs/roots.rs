//! Where file operations reach: every path is opened beneath a root ([`Confinement`]), so no `..`, symlink or race leads outside.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs, io,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use cabana_protocol::{Code, Error, file::FilePath};
use rustix::io::Errno;

use super::{Confinement, Identity, Target, errno_error, look, temp::PendingFrees};

/// The directories that file operations reach.
#[derive(Debug)]
pub struct Roots {
    paths: Vec<PathBuf>,
    /// Those of which nothing may be changed.
    read_only: Vec<PathBuf>,
    confinement: Confinement,
    changes: Changes,
    pending_frees: Arc<PendingFrees>,
    claims: Arc<Claims>,
}

/// The file systems in which something is being changed.
#[derive(Debug, Default)]
struct Changes {
    locked: Mutex<HashSet<(u32, u32)>>,
    released: Condvar,
}

/// Held from the check of a condition to the change that it guards, so that of two callers with one ETag one wins.
#[derive(Debug)]
pub(crate) struct ChangeLock<'a> {
    changes: &'a Changes,
    device: (u32, u32),
}

/// Files that are being written in place, each with the number of its latest writer.
type Claims = Mutex<HashMap<Identity, Arc<Mutex<u64>>>>;

/// The right to write a file in place, until another writer claims it.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    identity: Identity,
    latest: Arc<Mutex<u64>>,
    number: u64,
}

impl Roots {
    /// These directories, absolute, at least one, some of which may only be read; they are made when missing.
    ///
    /// Fails when they cannot be made or opened, or when one holds another, which could not be kept from changes through the other.
    pub(crate) fn new(roots: &[PathBuf], read_only: &[PathBuf], confinement: Confinement) -> io::Result<Self> {
        roots.iter().try_for_each(fs::create_dir_all)?;
        let paths = roots.iter().map(fs::canonicalize).collect::<io::Result<Vec<_>>>()?;
        let read_only = read_only.iter().map(fs::canonicalize).collect::<io::Result<Vec<_>>>()?;
        for (index, path) in paths.iter().enumerate() {
            if let Some(other) = paths[..index].iter().find(|other| other.starts_with(path) || path.starts_with(other)) {
                return Err(io::Error::other(format!("the roots {} and {} overlap", other.display(), path.display())));
            }
            confinement.open_root(path).map_err(|errno| io::Error::other(format!("cannot open {}: {errno}", path.display())))?;
        }
        Ok(Self {
            paths,
            read_only,
            confinement,
            changes: Changes::default(),
            pending_frees: Arc::default(),
            claims: Arc::default(),
        })
    }

    /// One root, as the kernel lets it be confined.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn at(root: &Path) -> Self {
        Self::new(&[root.to_owned()], &[], Confinement::detect()).expect("a root can be had there")
    }

    /// What keeps paths beneath them.
    pub(crate) fn confinement(&self) -> Confinement {
        self.confinement
    }

    /// Where relative paths begin.
    pub(crate) fn first(&self) -> &Path {
        &self.paths[0]
    }

    /// All of them.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// To be held while a file in this directory is checked and changed. The change is a system call or two. Each file system has a lock of
    /// its own, so that one that does not answer holds up no other.
    pub(crate) fn lock_changes(&self, directory: impl AsFd) -> Result<ChangeLock<'_>, Errno> {
        let stat = look(directory, c"")?;
        let device = (stat.stx_dev_major, stat.stx_dev_minor);
        let mut locked = lock(&self.changes.locked);
        while !locked.insert(device) {
            locked = self.changes.released.wait(locked).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(ChangeLock { changes: &self.changes, device })
    }

    /// Replaced content on its way out, which still takes room on the disk.
    pub(crate) fn pending_frees(&self) -> &Arc<PendingFrees> {
        &self.pending_frees
    }

    /// Claims a file for writing it in place. An earlier claim ends.
    pub(crate) fn claim(&self, identity: Identity) -> Claim {
        let latest = Arc::clone(lock(&self.claims).entry(identity).or_default());
        let number = {
            let mut latest = lock(&latest);
            *latest += 1;
            *latest
        };
        Claim { claims: Arc::clone(&self.claims), identity, latest, number }
    }

    /// The root that holds this path. Nothing below the root is looked at yet.
    ///
    /// Fails with `invalid_request` (empty, too long, NUL) or `forbidden` (below no root).
    pub(crate) fn target<'a>(&self, asked: &'a FilePath) -> Result<Target<'a>, Error> {
        let (root, below) = self.find(asked)?;
        // For each operation anew, so that a root that was removed and made again is found again.
        let root = self.confinement.open_root(root).map_err(|errno| errno_error(asked, errno))?;
        Ok(Target::new(asked, root, self.confinement, &below))
    }

    /// The same for what is to be changed.
    ///
    /// Fails with `forbidden`, too, where the root may only be read. No path leads from one root into another.
    pub(crate) fn target_to_change<'a>(&self, asked: &'a FilePath) -> Result<Target<'a>, Error> {
        let (root, _) = self.find(asked)?;
        if self.read_only.contains(root) {
            let message = format!("{asked}: file operations may only read {}", root.display());
            return Err(Error::new(Code::Forbidden, message)
                .with_details(serde_json::json!({ "reason": "read_only", "path": asked, "root": root.display().to_string() })));
        }
        self.target(asked)
    }

    fn find(&self, asked: &FilePath) -> Result<(&PathBuf, PathBuf), Error> {
        let bytes = asked.as_bytes();
        if bytes.is_empty() || bytes.len() > FilePath::MAX_BYTES || bytes.contains(&0) {
            return Err(Error::invalid_request("a path has 1 to 4,096 bytes, none of them NUL").because("invalid_name"));
        }
        let path = self.first().join(Path::new(OsStr::from_bytes(bytes)));
        let under = self.paths.iter().find_map(|root| Some((root, path.strip_prefix(root).ok()?)));
        let (root, below) = under.ok_or_else(|| {
            let roots: Vec<_> = self.paths.iter().map(|root| root.display().to_string()).collect();
            let message = format!(
                "{asked}: outside the sandbox's roots ({}); a sandbox that is created with it among its `roots` reaches it, and so do commands",
                roots.join(", ")
            );
            Error::new(Code::Forbidden, message)
                .with_details(serde_json::json!({ "reason": "outside_roots", "path": asked, "roots": roots }))
        })?;
        Ok((root, below.to_owned()))
    }
}

impl Drop for ChangeLock<'_> {
    fn drop(&mut self) {
        lock(&self.changes.locked).remove(&self.device);
        self.changes.released.notify_all();
    }
}

impl Claim {
    /// Keeps others from claiming the file, for a write or two; `None` when it is claimed by another already.
    pub(crate) fn hold(&self) -> Option<MutexGuard<'_, u64>> {
        Some(lock(&self.latest)).filter(|latest| **latest == self.number)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = lock(&self.claims);
        // This one's and the table's.
        if Arc::strong_count(&self.latest) == 2 {
            claims.remove(&self.identity);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_do_not_overlap() {
        let directory = tempfile::tempdir().unwrap();
        let root = |name: &str| directory.path().join(name);
        std::os::unix::fs::symlink(root("a"), root("link")).unwrap();
        let roots = |roots: &[PathBuf]| Roots::new(roots, &[], Confinement::detect());
        assert!(roots(&[root("a"), root("ab")]).is_ok());
        for other in ["a", "a/inner", "", "link"] {
            let error = roots(&[root("a"), root(other)]).unwrap_err();
            assert!(error.to_string().contains("overlap"), "{other}: {error}");
        }
    }
}
