//! Copying a directory with all it holds. The copy grows under a name of its own beside the destination.

use std::{
    ffi::{CStr, OsStr, OsString},
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

use cabana_protocol::{
    Code, Error,
    file::{Copied, Copy, FilePath},
};
use rustix::{
    fs::{Dir, FileType, Mode, OFlags, RenameFlags, fchmod, mkdirat, openat, readlinkat, renameat, renameat_with, symlinkat},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        beneath::{Base, is_dots, join},
        cancel::go_on,
        failure::{failure, io_failure, rename_failure, wrong_kind},
        metadata::{file_type, look},
        permissions::without_privileges,
        root::Roots,
        target::Entry,
        temporary::TemporaryDirectory,
    },
    content,
};

/// Directories that are known of but not yet copied.
const MAX_PENDING: usize = 1 << 20;

/// What the agent may do with directories that it has yet to fill.
const FILLING: Mode = Mode::RWXU;

/// A copy in the making.
struct Tree<'a> {
    request: &'a Copy,
    source: Base,
    copy: Base,
    /// Tells the copy, which must not be found in what is copied.
    identity: (u32, u32, u64),
    cancel: &'a CancellationToken,
    /// Directories that exist in the copy and are empty.
    pending: Vec<PathBuf>,
    /// Directories that could not have been filled with the permission bits that they are to have.
    closed: Vec<(PathBuf, Mode)>,
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
    cancel: &CancellationToken,
) -> Result<Copied, Error> {
    let refused = |errno| failure(&request.to, errno);
    let temporary = TemporaryDirectory::new(&entry.parent, FILLING).map_err(refused)?;
    let copy = Base::new(temporary.open().map_err(refused)?, roots.confinement());
    let mut tree = Tree {
        request,
        source: Base::new(source, roots.confinement()),
        identity: identity(&copy).map_err(refused)?,
        copy,
        cancel,
        pending: vec![PathBuf::new()],
        closed: Vec::new(),
        copied: Copied { entries: 1, ..Copied::default() },
    };
    tree.fill()?;
    let copied = tree.copied;
    let _change = roots.change();
    let placed = temporary.place(|directory, name| place(directory, name, entry));
    placed.map_err(|errno| rename_failure(&request.to, errno))?;
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

fn identity(directory: impl AsFd) -> Result<(u32, u32, u64), Errno> {
    let stat = look(directory, c"")?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
}

/// Whether what was to be copied is gone, or something else, by now: as good as not there.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

/// A path in a tree, as the caller knows it.
fn below(top: &FilePath, path: &Path) -> FilePath {
    let mut whole = OsString::from_vec(top.as_bytes().to_vec());
    if !path.as_os_str().is_empty() {
        whole.push("/");
        whole.push(path);
    }
    whole.into_vec().into()
}

impl Tree<'_> {
    fn unread(&self, path: &Path, errno: Errno) -> Error {
        failure(&below(&self.request.from, path), errno)
    }

    fn unwritten(&self, path: &Path, errno: Errno) -> Error {
        failure(&below(&self.request.to, path), errno)
    }

    fn fill(&mut self) -> Result<(), Error> {
        while let Some(path) = self.pending.pop() {
            self.directory(&path)?;
        }
        // What is above comes earlier in the list, and is closed after what is below it.
        for (path, mode) in self.closed.iter().rev() {
            let closed = self.copy.open_directory(path).and_then(|directory| fchmod(directory, *mode));
            closed.map_err(|errno| self.unwritten(path, errno))?;
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
        for entry in Dir::read_from(&pair.from).map_err(|errno| self.unread(path, errno))? {
            let entry = entry.map_err(|errno| self.unread(path, errno))?;
            go_on(self.cancel).map_err(|error| io_failure(&self.request.to, &error))?;
            if !is_dots(entry.file_name()) {
                self.entry(&pair, entry.file_name())?;
            }
        }
        let mode = without_privileges(&look(&pair.from, c"").map_err(|errno| self.unread(path, errno))?);
        if !mode.contains(FILLING) {
            self.closed.push((path.to_owned(), mode));
            return Ok(());
        }
        fchmod(&pair.to, mode).map_err(|errno| self.unwritten(path, errno))
    }

    fn entry(&mut self, pair: &Pair<'_>, name: &CStr) -> Result<(), Error> {
        let path = join(pair.path, name);
        let kind = match look(&pair.from, name) {
            Ok(stat) => file_type(&stat),
            Err(errno) if is_gone(errno) => return Ok(()),
            Err(errno) => return Err(self.unread(&path, errno)),
        };
        match kind {
            FileType::Directory => self.subdirectory(pair, name, path),
            FileType::RegularFile => self.file(pair, name, &path),
            FileType::Symlink => self.symlink(pair, name, &path),
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
                return Err(wrong_kind(&self.request.to, "a directory cannot be copied into itself"));
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
        self.copied.size_bytes += copied.map_err(|error| io_failure(&below(&self.request.to, path), &error))?;
        self.copied.entries += 1;
        fchmod(&copy, without_privileges(&stat)).map_err(|errno| self.unwritten(path, errno))
    }

    fn symlink(&mut self, pair: &Pair<'_>, name: &CStr, path: &Path) -> Result<(), Error> {
        let target = match readlinkat(&pair.from, name, Vec::new()) {
            Ok(target) => target,
            Err(errno) if is_gone(errno) || errno == Errno::INVAL => return Ok(()),
            Err(errno) => return Err(self.unread(path, errno)),
        };
        symlinkat(&target, &pair.to, name).map_err(|errno| self.unwritten(path, errno))?;
        self.copied.entries += 1;
        Ok(())
    }
}
