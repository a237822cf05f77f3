//! Where a session's shell and the agent meet: a private directory with scripts for the shell and FIFOs for both, the two pipes
//! between them, and what one command reads and writes.

use std::{io, os::fd::OwnedFd, path::Path};

use cabana_protocol::{Code, Error};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, chownat, mkfifoat, openat, unlinkat},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::Uid,
};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::unix::pipe};

use super::script::Report;
use crate::process::{Pipes, Stdin, StdinWriter, Stdio};

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

/// Most bytes of reports that are kept; the shell's are short, but anybody could write there who runs as its user.
const REPORT_BYTES: usize = 4 << 10;

/// The agent's sides of the two pipes between it and the shell: what the shell is told, and what it reports.
#[derive(Debug)]
pub(super) struct Console {
    orders: OwnedFd,
    reports: pipe::Receiver,
    reported: Vec<u8>,
}

impl Console {
    /// Makes the FIFO `status` for the reports; gives what the shell is to read, too.
    pub(super) fn new(directory: &Directory) -> Result<(Self, OwnedFd), Error> {
        let reports = pipe::Receiver::from_owned_fd(directory.fifo("status")?).map_err(|error| failure(&error))?;
        let (stdin, orders) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failure(&error.into()))?;
        rustix::io::ioctl_fionbio(&orders, true).map_err(|error| failure(&error.into()))?;
        Ok((Self { orders, reports, reported: Vec::new() }, stdin))
    }

    /// Tells the shell something that fits into a pipe at once. Fails when it does not read, or is gone.
    pub(super) fn tell(&self, lines: &str) -> io::Result<()> {
        debug_assert!(lines.len() <= 4_096, "the kernel takes it as a whole");
        rustix::io::write(&self.orders, lines.as_bytes())?;
        Ok(())
    }

    /// The next report. Nothing is lost when the future is dropped.
    pub(super) async fn report(&mut self) -> io::Result<Report> {
        loop {
            while let Some(end) = self.reported.iter().position(|byte| *byte == b'\n') {
                let rest = self.reported.split_off(end + 1);
                let line = std::mem::replace(&mut self.reported, rest);
                if let Some(report) = Report::parse(&line) {
                    return Ok(report);
                }
            }
            if self.reported.len() > REPORT_BYTES {
                self.reported.clear();
            }
            self.reports.read_buf(&mut self.reported).await?;
        }
    }
}

/// The shell's sides of a command's FIFOs, held until the shell has opened them. Without them what is read would be at its end at once.
///
/// Each command has FIFOs of its own, so that what an earlier command left in the background does not print into it.
#[derive(Debug)]
pub(super) struct Held {
    writing: Vec<OwnedFd>,
    reading: Option<OwnedFd>,
}

/// The names of a command's FIFOs.
pub(super) const FIFOS: [&str; 3] = ["out", "err", "in"];

impl Held {
    /// Makes the FIFOs `out` and, unless it is the same, `err` and, where there is something to read, `in`. Gives the agent's sides.
    pub(super) fn new(directory: &Directory, stdin: Stdin, merges_stderr: bool) -> Result<(Self, Stdio), Error> {
        let names = if merges_stderr { &["out"][..] } else { &["out", "err"] };
        let writing = names.iter().map(|name| directory.fifo(name)).collect::<Result<Vec<_>, _>>()?;
        let out = directory.open("out", OFlags::RDONLY)?;
        let err = if merges_stderr { None } else { Some(directory.open("err", OFlags::RDONLY)?) };
        let pipes = Pipes::new(Some(out), err).map_err(|error| failure(&error))?;
        let (stdin, reading) = match stdin {
            Stdin::Empty | Stdin::File(_) => (None, None),
            stdin => {
                let reading = directory.fifo("in")?;
                let sender = pipe::Sender::from_owned_fd(directory.open("in", OFlags::RDWR)?).map_err(|error| failure(&error))?;
                (Some(StdinWriter::of_pipe(sender, stdin)), Some(reading))
            }
        };
        Ok((Self { writing, reading }, Stdio { pipes, stdin }))
    }

    /// The shell has opened what the command reads, or is to read nothing more: from now on its end is the end.
    pub(super) fn release_input(&mut self) {
        self.reading = None;
    }

    /// The command is done: what it has written is still read.
    pub(super) fn release(&mut self) {
        self.reading = None;
        self.writing.clear();
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
