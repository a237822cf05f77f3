//! Making an archive of a directory or a file.
//!
//! A directory is walked in the order in which its file system has it, a name at a time: each step opens one name without following
//! symlinks. What is removed meanwhile is left out; FIFOs, sockets and devices are as well. A file with several names is stored under
//! each of them. Any other failure breaks the archive off, so that what looks whole is whole.

use std::{
    ffi::{CStr, OsStr},
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
};

use cabana_protocol::{
    Code, Error,
    file::{ArchiveFormat, FilePath},
};
use rustix::{
    fs::{FileType, Mode, OFlags, Statx, openat, readlinkat},
    io::{Errno, fcntl_dupfd_cloexec},
};

use super::{
    format::Encoder,
    writer::{Failed, Writer},
};
use crate::{
    file::IgnoreRules,
    fs::{DirStack, OpenDir, Roots, conflict, errno_error, file_type, io_error, look},
    globs::Globs,
};

/// An archive that is being made.
struct Creation<'a, W> {
    filter: &'a Filter,
    writer: Writer<W>,
    /// The name of what is being added, as the archive has it.
    name: Vec<u8>,
    /// What the ignore files of each directory say that is open; empty where they do not count.
    ignores: Vec<Arc<IgnoreRules>>,
}

/// Writes an archive of what is at this path: a directory's members are named from there, a file by its own name. The filter is for
/// members of a directory.
///
/// Fails with `not_found`, `forbidden`, `conflict` (neither a directory nor a regular file), and when the output breaks off.
pub fn create(roots: &Roots, path: &FilePath, format: ArchiveFormat, filter: &Filter, output: impl Write) -> Result<(), Error> {
    let target = roots.target(path)?;
    let top = target.open(OFlags::PATH)?;
    let stat = look(&top, c"").map_err(|errno| errno_error(path, errno))?;
    let writer = Writer::new(Encoder::new(format, output).map_err(unwritable)?);
    let mut creation = Creation { filter, writer, name: Vec::new(), ignores: Vec::new() };
    match file_type(&stat) {
        FileType::Directory => {
            if filter.ignores {
                let rules = Arc::new(IgnoreRules::top(std::path::PathBuf::new()));
                creation.ignores.push(IgnoreRules::of(&top, Path::new(""), &rules));
            }
            creation.tree(&top)?;
        }
        FileType::RegularFile => {
            let name = target.entry()?.name;
            let file = target.open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
            creation.name.extend_from_slice(name.as_bytes());
            creation.file(file)?;
        }
        _ => return Err(conflict(path, "not_a_file", "neither a directory nor a regular file")),
    }
    creation.writer.finish().and_then(|encoder| encoder.finish()).map(drop).map_err(unwritable)
}

impl<W: Write> Creation<'_, W> {
    /// Adds what is in this directory.
    fn tree(&mut self, top: &OwnedFd) -> Result<(), Error> {
        let opened = OpenDir::open(top.as_fd(), OsStr::new(".")).map_err(|errno| self.error(errno))?;
        // With each directory, how much of the name of what is in it is its own.
        let mut stack = DirStack::new(opened, 0);
        while let Some((directory, prefix)) = stack.last_mut() {
            self.name.truncate(*prefix);
            if let Some(name) = directory.next().map_err(|errno| self.error(errno))? {
                let fd = directory.fd().map_err(|errno| self.error(errno))?;
                if let Some(below) = self.member(fd, &name)? {
                    stack.push(below, self.name.len());
                }
            } else {
                stack.pop().map_err(|errno| self.error(errno))?;
                self.ignores.pop();
                let resumed = stack.last_mut().map_or(Ok(()), |(above, _)| above.resume());
                resumed.map_err(|errno| self.error(errno))?;
            }
        }
        Ok(())
    }

    /// Adds what has this name in the directory. A directory is opened, for its members to be added next.
    fn member(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<OpenDir>, Error> {
        self.name.extend_from_slice(name.to_bytes());
        if self.filter.excludes(self.path()) {
            return Ok(None);
        }
        let Some(stat) = self.unless_gone(look(directory, name))? else { return Ok(None) };
        if self.is_ignored(file_type(&stat) == FileType::Directory) {
            return Ok(None);
        }
        match file_type(&stat) {
            FileType::Directory => return self.directory(directory, name),
            _ if !self.filter.includes(self.path()) => {}
            FileType::Symlink => {
                if let Some(to) = self.unless_gone(readlinkat(directory, name, Vec::new()))? {
                    self.writer.symlink(&self.name, &stat, to.as_bytes()).map_err(unwritable)?;
                }
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                if let Some(file) = self.unless_gone(openat(directory, name, flags, Mode::empty()))? {
                    self.file(file)?;
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn directory(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<Option<OpenDir>, Error> {
        let opened = OpenDir::open(parent, OsStr::from_bytes(name.to_bytes())).map_err(|errno| self.error(errno))?;
        let Some(directory) = opened else { return Ok(None) };
        let stat = directory.fd().and_then(|fd| look(fd, c"")).map_err(|errno| self.error(errno))?;
        if self.filter.includes(self.path()) {
            self.writer.directory(&self.name, &stat).map_err(unwritable)?;
        }
        if let Some(above) = self.ignores.last() {
            let fd = directory.fd().and_then(|fd| fcntl_dupfd_cloexec(fd, 0)).map_err(|errno| self.error(errno))?;
            let rules = IgnoreRules::of(&fd, self.path(), above);
            self.ignores.push(rules);
        }
        self.name.push(b'/');
        Ok(Some(directory))
    }

    /// Whether ignore files say that what is being added is left out.
    fn is_ignored(&self, is_directory: bool) -> bool {
        self.ignores.last().is_some_and(|rules| rules.ignores(self.path(), is_directory) == Some(true))
    }

    /// Adds what is open, if it is a regular file: something else may have had its name by the time it was opened.
    fn file(&mut self, file: OwnedFd) -> Result<(), Error> {
        let stat: Statx = look(&file, c"").map_err(|errno| self.error(errno))?;
        if file_type(&stat) != FileType::RegularFile {
            return Ok(());
        }
        self.writer.file(&self.name, &stat, &File::from(file)).map_err(|failed| match failed {
            Failed::Reading(error) => io_error(&FilePath::from(self.name.clone()), &error),
            Failed::Writing(error) => unwritable(error),
        })
    }

    /// Nothing for what is no more what it was when its name was read.
    fn unless_gone<T>(&self, result: Result<T, Errno>) -> Result<Option<T>, Error> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::LOOP | Errno::INVAL | Errno::NXIO) => Ok(None),
            Err(errno) => Err(self.error(errno)),
        }
    }

    fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.name))
    }

    fn error(&self, errno: Errno) -> Error {
        errno_error(&FilePath::from(self.name.clone()), errno)
    }
}

fn unwritable(error: io::Error) -> Error {
    Error::new(Code::Interrupted, format!("the archive was interrupted: {error}"))
}

/// Which members an archive gets, by their names in it: those that one of some globs matches, and none of others.
#[derive(Debug)]
pub struct Filter {
    include: Option<Globs>,
    exclude: Globs,
    /// Whether ignore files count, as git and ripgrep read them.
    ignores: bool,
}

impl Filter {
    /// Without any to include, all are, but for those to exclude.
    ///
    /// Fails with `invalid_request`.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, Error> {
        let include = if include.is_empty() { None } else { Some(Globs::new(include)?) };
        Ok(Self { include, exclude: Globs::new(exclude)?, ignores: false })
    }

    /// The same, and leaves out what ignore files say.
    pub fn with_ignore_files(self, ignores: bool) -> Self {
        Self { ignores, ..self }
    }

    /// Whether a member is left out, with all that is in it.
    pub(super) fn excludes(&self, name: &Path) -> bool {
        self.exclude.matches(name)
    }

    /// Whether a member is put in, unless it is excluded.
    pub(super) fn includes(&self, name: &Path) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.matches(name))
    }
}
