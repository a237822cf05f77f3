//! Where file operations reach: every path is opened beneath a root ([`Confinement`]), so no `..`, symlink or race leads outside.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cabana_protocol::{Code, Error, file::FilePath};

use super::{confinement::Confinement, failure::failure, replaced::Freeing, target::Target};

/// The directories that file operations reach.
#[derive(Debug)]
pub struct Roots {
    paths: Vec<PathBuf>,
    confinement: Confinement,
    /// Held from the check of a condition to the change that it guards, so that of two callers with one ETag one wins.
    change: Mutex<()>,
    freeing: Arc<Freeing>,
}

impl Roots {
    /// These directories, absolute, at least one; they are made when missing.
    ///
    /// Fails when they cannot be made or opened, or when one holds another, which could not be kept from changes through the other.
    pub(crate) fn new(roots: &[PathBuf], confinement: Confinement) -> io::Result<Self> {
        roots.iter().try_for_each(fs::create_dir_all)?;
        let paths = roots.iter().map(fs::canonicalize).collect::<io::Result<Vec<_>>>()?;
        for (index, path) in paths.iter().enumerate() {
            if let Some(other) = paths[..index].iter().find(|other| other.starts_with(path) || path.starts_with(other)) {
                return Err(io::Error::other(format!("the roots {} and {} overlap", other.display(), path.display())));
            }
            confinement.open_root(path).map_err(|errno| io::Error::other(format!("cannot open {}: {errno}", path.display())))?;
        }
        Ok(Self { paths, confinement, change: Mutex::default(), freeing: Arc::default() })
    }

    /// One root, as the kernel lets it be confined.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn at(root: &Path) -> Self {
        Self::new(&[root.to_owned()], Confinement::of_kernel()).expect("a root can be had there")
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

    /// To be held while a file is checked and changed. The change is a system call or two.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaced content on its way out, which still takes room on the disk.
    pub(super) fn freeing(&self) -> &Arc<Freeing> {
        &self.freeing
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
        // For each operation anew, so that a root that was removed and made again is found again.
        let root = self.confinement.open_root(root).map_err(|errno| failure(asked, errno))?;
        Ok(Target::new(asked, root, self.confinement, below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_do_not_overlap() {
        let directory = tempfile::tempdir().unwrap();
        let root = |name: &str| directory.path().join(name);
        std::os::unix::fs::symlink(root("a"), root("link")).unwrap();
        let roots = |roots: &[PathBuf]| Roots::new(roots, Confinement::of_kernel());
        assert!(roots(&[root("a"), root("ab")]).is_ok());
        for other in ["a", "a/inner", "", "link"] {
            let error = roots(&[root("a"), root(other)]).unwrap_err();
            assert!(error.to_string().contains("overlap"), "{other}: {error}");
        }
    }
}
