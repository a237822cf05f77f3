//! Descriptors that the agent itself was started with.

use std::{fs, io};

use rustix::io::{Errno, FdFlags, fcntl_setfd};

/// The first descriptor behind the three streams.
const FIRST: libc::c_uint = 3;

/// Marks every descriptor that this process was started with, but for the three streams, so that no child inherits it.
pub fn keep_descriptors() -> io::Result<()> {
    match close_range_on_exec() {
        // Linux before 5.11, or a seccomp profile that does not know the call.
        Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => mark_each(),
        marked => Ok(marked?),
    }
}

#[allow(unsafe_code)]
fn close_range_on_exec() -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: close_range(2) with CLOSE_RANGE_CLOEXEC closes nothing and touches no memory. musl has no function for it.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOSYS)),
    }
}

/// Marks them one by one. Call it while there is one thread.
#[allow(unsafe_code)]
fn mark_each() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(number) = number.filter(|number| number.cast_unsigned() >= FIRST) {
            // SAFETY: the descriptor is open: it was listed, and nothing else runs that would close it. The listing's own is among them.
            let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
            fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::io::{dup, fcntl_getfd};

    use super::*;

    #[test]
    fn descriptors_are_marked_without_close_range() {
        // A duplicate is not marked, as an inherited descriptor is not.
        let inherited = dup(fs::File::open("/dev/null").unwrap().as_fd()).unwrap();
        assert!(!fcntl_getfd(&inherited).unwrap().contains(FdFlags::CLOEXEC));
        // Other tests open and close descriptors meanwhile, which may be gone when they are marked.
        while mark_each().is_err() {}
        assert!(fcntl_getfd(&inherited).unwrap().contains(FdFlags::CLOEXEC));
    }
}
