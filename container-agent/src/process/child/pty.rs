//! The agent's side of a pseudo-terminal.
//!
//! rustix, which is here anyway, makes one in three safe calls; `pty-process` would bring the same calls and a way of its own to
//! start and wait for a child.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use bytes::Bytes;
use cabana_protocol::exec::Tty;
use rustix::{
    fs::{Mode, OFlags, fchmod, fchown, fcntl_getfl, fcntl_setfl},
    io::Errno,
    process::Uid,
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Most bytes that the kernel hands out in one read of a terminal.
const READ_BYTES: usize = 4 << 10;

/// More than the kernel holds of what was written to a terminal and not read: 64 KiB on the way and one read's worth.
const HELD_BYTES: usize = 72 << 10;

/// What ctrl-D types: the end of file, to what reads lines.
pub(in crate::process) const END_OF_FILE: &[u8] = &[4];

/// The side on which a terminal's keys are pressed and its screen is seen. Closing the last handle hangs the terminal up.
#[derive(Debug, Clone)]
pub(in crate::process) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    /// A terminal of this size that belongs to this user, and its other side, on which a command runs.
    #[allow(unsafe_code)]
    pub(in crate::process) fn open(size: Tty, owner: Option<Uid>) -> io::Result<(Self, OwnedFd)> {
        // As PID 1 the agent would otherwise get a controlling terminal.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        if owner.is_some() {
            fchown(&slave, owner, None)?;
            fchmod(&slave, Mode::from_raw_mode(0o620))?;
        }
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        // SAFETY: an OwnedFd is open, always gives the same descriptor, and is closed only when the AsyncFd drops it.
        let master = unsafe { AsyncFd::register_with_interest(master, Interest::READABLE | Interest::WRITABLE) }?;
        let terminal = Self(Arc::new(master));
        terminal.resize(size)?;
        Ok((terminal, slave))
    }

    /// Gives it another size; the kernel tells the foreground by SIGWINCH.
    pub(in crate::process) fn resize(&self, Tty { cols, rows }: Tty) -> io::Result<()> {
        let size = Winsize { ws_col: cols.get(), ws_row: rows.get(), ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(self.0.get_ref().as_fd(), size)?)
    }

    /// What appears next; nothing when nobody has the other side open any more. Nothing is lost when the future is dropped.
    async fn read(&self) -> io::Result<Bytes> {
        self.0.async_io(Interest::READABLE, read).await
    }

    /// Types; gives how much has been taken. Nothing is taken when the future is dropped.
    pub(in crate::process) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.async_io(Interest::WRITABLE, |master| Ok(rustix::io::write(master, bytes)?)).await
    }
}

fn read(master: &OwnedFd) -> io::Result<Bytes> {
    let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
    match rustix::io::read(master, &mut buffer) {
        // A copy of the right size: journals keep many small pieces.
        Ok((read, _)) => Ok(Bytes::copy_from_slice(read)),
        // What the kernel says when the other side is closed.
        Err(Errno::IO) => Ok(Bytes::new()),
        Err(error) => Err(error.into()),
    }
}

/// What appears on a terminal, until its command has ended.
#[derive(Debug)]
pub(in crate::process) struct Screen {
    terminal: Terminal,
    /// Kept open while the command runs, which may close its own and open `/dev/tty` later.
    other_side: Option<OwnedFd>,
    /// Bytes that may still be those of the command, once it has ended.
    owed: usize,
}

impl Screen {
    pub(in crate::process) fn new(terminal: Terminal, other_side: OwnedFd) -> Self {
        Self { terminal, other_side: Some(other_side), owed: HELD_BYTES }
    }

    /// The command has ended.
    pub(in crate::process) fn exited(&mut self) {
        self.other_side = None;
        self.owed = HELD_BYTES;
    }

    /// What appears next; `None` when nobody has the terminal open any more.
    pub(in crate::process) async fn read(&mut self) -> Option<Bytes> {
        let read = self.terminal.read().await;
        self.took(read)
    }

    /// What has appeared and may be the command's, which has ended: the kernel does not tell how much of it there is.
    pub(in crate::process) fn rest(&mut self) -> Option<Bytes> {
        if self.owed == 0 {
            return None;
        }
        let read = read(self.terminal.0.get_ref());
        self.took(read)
    }

    fn took(&mut self, read: io::Result<Bytes>) -> Option<Bytes> {
        let bytes = read.ok().filter(|bytes| !bytes.is_empty())?;
        self.owed = self.owed.saturating_sub(bytes.len());
        Some(bytes)
    }
}
