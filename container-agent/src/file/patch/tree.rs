//! What a diff makes of the files: each change sees what those before it have made. Nothing of this can be seen from outside.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use cabana_protocol::{
    Code, Error,
    file::{FilePath, MAX_CONTENT_BYTES, Mode, PatchAction, PatchedFile},
};
use rustix::{
    fs::{Dir as ReadDir, FileType, OFlags, readlinkat},
    io::Errno,
};
use serde_json::json;

use super::{
    super::{edit::whole, read::open},
    apply::{Applied, HunkMismatch, apply},
    diff::{Change, FileDiff, FileKind},
    unprocessable,
};
use crate::fs::{
    Roots, caller_path, conflict, content_too_large, errno_error, etag, file_type, is_dots, look, without_privileges,
};

/// What all the files hold, together.
const MAX_BYTES: u64 = 64 << 20;

/// How deep directories are that are looked through to see whether a diff leaves anything in them.
const MAX_DEPTH: usize = 64;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Absent,
    /// A file. Without a mode it gets the one of new files.
    File {
        content: Bytes,
        mode: Option<Mode>,
    },
    /// A symlink to this.
    Symlink(Bytes),
    Directory,
}

/// A path that a diff names.
#[derive(Debug)]
pub(super) struct Known {
    /// What is there on the disk.
    pub(super) original: Node,
    /// Names the version that was read.
    pub(super) etag: Option<String>,
    /// The path is a symlink, and what is read and written is where it leads.
    through: bool,
    /// What was there before the present commit.
    before: Node,
    /// What is there after the changes so far.
    pub(super) now: Node,
    /// The present commit has put something there that does not come from what was there.
    placed: bool,
    /// Something has changed it.
    pub(super) changed: bool,
}

/// The files that a diff names.
pub(super) struct Tree<'a> {
    roots: &'a Roots,
    top: &'a FilePath,
    known: BTreeMap<PathBuf, Known>,
    /// Lines that hunks were compared with.
    compared: usize,
}

/// The paths that one commit moves away or deletes, whichever of its files that is.
type Leaving = HashSet<PathBuf>;

impl Node {
    fn content(&self) -> Option<&Bytes> {
        match self {
            Self::File { content, .. } | Self::Symlink(content) => Some(content),
            Self::Absent | Self::Directory => None,
        }
    }

    fn mode(&self) -> Option<Mode> {
        match self {
            Self::File { mode, .. } => *mode,
            _ => None,
        }
    }
}

impl<'a> Tree<'a> {
    /// Paths start at this directory.
    pub(super) fn new(roots: &'a Roots, top: &'a FilePath) -> Self {
        Self { roots, top, known: BTreeMap::new(), compared: 0 }
    }

    /// The paths that are changed, in their order.
    pub(super) fn into_changes(self) -> impl Iterator<Item = (PathBuf, Known)> {
        self.known.into_iter().filter(|(_, known)| known.changed)
    }

    /// Makes the changes of one commit. In it, a rename or copy is of a file as it was before, whichever comes first: two files may swap
    /// their names.
    pub(super) fn commit(&mut self, files: &[FileDiff<'_>]) -> Result<Vec<PatchedFile>, Error> {
        let mut leaving = Leaving::new();
        for file in files {
            if let Change::Delete { path } | Change::Rename { from: path, .. } = &file.change {
                leaving.insert(self.path(path)?);
            }
        }
        let mut told = Vec::new();
        for file in files {
            told.push(self.change(file, &leaving)?);
            let held = |known: &Known| known.now.content().map_or(0, |content| content.len() as u64);
            if self.known.values().map(held).sum::<u64>() > MAX_BYTES {
                return Err(content_too_large("file.patch", MAX_BYTES));
            }
        }
        for known in self.known.values_mut() {
            known.before = known.now.clone();
            known.placed = false;
        }
        Ok(told)
    }

    /// A name in the diff as a path.
    fn path(&self, name: &[u8]) -> Result<PathBuf, Error> {
        let name = Path::new(OsStr::from_bytes(name));
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if name.file_name().is_none() || !name.components().all(inside) {
            return Err(unprocessable(self.top, &format!("{} is not the name of a file below it", name.display())));
        }
        Ok(name.components().filter(|part| matches!(part, Component::Normal(_))).collect())
    }

    fn file_path(&self, path: &Path) -> FilePath {
        caller_path(self.top, path)
    }

    fn change(&mut self, file: &FileDiff<'_>, leaving: &Leaving) -> Result<PatchedFile, Error> {
        let (action, path, from, offset) = match &file.change {
            Change::Create { path } => {
                let path = self.path(path)?;
                self.check_free(&path, leaving)?;
                let offset = self.put(file, Node::Absent, &path, &path)?;
                (PatchAction::Created, path, None, offset)
            }
            Change::Modify { path } => {
                let path = self.path(path)?;
                let node = self.known(&path, !file.symlink)?.now.clone();
                let offset = self.modify(file, &node, &path)?;
                (PatchAction::Modified, path, None, offset)
            }
            Change::Delete { path } => {
                let path = self.path(path)?;
                let offset = self.delete(file, &path)?;
                (PatchAction::Deleted, path, None, offset)
            }
            Change::Rename { from, to } => {
                let (from, to) = (self.path(from)?, self.path(to)?);
                let node = self.source(file, &from, false)?;
                self.check_free(&to, leaving)?;
                let offset = self.put(file, node, &from, &to)?;
                self.leave(&from)?;
                (PatchAction::Renamed, to, Some(from), offset)
            }
            Change::Copy { from, to } => {
                let (from, to) = (self.path(from)?, self.path(to)?);
                let node = self.source(file, &from, true)?;
                self.check_free(&to, leaving)?;
                let offset = self.put(file, node, &from, &to)?;
                (PatchAction::Copied, to, Some(from), offset)
            }
        };
        Ok(PatchedFile {
            path: self.file_path(&path),
            action,
            from: from.map(|from| self.file_path(&from)),
            hunks: file.hunks.len() as u64,
            offset_lines: offset as u64,
            etag: None,
        })
    }

    /// What is known of a path. What is at the end of a symlink is meant if `follow` says so.
    fn known(&mut self, path: &Path, follow: bool) -> Result<&mut Known, Error> {
        if !self.known.contains_key(path) {
            let known = self.read(path, follow)?;
            self.known.insert(path.to_owned(), known);
        }
        self.known.get_mut(path).ok_or_else(|| Error::internal("a path was not found again"))
    }

    fn read(&self, path: &Path, follow: bool) -> Result<Known, Error> {
        let asked = self.file_path(path);
        let entry = match self.roots.target(&asked)?.entry() {
            // Directories on the path are missing, or a file is where one should be.
            Err(error) if matches!(error.code, Code::NotFound | Code::Conflict) => {
                return Ok(Known::new(Node::Absent, None, false));
            }
            entry => entry?,
        };
        let stat = match look(&entry.parent, &entry.name) {
            Err(Errno::NOENT) => return Ok(Known::new(Node::Absent, None, false)),
            stat => stat.map_err(|errno| errno_error(&asked, errno))?,
        };
        match file_type(&stat) {
            FileType::Directory => Ok(Known::new(Node::Directory, None, false)),
            FileType::Symlink if !follow => {
                // EINVAL says that the symlink has been replaced by something else since it was looked at.
                let gone = |errno| if errno == Errno::INVAL { Errno::NOENT } else { errno };
                let to = readlinkat(&entry.parent, &entry.name, Vec::new()).map_err(|errno| errno_error(&asked, gone(errno)))?;
                Ok(Known::new(Node::Symlink(to.into_bytes().into()), Some(etag(&stat)), false))
            }
            FileType::RegularFile | FileType::Symlink => {
                let opened = open(self.roots, &asked)?;
                let mode = look(&opened.file, c"").map_err(|errno| errno_error(&asked, errno))?;
                let mode = Some(Mode::from_bits(without_privileges(&mode).as_raw_mode()));
                let node = Node::File { content: whole(&asked, &opened)?.into(), mode };
                Ok(Known::new(node, Some(opened.etag), file_type(&stat) == FileType::Symlink))
            }
            _ => Err(conflict(&asked, "not_a_file", "not a regular file")),
        }
    }

    /// What is renamed or copied.
    fn source(&mut self, file: &FileDiff<'_>, path: &Path, copied: bool) -> Result<Node, Error> {
        let known = self.known(path, false)?;
        let was_there = !matches!(known.before, Node::Absent);
        let node = if known.placed || (copied && was_there) { known.before.clone() } else { known.now.clone() };
        self.check_kind(file, path, &node)?;
        Ok(node)
    }

    /// Fails unless there is something of the kind that the diff speaks of.
    fn check_kind(&self, file: &FileDiff<'_>, path: &Path, node: &Node) -> Result<(), Error> {
        let through = self.known.get(path).is_some_and(|known| known.through);
        match node {
            Node::File { .. } if !file.symlink && !through => Ok(()),
            Node::Symlink(_) if file.symlink || file.hunks.is_empty() => Ok(()),
            Node::Absent => Err(errno_error(&self.file_path(path), Errno::NOENT)),
            Node::Directory => Err(errno_error(&self.file_path(path), Errno::ISDIR)),
            Node::File { .. } if through => Err(conflict(&self.file_path(path), "symlink", "is a symlink")),
            Node::File { .. } => Err(conflict(&self.file_path(path), "not_a_symlink", "is a file; the diff changes a symlink")),
            Node::Symlink(_) => Err(conflict(&self.file_path(path), "symlink", "is a symlink; the diff changes a file")),
        }
    }

    /// What the hunks make of some content.
    fn apply(&mut self, file: &FileDiff<'_>, path: &Path, content: &[u8]) -> Result<Applied, Error> {
        let asked = self.file_path(path);
        let applied = apply(content, &file.hunks, &mut self.compared).map_err(|mismatch| hunk_mismatch(&asked, &mismatch))?;
        if applied.content.len() as u64 > MAX_CONTENT_BYTES {
            return Err(content_too_large("a patched file", MAX_CONTENT_BYTES));
        }
        Ok(applied)
    }

    /// The node that the diff says, with this content.
    fn make(&self, file: &FileDiff<'_>, path: &Path, content: Vec<u8>, before: &Node) -> Result<Node, Error> {
        let content = Bytes::from(content);
        if !(file.symlink || matches!(before, Node::Symlink(_))) {
            let asked = file.becomes.map(|kind| Mode::from_bits(if kind == FileKind::Executable { 0o755 } else { 0o644 }));
            return Ok(Node::File { content, mode: asked.or(before.mode()) });
        }
        if content.is_empty() || content.len() >= FilePath::MAX_BYTES || content.contains(&0) {
            let why = format!("{}: a symlink's target has 1 to 4,095 bytes, none of them NUL", path.display());
            return Err(unprocessable(self.top, &why));
        }
        Ok(Node::Symlink(content))
    }

    /// Puts what is made of a node at a path where something else may have been.
    fn put(&mut self, file: &FileDiff<'_>, node: Node, from: &Path, to: &Path) -> Result<usize, Error> {
        let Applied { content, offset } = self.apply(file, from, node.content().unwrap_or(&Bytes::new()))?;
        let node = self.make(file, to, content, &node)?;
        let known = self.known(to, false)?;
        (known.now, known.placed, known.changed) = (node, true, true);
        Ok(offset)
    }

    fn modify(&mut self, file: &FileDiff<'_>, node: &Node, path: &Path) -> Result<usize, Error> {
        match node {
            // A symlink on the disk is followed, as file.write does.
            Node::File { .. } if !file.symlink => {}
            node => self.check_kind(file, path, node)?,
        }
        let Applied { content, offset } = self.apply(file, path, node.content().unwrap_or(&Bytes::new()))?;
        let node = self.make(file, path, content, node)?;
        let known = self.known(path, !file.symlink)?;
        (known.now, known.changed) = (node, true);
        Ok(offset)
    }

    fn delete(&mut self, file: &FileDiff<'_>, path: &Path) -> Result<usize, Error> {
        let node = self.source(file, path, false)?;
        let Applied { content, offset } = self.apply(file, path, node.content().unwrap_or(&Bytes::new()))?;
        // Git shows a symlink that is deleted with where it led.
        if !content.is_empty() {
            return Err(unprocessable(&self.file_path(path), "the diff deletes it, but it holds more than the diff says"));
        }
        self.leave(path)?;
        Ok(offset)
    }

    /// Takes away what was at a path before the present commit, unless that has put something else there already.
    fn leave(&mut self, path: &Path) -> Result<(), Error> {
        let known = self.known(path, false)?;
        if !known.placed {
            (known.now, known.changed) = (Node::Absent, true);
        }
        Ok(())
    }

    /// Fails unless something can be put at a path: nothing is there, or it leaves in the same commit.
    fn check_free(&mut self, path: &Path, leaving: &Leaving) -> Result<(), Error> {
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            let known = self.known(above, false)?;
            match &known.now {
                Node::Symlink(_) if known.changed => {
                    return Err(unprocessable(self.top, &format!("{} is beyond a symlink that the diff makes", path.display())));
                }
                Node::File { .. } if !leaving.contains(above) => {
                    return Err(errno_error(&self.file_path(path), Errno::NOTDIR));
                }
                _ => {}
            }
        }
        let known = self.known(path, false)?;
        let leaves = leaving.contains(path) && !known.placed;
        match known.now {
            Node::Absent => Ok(()),
            Node::Directory => {
                let emptied = self.is_emptied(path, leaving, 0);
                if emptied { Ok(()) } else { Err(errno_error(&self.file_path(path), Errno::ISDIR)) }
            }
            Node::File { .. } | Node::Symlink(_) if leaves => Ok(()),
            Node::File { .. } | Node::Symlink(_) => Err(errno_error(&self.file_path(path), Errno::EXIST)),
        }
    }

    /// Whether the diff leaves nothing in a directory.
    fn is_emptied(&self, directory: &Path, leaving: &Leaving, depth: usize) -> bool {
        let asked = self.file_path(directory);
        let opened =
            self.roots.target(&asked).and_then(|target| target.open(OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW));
        let Some(names) = opened.ok().and_then(|opened| ReadDir::new(opened).ok()) else { return false };
        let stays = |entry: rustix::io::Result<rustix::fs::DirEntry>| {
            let Ok(entry) = entry else { return true };
            if is_dots(entry.file_name()) {
                return false;
            }
            let path = directory.join(OsStr::from_bytes(entry.file_name().to_bytes()));
            let gone = self.known.get(&path).is_some_and(|known| known.changed && known.now == Node::Absent);
            !gone && !leaving.contains(&path) && (depth == MAX_DEPTH || !self.is_emptied(&path, leaving, depth + 1))
        };
        !names.into_iter().any(stays)
    }
}

impl Known {
    fn new(original: Node, etag: Option<String>, through: bool) -> Self {
        Self { before: original.clone(), now: original.clone(), original, etag, through, placed: false, changed: false }
    }
}

fn hunk_mismatch(path: &FilePath, mismatch: &HunkMismatch) -> Error {
    let HunkMismatch { hunk, nearest } = mismatch;
    let near = nearest.as_ref().map_or_else(String::new, |nearest| nearest.message());
    let error = Error::new(Code::Unprocessable, format!("{path}: hunk {hunk} does not apply{near}"));
    let error = error.with_details(json!({ "path": path, "hunk": hunk }));
    nearest.iter().fold(error, |error, nearest| error.with_details(nearest.details()))
}
