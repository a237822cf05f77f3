//! What has been put in place and removed, and how to take it back.

use cabana_protocol::{
    Error,
    file::{FilePath, Written},
};
use rustix::{
    fs::{AtFlags, FileType, linkat, renameat, unlinkat},
    io::{Errno, fcntl_dupfd_cloexec},
};

use super::super::{
    failure::{failure, wrong_kind},
    metadata::{etag, file_type, look},
    root::Roots,
    target::Entry,
    temporary::Name,
    upload::Upload,
};

/// A file that is to be removed, if it is still this version.
#[derive(Debug)]
pub(super) struct Removal {
    path: FilePath,
    etag: String,
}

/// What was changed so far. Dropping it lets the changes stand.
#[derive(Debug, Default)]
pub(super) struct Undo(Vec<Changed>);

/// A name that means something else by now.
#[derive(Debug)]
struct Changed {
    entry: Entry,
    /// Another name of what it meant before, if anything; gone when it is dropped.
    before: Option<Name>,
}

impl Removal {
    pub(super) fn new(path: FilePath, etag: String) -> Self {
        Self { path, etag }
    }
}

impl Undo {
    /// Puts an upload in place. To be called while changes are held.
    pub(super) fn place(&mut self, roots: &Roots, path: &FilePath, upload: Upload) -> Result<Written, Error> {
        let kept = match roots.target(path)?.follow()? {
            (target, Some(_)) => Some(Changed::keeping(target.entry()?).map_err(|errno| failure(path, errno))?),
            (_, None) => None,
        };
        let (written, _) = upload.place(roots)?;
        let changed = match kept {
            Some(changed) => changed,
            None => Changed { entry: roots.target(path)?.follow()?.0.entry()?, before: None },
        };
        self.0.push(changed);
        Ok(written)
    }

    /// Removes a file. To be called while changes are held.
    pub(super) fn remove(&mut self, roots: &Roots, removal: Removal) -> Result<(), Error> {
        let Removal { path, etag: known } = removal;
        let refused = |errno| failure(&path, errno);
        let entry = roots.target(&path)?.entry()?;
        let stat = look(&entry.parent, &entry.name).map_err(refused)?;
        if file_type(&stat) != FileType::RegularFile || etag(&stat) != known {
            return Err(wrong_kind(&path, "it is a symlink, or was changed meanwhile"));
        }
        let before = beside(&entry).map_err(refused)?;
        renameat(&entry.parent, &entry.name, &before.directory, &before.name).map_err(refused)?;
        self.0.push(Changed { entry, before: Some(before) });
        Ok(())
    }

    /// Takes everything back, the last first. Directories that were made stay, and so does what cannot be taken back.
    pub(super) fn take_back(self) {
        for Changed { entry, before } in self.0.into_iter().rev() {
            let _ = match before {
                Some(before) => renameat(&before.directory, &before.name, &entry.parent, &entry.name),
                None => unlinkat(&entry.parent, &entry.name, AtFlags::empty()),
            };
        }
    }
}

impl Changed {
    /// Gives what a name means another name, for as long as it may be wanted back.
    fn keeping(entry: Entry) -> Result<Self, Errno> {
        let before = beside(&entry)?;
        linkat(&entry.parent, &entry.name, &before.directory, &before.name, AtFlags::empty())?;
        Ok(Self { entry, before: Some(before) })
    }
}

/// A name in the same directory that nobody has.
fn beside(entry: &Entry) -> Result<Name, Errno> {
    Name::new(fcntl_dupfd_cloexec(&entry.parent, 0)?)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::file::Conditions;

    fn upload(roots: &Roots, path: &str) -> Upload {
        let mut upload = Upload::begin(roots, path.into(), None, Conditions::default(), None).unwrap();
        upload.write(roots, b"new").unwrap();
        upload
    }

    fn tree(root: &Path) -> Vec<(String, String)> {
        let files = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
        let mut tree: Vec<_> = files
            .map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap_or_default()))
            .collect();
        tree.sort();
        tree
    }

    #[test]
    fn what_was_done_stands_or_is_taken_back() {
        for take_back in [false, true] {
            let root = tempfile::tempdir().unwrap();
            for name in ["old", "gone"] {
                fs::write(root.path().join(name), name).unwrap();
            }
            let before = tree(root.path());
            let roots = Roots::at(root.path());
            let known = etag(&look(fs::File::open(root.path().join("gone")).unwrap(), c"").unwrap());
            let mut undo = Undo::default();
            for name in ["old", "fresh"] {
                undo.place(&roots, &name.into(), upload(&roots, name)).unwrap();
            }
            undo.remove(&roots, Removal::new("gone".into(), known)).unwrap();
            undo.remove(&roots, Removal::new("old".into(), "another version".into())).unwrap_err();
            let expected = if take_back {
                undo.take_back();
                before
            } else {
                drop(undo);
                ["fresh", "old"].map(|name| (name.to_owned(), "new".to_owned())).to_vec()
            };
            assert_eq!(tree(root.path()), expected);
        }
    }
}
