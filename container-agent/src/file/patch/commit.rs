//! Putting in place what a diff makes of the files: all of it, or nothing.
//!
//! First everything is written beside the files. Then, while no other change is made, what goes is moved aside, and what comes is put in
//! place. What can fail, such as a full disk, fails before any file has changed; what fails nevertheless is taken back.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    mem,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use bytes::Bytes;
use cabana_protocol::{Code, Error, file::FilePath};
use rustix::{
    fs::{AtFlags, Dir as ReadDir, Mode, OFlags, linkat, openat, renameat, symlinkat, unlinkat},
    io::{Errno, fcntl_dupfd_cloexec},
};

use super::{
    super::{
        conditions::{Conditions, Tags},
        write::Upload,
    },
    MAX_FILES,
    tree::{Known, Node, Tree},
    unprocessable,
};
use crate::fs::{
    Entry, Roots, TemporaryDirectory, TemporaryName, caller_path, conflict, errno_error, etag, is_dots, look, rename_error,
};

/// How deep directories are looked through that are removed because nothing is left in them.
const MAX_DEPTH: usize = 64;

/// What is to be done, with the content written beside.
#[derive(Debug, Default)]
pub(super) struct Staged {
    removals: Vec<Removal>,
    /// Directories that something else is to have the name of.
    directories: Vec<FilePath>,
    writes: Vec<Write>,
}

/// What is to go, if it is still this version.
#[derive(Debug)]
struct Removal {
    path: PathBuf,
    etag: String,
}

/// What is to come.
#[derive(Debug)]
struct Write {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File(Box<Upload>),
    Symlink(Bytes),
}

impl Staged {
    /// Writes what the diff makes beside where it belongs.
    pub(super) fn new(roots: &Roots, top: &FilePath, tree: Tree<'_>) -> Result<Self, Error> {
        let mut staged = Self::default();
        for (path, known) in tree.into_changes() {
            if known.original == known.now {
                continue;
            }
            if staged.removals.len() + staged.writes.len() >= MAX_FILES {
                return Err(unprocessable(top, &format!("a diff changes at most {MAX_FILES} files")));
            }
            staged.add(roots, top, path, known)?;
        }
        Ok(staged)
    }

    fn add(&mut self, roots: &Roots, top: &FilePath, path: PathBuf, known: Known) -> Result<(), Error> {
        let Known { original, etag, now, .. } = known;
        let asked = caller_path(top, &path);
        let is_file = |node: &Node| matches!(node, Node::File { .. });
        let replaced = is_file(&original) && is_file(&now);
        // A directory whose place a file had for a while stays, and what was in it goes by itself.
        if original == Node::Directory && now != Node::Absent {
            self.directories.push(asked.clone());
        }
        let conditions = match etag {
            Some(etag) if replaced => Conditions { if_match: Some(Tags::Listed(vec![etag])), if_none_match: None },
            etag => {
                self.removals.extend(etag.map(|etag| Removal { path: path.clone(), etag }));
                Conditions { if_match: None, if_none_match: Some(Tags::Any) }
            }
        };
        let content = match now {
            Node::File { content, mode } => {
                let mut upload = Upload::stage(roots, asked, mode, conditions)?;
                upload.write(roots, &content)?;
                Content::File(Box::new(upload))
            }
            Node::Symlink(to) => Content::Symlink(to),
            Node::Absent | Node::Directory => return Ok(()),
        };
        self.writes.push(Write { path, content });
        Ok(())
    }

    /// Puts everything in place, or takes back what was. Says which versions the files are.
    pub(super) fn commit(self, roots: &Roots, top: &FilePath) -> Result<HashMap<FilePath, String>, Error> {
        let mut undo = Undo::new(roots, top);
        let directory = roots.target_to_change(top)?.nearest()?.0;
        let _change = roots.lock_changes(directory).map_err(|errno| errno_error(top, errno))?;
        let removed: Vec<_> = self.removals.iter().map(|removal| removal.path.clone()).collect();
        match self.carry_out(&mut undo) {
            Ok(etags) => {
                removed.iter().for_each(|path| remove_emptied(roots, top, path));
                Ok(etags)
            }
            Err(error) => {
                undo.take_back();
                Err(error)
            }
        }
    }

    fn carry_out(self, undo: &mut Undo<'_>) -> Result<HashMap<FilePath, String>, Error> {
        for Removal { path, etag } in self.removals {
            undo.remove(&caller_path(undo.top, &path), &etag)?;
        }
        for path in self.directories {
            undo.remove_directory(&path)?;
        }
        let mut etags = HashMap::new();
        for Write { path, content } in self.writes {
            let path = caller_path(undo.top, &path);
            match content {
                Content::File(upload) => {
                    let etag = undo.write(&path, *upload)?;
                    etags.insert(path, etag);
                }
                Content::Symlink(to) => undo.symlink(&path, &to)?,
            }
        }
        Ok(etags)
    }
}

/// Whether a directory holds nothing but directories of which the same is true.
fn holds_only_directories(parent: impl AsFd, name: &OsStr, depth: usize) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        directory => directory?,
    };
    for below in ReadDir::read_from(&directory)? {
        let below = below?;
        let name = OsStr::from_bytes(below.file_name().to_bytes());
        if !is_dots(below.file_name()) && (depth == MAX_DEPTH || !holds_only_directories(&directory, name, depth + 1)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the directories above a path that hold nothing any more, as git and patch do.
fn remove_emptied(roots: &Roots, top: &FilePath, path: &Path) {
    for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        let path = caller_path(top, above);
        let entry = roots.target(&path).and_then(|target| target.entry());
        // One that still holds something stays, and so do those above it.
        if entry.map_or(true, |entry| unlinkat(&entry.parent, &entry.name, AtFlags::REMOVEDIR).is_err()) {
            return;
        }
    }
}

/// What was changed so far. Dropping it lets the changes stand.
struct Undo<'a> {
    roots: &'a Roots,
    top: &'a FilePath,
    done: Vec<Done>,
    /// Holds what went. It is beside no file, so that a directory can be removed once its files are here.
    aside: Option<Aside>,
}

struct Aside {
    /// Removed with all it holds when it is dropped.
    _temporary: TemporaryDirectory,
    directory: OwnedFd,
    count: usize,
}

/// A name that means something else by now.
enum Done {
    /// It means nothing, or a new version.
    Moved { entry: Entry, kept: Kept },
    /// It meant nothing before.
    Made(Entry),
}

/// Another name of what a name meant before.
enum Kept {
    Aside(OsString),
    /// Where nothing can be moved aside: another file system is mounted there.
    Beside(TemporaryName),
}

impl<'a> Undo<'a> {
    fn new(roots: &'a Roots, top: &'a FilePath) -> Self {
        Self { roots, top, done: Vec::new(), aside: None }
    }

    /// The directory for what goes, and a free name in it.
    fn aside(&mut self) -> Result<(&OwnedFd, OsString), Errno> {
        if self.aside.is_none() {
            let top = self.roots.target(self.top).and_then(|target| target.open(OFlags::RDONLY | OFlags::DIRECTORY));
            let temporary = TemporaryDirectory::new(&top.map_err(|_| Errno::XDEV)?, Mode::RWXU)?;
            let directory = temporary.open()?;
            self.aside = Some(Aside { _temporary: temporary, directory, count: 0 });
        }
        let aside = self.aside.as_mut().ok_or(Errno::XDEV)?;
        aside.count += 1;
        Ok((&aside.directory, aside.count.to_string().into()))
    }

    /// Gives what a name means another name, by a call that takes directories and names.
    fn keep(
        &mut self,
        entry: &Entry,
        call: impl Fn(&OwnedFd, &OsStr, &OwnedFd, &OsStr) -> Result<(), Errno>,
    ) -> Result<Kept, Errno> {
        let (directory, name) = self.aside()?;
        match call(&entry.parent, &entry.name, directory, &name) {
            Ok(()) => Ok(Kept::Aside(name)),
            Err(Errno::XDEV) => {
                let beside = TemporaryName::new(fcntl_dupfd_cloexec(&entry.parent, 0)?)?;
                call(&entry.parent, &entry.name, &beside.directory, &beside.name)?;
                Ok(Kept::Beside(beside))
            }
            Err(errno) => Err(errno),
        }
    }

    fn remove(&mut self, path: &FilePath, known: &str) -> Result<(), Error> {
        let refused = |errno| errno_error(path, errno);
        let entry = self.roots.target_to_change(path)?.entry()?;
        if etag(&look(&entry.parent, &entry.name).map_err(refused)?) != known {
            return Err(conflict(path, "changing", "changed while the diff was applied"));
        }
        let kept = self.keep(&entry, |from, name, to, other| renameat(from, name, to, other)).map_err(refused)?;
        self.done.push(Done::Moved { entry, kept });
        Ok(())
    }

    fn write(&mut self, path: &FilePath, upload: Upload) -> Result<String, Error> {
        let mut done = None;
        let roots = self.roots;
        let committed = upload.commit_locked(roots, |entry, before| {
            let copy = Entry::new(fcntl_dupfd_cloexec(&entry.parent, 0)?, entry.name.clone());
            done = Some(match before {
                None => Done::Made(copy),
                Some(_) => {
                    let link = |from: &OwnedFd, name: &OsStr, to: &OwnedFd, other: &OsStr| {
                        linkat(from, name, to, other, AtFlags::empty())
                    };
                    let kept = self.keep(&copy, link)?;
                    Done::Moved { entry: copy, kept }
                }
            });
            Ok(())
        });
        let (written, _) = committed.map_err(|error| match error.code {
            // The condition is none of the caller's.
            Code::PreconditionFailed => conflict(path, "changing", "already exists, or changed while the diff was applied"),
            _ => error,
        })?;
        self.done.extend(done);
        Ok(written.etag)
    }

    fn symlink(&mut self, path: &FilePath, to: &[u8]) -> Result<(), Error> {
        let entry = self.roots.target_to_change(path)?.entry_with_parents()?;
        symlinkat(to, &entry.parent, &entry.name).map_err(|errno| errno_error(path, errno))?;
        self.done.push(Done::Made(entry));
        Ok(())
    }

    /// Removes a directory that holds nothing but such directories. It is moved aside as a whole, so that what is taken back finds it as it
    /// was.
    fn remove_directory(&mut self, path: &FilePath) -> Result<(), Error> {
        let entry = self.roots.target_to_change(path)?.entry()?;
        let (aside, name) = self.aside().map_err(|errno| errno_error(path, errno))?;
        renameat(&entry.parent, &entry.name, aside, &name).map_err(|errno| rename_error(path, errno))?;
        let is_empty = holds_only_directories(aside, &name, 0);
        self.done.push(Done::Moved { entry, kept: Kept::Aside(name) });
        match is_empty {
            Ok(true) => Ok(()),
            Ok(false) => Err(errno_error(path, Errno::NOTEMPTY)),
            Err(errno) => Err(errno_error(path, errno)),
        }
    }

    /// Takes everything back, the last first. Directories that were made stay, and so does what cannot be taken back.
    fn take_back(mut self) {
        for done in mem::take(&mut self.done).into_iter().rev() {
            let _ = self.take_back_one(done);
        }
    }

    fn take_back_one(&self, done: Done) -> Result<(), Errno> {
        match done {
            Done::Made(entry) => unlinkat(&entry.parent, &entry.name, AtFlags::empty()),
            Done::Moved { entry, kept: Kept::Beside(kept) } => renameat(&kept.directory, &kept.name, &entry.parent, &entry.name),
            Done::Moved { entry, kept: Kept::Aside(name) } => {
                let aside = self.aside.as_ref().ok_or(Errno::NOENT)?;
                renameat(&aside.directory, &name, &entry.parent, &entry.name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::file::patch::apply_diff;

    fn tree(root: &Path) -> Vec<(PathBuf, String)> {
        let mut tree = Vec::new();
        let mut left = vec![root.to_owned()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let content = match fs::symlink_metadata(&path).unwrap().file_type() {
                    kind if kind.is_dir() => {
                        left.push(path.clone());
                        "directory".to_owned()
                    }
                    kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                    _ => fs::read_to_string(&path).unwrap(),
                };
                tree.push((path.strip_prefix(root).unwrap().to_owned(), content));
            }
        }
        tree.sort();
        tree
    }

    #[test]
    fn a_diff_that_fails_in_the_end_is_taken_back() {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in [("old", "old\n"), ("gone", "gone\n"), ("d/only", "only\n"), ("z", "z\n")] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("old", root.path().join("link")).unwrap();
        let before = tree(root.path());
        let roots = Roots::at(root.path());
        let diff = "--- a/old\n+++ b/old\n@@ -1 +1 @@\n-old\n+new\n\
                    --- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n\
                    diff --git a/d b/d\nnew file mode 100644\n--- /dev/null\n+++ b/d\n@@ -0,0 +1 @@\n+file\n\
                    diff --git a/d/only b/d/only\ndeleted file mode 100644\n--- a/d/only\n+++ /dev/null\n@@ -1 +0,0 @@\n-only\n\
                    diff --git a/link b/link\nindex 1..2 120000\n--- a/link\n+++ b/link\n@@ -1 +1 @@\n-old\n\\ No newline at end of file\n+new\n\\ No newline at end of file\n\
                    --- a/z\n+++ b/z\n@@ -1 +1 @@\n-z\n+Z\n";
        let top = FilePath::from(".");
        let staged = || Staged::new(&roots, &top, apply_diff(&roots, &top, diff.as_bytes(), None).unwrap().0).unwrap();
        let late = staged();
        // Something else writes the last file after it was read.
        fs::write(root.path().join("z"), "other\n").unwrap();
        assert_eq!(late.commit(&roots, &top).unwrap_err().code, Code::Conflict);
        fs::write(root.path().join("z"), "z\n").unwrap();
        assert_eq!(tree(root.path()), before);
        staged().commit(&roots, &top).unwrap();
        let expected = [("d", "file\n"), ("link", "new"), ("old", "new\n"), ("z", "Z\n")];
        assert_eq!(tree(root.path()), expected.map(|(name, content)| (name.into(), content.to_owned())));
    }
}
