//! A session's private directory, in which its shell and the agent meet: scripts for the shell, FIFOs for both.

use std::{io, path::Path};

use cabana_protocol::{Code, Error};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Mode, OFlags, chownat, mkfifoat, openat, unlinkat},
    io::Errno,
    process::Uid,
};
use tempfile::TempDir;

/// Where it may be made: the first of these that is there and can be written to.
const PLACES: [&str; 3] = ["/run", "/dev/shm", "/tmp"];

/// A directory that only the agent changes and only the shell's user reads. Removed when dropped.
#[derive(Debug)]
pub(super) struct Directory {
    directory: TempDir,
    handle: OwnedFd,
    /// Whom the files belong to, if not the agent's own user.
    owner: Option<Uid>,
}

impl Directory {
    /// An empty directory for a shell of this user.
    ///
    /// Fails with `storage_full` or `internal`.
    pub(super) fn new(owner: Option<Uid>) -> Result<Self, Error> {
        let make = |place| tempfile::Builder::new().prefix("cabana-").tempdir_in(place);
        let (first, rest) = PLACES.split_first().expect("there is a place");
        let directory = rest.iter().fold(make(first), |made, place| made.or_else(|_| make(place)));
        let open = |directory: TempDir| {
            let handle = openat(CWD, directory.path(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            if owner.is_some() {
                // Its files are named, and opened by whoever owns them; only the agent adds and removes them, so that nobody can lead
                // it elsewhere.
                rustix::fs::fchmod(&handle, Mode::from_raw_mode(0o711))?;
            }
            Ok(Self { directory, handle, owner })
        };
        directory.and_then(open).map_err(|error| failure(&error))
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Makes a file with this content, in the place of the one that has this name.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let write = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = self.make(name, || openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR))?;
            self.give(name)?;
            io::Write::write_all(&mut std::fs::File::from(file), content)
        };
        write().map_err(|error| failure(&error))
    }

    /// Makes a FIFO, in the place of what has this name, and opens it for reading and writing.
    pub(super) fn fifo(&self, name: &str) -> Result<OwnedFd, Error> {
        let make = || {
            self.make(name, || mkfifoat(&self.handle, name, Mode::RUSR | Mode::WUSR))?;
            self.give(name)
        };
        make().map_err(|error| failure(&error))?;
        self.open(name, OFlags::RDWR)
    }

    /// Opens a FIFO, without waiting for anybody on its other side.
    pub(super) fn open(&self, name: &str, mode: OFlags) -> Result<OwnedFd, Error> {
        let flags = mode | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.handle, name, flags, Mode::empty()).map_err(|error| failure(&error.into()))
    }

    /// Removes the file of this name, if there is one.
    pub(super) fn remove(&self, name: &str) {
        let _ = unlinkat(&self.handle, name, AtFlags::empty());
    }

    /// Makes something of this name where nothing is; that takes away what is, if need be.
    fn make<T>(&self, name: &str, make: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.remove(name);
                make()
            }
            made => made,
        }
    }

    fn give(&self, name: &str) -> io::Result<()> {
        match self.owner {
            None => Ok(()),
            owner => Ok(chownat(&self.handle, name, owner, None, AtFlags::SYMLINK_NOFOLLOW)?),
        }
    }
}

/// What went wrong with a session's files or pipes.
pub(super) fn failure(error: &io::Error) -> Error {
    let code = match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => Code::StorageFull,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Code::TooManyRequests,
        _ => Code::Internal,
    };
    Error::new(code, format!("a session's private files: {error}"))
}
