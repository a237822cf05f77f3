//! How a child ended and what it used: from the kernel, once, for this child only.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::atomic::{AtomicI64, Ordering},
};

use cabana_protocol::{
    Signal,
    exec::{Exit, Usage},
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{Interest, unix::AsyncFd};

/// A child of this process that has not been waited for.
#[derive(Debug)]
pub(in crate::process) struct ChildHandle {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
}

impl ChildHandle {
    /// Watches this child. Its number cannot mean another process before [`ChildHandle::wait`] has returned.
    #[allow(unsafe_code)]
    pub(in crate::process) fn new(pid: Pid) -> io::Result<Self> {
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        // SAFETY: an OwnedFd is open, always gives the same descriptor, and is closed only when the AsyncFd drops it.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
        Ok(Self { pid, pidfd })
    }

    pub(in crate::process) fn pid(&self) -> Pid {
        self.pid
    }

    /// Its number as callers see it.
    pub(in crate::process) fn raw_pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for the child: until it has ended, and for the last time. Nothing is lost when the future is dropped.
    pub(in crate::process) async fn wait(&self) -> io::Result<(Exit, Usage)> {
        loop {
            let mut ready = self.pidfd.readable().await?;
            match wait4(self.pid)? {
                Some(ended) => return Ok(ended),
                None => ready.clear_ready(),
            }
        }
    }
}

/// wait4(2) for one child, without blocking. waitid(2) through a pidfd would not tell what the child used.
#[allow(unsafe_code)]
fn wait4(pid: Pid) -> io::Result<Option<(Exit, Usage)>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for writes of their types during the call.
    let waited = unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    match waited {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: rusage is made of integers, for which zero is a value, and the kernel has filled it.
        _ => Ok(Some((exit(status), used(unsafe { usage.assume_init_ref() })))),
    }
}

fn exit(status: libc::c_int) -> Exit {
    match Signal::from_number(libc::WTERMSIG(status)).filter(|_| libc::WIFSIGNALED(status)) {
        Some(signal) => Exit::Signalled { signal },
        None => Exit::Exited { code: libc::WEXITSTATUS(status) },
    }
}

fn used(usage: &libc::rusage) -> Usage {
    let ms = |time: libc::timeval| time.tv_sec.unsigned_abs() * 1_000 + time.tv_usec.unsigned_abs() / 1_000;
    // Between vfork and exec a child has the agent's memory, and the kernel counts that peak as the child's.
    let peak = Some(usage.ru_maxrss).filter(|peak| is_above_own(*peak));
    Usage { cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime), peak_memory_bytes: peak.map(|peak| peak.unsigned_abs() * 1_024) }
}

/// Whether this peak, in KiB, is higher than the agent's own.
fn is_above_own(peak: i64) -> bool {
    /// The agent's peak when it was last asked for; it never falls. To ask takes longer than all else at a child's end.
    static KNOWN: AtomicI64 = AtomicI64::new(0);
    if peak <= KNOWN.load(Ordering::Relaxed) {
        return false;
    }
    own_peak().is_some_and(|own| {
        KNOWN.store(own, Ordering::Relaxed);
        peak > own
    })
}

/// The largest resident set that this process has had since its own exec, in KiB. getrusage(2) would count its parent's too.
fn own_peak() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_read_as_the_kernel_writes_them() {
        for (status, expected) in [
            (0, Exit::Exited { code: 0 }),
            (0x0300, Exit::Exited { code: 3 }),
            (0xff00, Exit::Exited { code: 255 }),
            (9, Exit::Signalled { signal: Signal::KILL }),
            (0x80 | 15, Exit::Signalled { signal: Signal::TERM }),
        ] {
            assert_eq!(exit(status), expected, "{status:#x}");
        }
    }
}
