//! Reading what the kernel shows only to a process's own user.
//!
//! `/proc/<pid>/environ` and `/proc/<pid>/fd` are open to processes that may trace it: its own user's, or the holder of
//! CAP_SYS_PTRACE, which container engines do not grant. The agent is root, so it may take that user's place. Linux lets each
//! thread have a file system user of its own (credentials(7)).

use std::{
    fs::Metadata,
    io,
    marker::PhantomData,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::io::Errno;

/// The user and group that a process runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) struct Owner {
    uid: libc::uid_t,
    gid: libc::gid_t,
}

impl Owner {
    /// The owner of a process, by its directory in `/proc` or a file in it.
    pub(in crate::process) fn new(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), gid: metadata.gid() }
    }

    /// Reads in the owner's place and, where that is refused, in the agent's own.
    pub(in crate::process) fn read<T>(self, pid: i32, read: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let guard = FileUser::assume(self);
        let result = read();
        drop(guard);
        match result {
            Err(error) if is_refusal(&error) => read().inspect_err(|error| note_refusal(pid, error)),
            result => result,
        }
    }
}

/// While this is there, this thread has another user and group towards file systems.
struct FileUser {
    before: Owner,
    _of_this_thread: PhantomData<*const ()>,
}

impl FileUser {
    /// The kernel does not say whether it has refused; then reading fails as before.
    fn assume(owner: Owner) -> Self {
        let before = set(owner);
        Self { before, _of_this_thread: PhantomData }
    }
}

impl Drop for FileUser {
    fn drop(&mut self) {
        set(self.before);
    }
}

/// The group goes first: to change it takes a right that the other user does not have.
#[allow(unsafe_code)]
fn set(Owner { uid, gid }: Owner) -> Owner {
    // SAFETY: setfsgid(2) and setfsuid(2) take an integer, change this thread alone, and touch no memory.
    let (gid, uid) = unsafe { (libc::setfsgid(gid), libc::setfsuid(uid)) };
    Owner { uid: uid.cast_unsigned(), gid: gid.cast_unsigned() }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ACCESS | Errno::PERM))
}

/// Says once that some process cannot be looked into: a daemon that has left its tree then outlives its command.
fn note_refusal(pid: i32, error: &io::Error) {
    static NOTED: AtomicBool = AtomicBool::new(false);
    if is_refusal(error) && !NOTED.swap(true, Ordering::Relaxed) {
        tracing::warn!("the agent may not read the environment or the descriptors of process {pid}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_its_own_user_back() {
        let own = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let other = Owner { uid: 12_345, gid: 12_345 };
        let seen = other.read(1, || Ok(current())).unwrap();
        // Only root may take another's place.
        assert_eq!(seen, if own.uid == 0 { other } else { own });
        assert_eq!(current(), own);
    }

    /// Numbers that no user has change nothing.
    fn current() -> Owner {
        set(Owner { uid: u32::MAX, gid: u32::MAX })
    }
}
