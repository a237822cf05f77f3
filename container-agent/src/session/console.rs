//! The two pipes between a session's shell and the agent: what it is told, and what it reports.

use std::{io, os::fd::OwnedFd};

use cabana_protocol::Error;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{io::AsyncReadExt, net::unix::pipe};

use super::{
    directory::{Directory, failure},
    line::Report,
};

/// Most bytes of reports that are kept; the shell's are short, but anybody could write there who runs as its user.
const REPORT_BYTES: usize = 4 << 10;

/// The agent's sides.
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
