//! What a command of a session reads and writes: FIFOs of its own, so that what an earlier command left in the background does not
//! print into it.

use std::os::fd::OwnedFd;

use cabana_protocol::Error;
use rustix::fs::OFlags;
use tokio::net::unix::pipe;

use super::directory::{Directory, failure};
use crate::process::{Feed, Pipes, Stdin};

/// The agent's sides.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) pipes: Pipes,
    pub(super) feed: Option<Feed>,
    /// Keep what is written from being at its end before the shell has opened it.
    writing: Option<[OwnedFd; 2]>,
    /// Keeps what is read from being at its end before the shell has opened it.
    reading: Option<OwnedFd>,
}

impl Streams {
    /// Makes the FIFOs `out`, `err` and, where there is something to read, `in`.
    pub(super) fn new(directory: &Directory, stdin: Stdin) -> Result<Self, Error> {
        let writing = [directory.fifo("out")?, directory.fifo("err")?];
        let (out, err) = (directory.open("out", OFlags::RDONLY)?, directory.open("err", OFlags::RDONLY)?);
        let pipes = Pipes::new(Some(out), Some(err)).map_err(|error| failure(&error))?;
        let (feed, reading) = match stdin {
            Stdin::Empty => (None, None),
            stdin => {
                let reading = directory.fifo("in")?;
                let sender = pipe::Sender::from_owned_fd(directory.open("in", OFlags::RDWR)?).map_err(|error| failure(&error))?;
                (Some(Feed::of_pipe(sender, stdin)), Some(reading))
            }
        };
        Ok(Self { pipes, feed, writing: Some(writing), reading })
    }

    /// The shell has opened what the command reads: from now on its end is the end.
    pub(super) fn opened(&mut self) {
        self.reading = None;
    }

    /// Nothing more comes for the command to read.
    pub(super) fn unplug(&mut self) {
        (self.feed, self.reading) = (None, None);
    }

    /// The command is done: what it has written is still read.
    pub(super) fn finish(mut self, directory: &Directory) -> Pipes {
        ["out", "err", "in"].into_iter().for_each(|name| directory.remove(name));
        self.unplug();
        self.writing = None;
        self.pipes.exited();
        self.pipes
    }
}
