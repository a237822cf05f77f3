//! Copying a directory with all it holds. The copy grows under a name of its own beside the destination.

use std::{
    ffi::{CStr, OsStr},
    fs::File,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use cabana_protocol::{
    Code, Error,
    file::{Copied, Copy},
};
use rustix::{
    fs::{
        Dir as ReadDir, FileType, Mode, OFlags, RenameFlags, Statx, mkdirat, openat, readlinkat, renameat, renameat_with,
        symlinkat,
    },
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::{super::cancel::check_cancelled, Keep, content};
use crate::fs::{
    Dir, Entry, Roots, TemporaryDirectory, caller_path, conflict, errno_error, file_type, identity, io_error, is_dots, join,
    look, rename_error, without_privileges,
};

/// Directories that are known of but not yet copied.
const MAX_PENDING: usize = 1 << 20;

/// What the agent may do with directories that it has yet to fill.
const FILLING: Mode = Mode::RWXU;

/// A copy in the making.
struct Tree<'a> {
    request: &'a Copy,
    source: Dir,
    copy: Dir,
    /// Tells the copy, which must not be found in what is copied.
    identity: (u32, u32, u64),
    cancel: &'a CancellationToken,
    /// Directories that exist in the copy and are empty.
    pending: Vec<PathBuf>,
    keep: Keep,
    /// Directories that get what they keep once all are filled: filling them changes their times, and may need other permission bits.
    filled: Vec<(PathBuf, Statx)>,
    copied: Copied,
}

/// A directory that is being copied, and its copy.
struct Pair<'a> {
    path: &'a Path,
    from: OwnedFd,
    to: OwnedFd,
}

pub(super) fn copy(
    roots: &Roots,
    request: &Copy,
    source: OwnedFd,
    entry: &Entry,
    keep: Keep,
    cancel: &CancellationToken,
) -> Result<Copied, Error> {
    let refused = |errno| errno_error(&request.to, errno);
    let temporary = TemporaryDirectory::new(&entry.parent, FILLING).map_err(refused)?;
    let copy = Dir::new(temporary.open().map_err(refused)?, roots.confinement());
    let mut tree = Tree {
        request,
        source: Dir::new(source, roots.confinement()),
        identity: identity(&copy).map_err(refused)?,
        copy,
        cancel,
        pending: vec![PathBuf::new()],
        keep,
        filled: Vec::new(),
        copied: Copied { entries: 1, ..Copied::default() },
    };
    tree.fill()?;
    let copied = tree.copied;
    let _change = roots.lock_changes(&entry.parent).map_err(refused)?;
    let placed = temporary.persist(|directory, name| place(directory, name, entry));
    placed.map_err(|errno| rename_error(&request.to, errno))?;
    Ok(copied)
}

/// Gives the copy its name, unless something has it by now.
fn place(directory: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<(), Errno> {
    match renameat_with(directory, name, &entry.parent, &entry.name, RenameFlags::NOREPLACE) {
        // The file system cannot tell; without the flag, an empty directory would be replaced at worst.
        Err(Errno::INVAL) => renameat(directory, name, &entry.parent, &entry.name),
        result => result,
    }
}

/// Whether what was to be copied is gone, or something else, by now: as good as not there.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

impl Tree<'_> {
    fn unread(&self, path: &Path, errno: Errno) -> Error {
        errno_error(&caller_path(&self.request.from, path), errno)
    }

    fn unwritten(&self, path: &Path, errno: Errno) -> Error {
        errno_error(&caller_path(&self.request.to, path), errno)
    }

    fn fill(&mut self) -> Result<(), Error> {
        while let Some(path) = self.pending.pop() {
            self.directory(&path)?;
        }
        // What is above comes earlier in the list, and is closed after what is below it.
        for (path, stat) in self.filled.iter().rev() {
            let kept = self.copy.open_directory(path).and_then(|directory| self.keep.apply(directory.as_fd(), stat));
            kept.map_err(|errno| self.unwritten(path, errno))?;
        }
        Ok(())
    }

    /// Copies what is in this directory; directories in it are made, and filled later.
    fn directory(&mut self, path: &Path) -> Result<(), Error> {
        let from = match self.source.open_directory(path) {
            Err(errno) if is_gone(errno) => return Ok(()),
            result => result.map_err(|errno| self.unread(path, errno))?,
        };
        let to = self.copy.open_directory(path).map_err(|errno| self.unwritten(path, errno))?;
        let pair = Pair { path, from, to };
        for entry in ReadDir::read_from(&pair.from).map_err(|errno| self.unread(path, errno))? {
            let entry = entry.map_err(|errno| self.unread(path, errno))?;
            check_cancelled(self.cancel).map_err(|error| io_error(&self.request.to, &error))?;
            if !is_dots(entry.file_name()) {
                self.entry(&pair, entry.file_name())?;
            }
        }
        let stat = look(&pair.from, c"").map_err(|errno| self.unread(path, errno))?;
        if self.keep == Keep::Attributes || !without_privileges(&stat).contains(FILLING) {
            self.filled.push((path.to_owned(), stat));
            return Ok(());
        }
        self.keep.apply(pair.to.as_fd(), &stat).map_err(|errno| self.unwritten(path, errno))
    }

    fn entry(&mut self, pair: &Pair<'_>, name: &CStr) -> Result<(), Error> {
        let path = join(pair.path, name);
        let stat = match look(&pair.from, name) {
            Ok(stat) => stat,
            Err(errno) if is_gone(errno) => return Ok(()),
            Err(errno) => return Err(self.unread(&path, errno)),
        };
        match file_type(&stat) {
            FileType::Directory => self.subdirectory(pair, name, path),
            FileType::RegularFile => self.file(pair, name, &path),
            FileType::Symlink => self.symlink(pair, name, &path, &stat),
            _ if self.keep == Keep::Attributes => Err(conflict(
                &caller_path(&self.request.from, &path),
                "not_a_file",
                "is a FIFO, socket or device, which only a rename can move",
            )),
            _ => {
                self.copied.skipped += 1;
                Ok(())
            }
        }
    }

    fn subdirectory(&mut self, pair: &Pair<'_>, name: &CStr, path: PathBuf) -> Result<(), Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&pair.from, name, flags, Mode::empty()).and_then(identity) {
            Ok(identity) if identity == self.identity => {
                return Err(conflict(&self.request.to, "into_itself", "a directory cannot be copied into itself"));
            }
            Err(errno) if is_gone(errno) => return Ok(()),
            result => result.map_err(|errno| self.unread(&path, errno))?,
        };
        if self.pending.len() == MAX_PENDING {
            let message = format!("{}: more than {MAX_PENDING} directories wait to be copied", self.request.from);
            return Err(Error::new(Code::PayloadTooLarge, message));
        }
        mkdirat(&pair.to, name, FILLING).map_err(|errno| self.unwritten(&path, errno))?;
        self.copied.entries += 1;
        self.pending.push(path);
        Ok(())
    }

    fn file(&mut self, pair: &Pair<'_>, name: &CStr, path: &Path) -> Result<(), Error> {
        // Should it be a FIFO by now, this does not wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = match openat(&pair.from, name, flags, Mode::empty()) {
            Err(errno) if is_gone(errno) => return Ok(()),
            result => File::from(result.map_err(|errno| self.unread(path, errno))?),
        };
        let stat = look(&source, c"").map_err(|errno| self.unread(path, errno))?;
        if file_type(&stat) != FileType::RegularFile {
            return Ok(());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = openat(&pair.to, name, flags, Mode::RUSR | Mode::WUSR);
        let copy = File::from(copy.map_err(|errno| self.unwritten(path, errno))?);
        let copied = content::copy(&source, &copy, self.cancel);
        self.copied.size_bytes += copied.map_err(|error| io_error(&caller_path(&self.request.to, path), &error))?;
        self.copied.entries += 1;
        self.keep.apply(copy.as_fd(), &stat).map_err(|errno| self.unwritten(path, errno))
    }

    fn symlink(&mut self, pair: &Pair<'_>, name: &CStr, path: &Path, stat: &Statx) -> Result<(), Error> {
        let target = match readlinkat(&pair.from, name, Vec::new()) {
            Ok(target) => target,
            Err(errno) if is_gone(errno) || errno == Errno::INVAL => return Ok(()),
            Err(errno) => return Err(self.unread(path, errno)),
        };
        let made = symlinkat(&target, &pair.to, name).and_then(|()| self.keep.apply_to_symlink(&pair.to, name, stat));
        made.map_err(|errno| self.unwritten(path, errno))?;
        self.copied.entries += 1;
        Ok(())
    }
}
