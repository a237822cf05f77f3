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
};

use cabana_protocol::{Code, Error, file::FilePath};
use rustix::{
    fs::{FileType, Mode, OFlags, Statx, openat, readlinkat},
    io::Errno,
};

use super::{
    filter::Filter,
    format::Format,
    writer::{Failed, Writer},
};
use crate::file::{
    failure::{failure, io_failure, wrong_kind},
    level::{Level, close_far},
    metadata::{file_type, look},
    root::Roots,
};

/// A directory whose members are being added.
struct Open {
    level: Level,
    /// How much of the name of what is in it is its own.
    prefix: usize,
}

/// An archive that is being made.
struct Creation<'a, W> {
    filter: &'a Filter,
    writer: Writer<W>,
    /// The name of what is being added, as the archive has it.
    name: Vec<u8>,
}

/// Writes an archive of what is at this path: a directory's members are named from there, a file by its own name. The filter is for
/// members of a directory.
///
/// Fails with `not_found`, `forbidden`, `conflict` (neither a directory nor a regular file), and when the output breaks off.
pub fn create(roots: &Roots, path: &FilePath, format: Format, filter: &Filter, output: impl Write) -> Result<(), Error> {
    let target = roots.target(path)?;
    let top = target.open(OFlags::PATH)?;
    let stat = look(&top, c"").map_err(|errno| failure(path, errno))?;
    let writer = Writer::new(format.encoder(output).map_err(unwritable)?);
    let mut creation = Creation { filter, writer, name: Vec::new() };
    match file_type(&stat) {
        FileType::Directory => creation.tree(&top)?,
        FileType::RegularFile => {
            let name = target.entry()?.name;
            let file = target.open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
            creation.name.extend_from_slice(name.as_bytes());
            creation.file(file)?;
        }
        _ => return Err(wrong_kind(path, "neither a directory nor a regular file")),
    }
    creation.writer.finish().and_then(|encoder| encoder.finish()).map(drop).map_err(unwritable)
}

impl<W: Write> Creation<'_, W> {
    /// Adds what is in this directory.
    fn tree(&mut self, top: &OwnedFd) -> Result<(), Error> {
        let opened = Level::open(top.as_fd(), OsStr::new(".")).map_err(|errno| self.failure(errno))?;
        let mut open: Vec<_> = opened.map(|level| Open { level, prefix: 0 }).into_iter().collect();
        while let Some(directory) = open.last_mut() {
            self.name.truncate(directory.prefix);
            if let Some(name) = directory.level.next().map_err(|errno| self.failure(errno))? {
                let fd = directory.level.fd().map_err(|errno| self.failure(errno))?;
                let below = self.member(fd, &name)?;
                open.extend(below);
                close_far(&mut open, |directory| &mut directory.level);
            } else if let Some(done) = open.pop()
                && let Some(above) = open.last_mut()
            {
                go_on(&mut above.level, &done.level).map_err(|errno| self.failure(errno))?;
            }
        }
        Ok(())
    }

    /// Adds what has this name in the directory. A directory is opened, for its members to be added next.
    fn member(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<Open>, Error> {
        self.name.extend_from_slice(name.to_bytes());
        if self.filter.excludes(self.path()) {
            return Ok(None);
        }
        let Some(stat) = self.unless_gone(look(directory, name))? else { return Ok(None) };
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

    fn directory(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<Option<Open>, Error> {
        let opened = Level::open(parent, OsStr::from_bytes(name.to_bytes())).map_err(|errno| self.failure(errno))?;
        let Some(level) = opened else { return Ok(None) };
        let stat = level.fd().and_then(|fd| look(fd, c"")).map_err(|errno| self.failure(errno))?;
        if self.filter.includes(self.path()) {
            self.writer.directory(&self.name, &stat).map_err(unwritable)?;
        }
        self.name.push(b'/');
        Ok(Some(Open { level, prefix: self.name.len() }))
    }

    /// Adds what is open, if it is a regular file: something else may have had its name by the time it was opened.
    fn file(&mut self, file: OwnedFd) -> Result<(), Error> {
        let stat: Statx = look(&file, c"").map_err(|errno| self.failure(errno))?;
        if file_type(&stat) != FileType::RegularFile {
            return Ok(());
        }
        self.writer.file(&self.name, &stat, &File::from(file)).map_err(|failed| match failed {
            Failed::Reading(error) => io_failure(&FilePath::from(self.name.clone()), &error),
            Failed::Writing(error) => unwritable(error),
        })
    }

    /// Nothing for what is no more what it was when its name was read.
    fn unless_gone<T>(&self, result: Result<T, Errno>) -> Result<Option<T>, Error> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::LOOP | Errno::INVAL | Errno::NXIO) => Ok(None),
            Err(errno) => Err(self.failure(errno)),
        }
    }

    fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.name))
    }

    fn failure(&self, errno: Errno) -> Error {
        failure(&FilePath::from(self.name.clone()), errno)
    }
}

/// Goes on in a directory after one in it, which is still open.
fn go_on(above: &mut Level, below: &Level) -> Result<(), Errno> {
    if above.reopen(below.fd()?)? { above.resume() } else { Ok(()) }
}

fn unwritable(error: io::Error) -> Error {
    Error::new(Code::Interrupted, format!("the archive broke off: {error}"))
}
