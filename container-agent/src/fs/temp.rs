//! New content on its way to replacing a file: it grows without a name and gets one when it is whole, so that an agent that is
//! killed leaves nothing behind. Where the file system has no files without a name, it grows under a name of its own.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, Statx, linkat, mkdirat, openat, renameat, symlinkat, unlinkat},
    io::{Errno, fcntl_dupfd_cloexec},
};

use super::{Entry, Target, remove_tree};
use crate::threads;

/// A file that nobody else knows yet; gone when it is dropped, unless it was put in place.
#[derive(Debug)]
pub(crate) struct Temporary {
    file: File,
    name: Option<TemporaryName>,
}

/// A name that is taken away again when it is dropped, if something that is not a directory still has it.
#[derive(Debug)]
pub(crate) struct TemporaryName {
    /// Where it is.
    pub(crate) directory: OwnedFd,
    /// The name there.
    pub(crate) name: OsString,
}

impl Temporary {
    /// Makes an empty file on the file system of this directory.
    pub(crate) fn new(directory: OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(&directory, ".", flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => Ok(Self { file: file.into(), name: None }),
            // The file system knows only files with names; an old kernel takes the flag for a wish to write to the directory.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::named(directory),
            Err(errno) => Err(errno),
        }
    }

    fn named(directory: OwnedFd) -> Result<Self, Errno> {
        let name = TemporaryName::new(directory)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&name.directory, &name.name, flags, Mode::from_raw_mode(0o600))?;
        Ok(Self { file: file.into(), name: Some(name) })
    }

    /// The file, for writing.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Puts it in place of whatever has this name, in one step. A rename of a temporary name then always replaces something, wherever the
    /// file system has links: that is how watches tell a new file from a changed one.
    pub(crate) fn persist(self, entry: Entry) -> Result<File, Errno> {
        match self.name {
            None => replace_with_link(&self.file, entry)?,
            Some(temporary) => {
                let linked = linkat(&temporary.directory, &temporary.name, &entry.parent, &entry.name, AtFlags::empty());
                linked.or_else(|_| temporary.replace(&entry))?;
            }
        }
        Ok(self.file)
    }
}

/// Gives an open file this name too, in place of whatever has it, in one step.
pub(crate) fn replace_with_link(file: impl AsFd, entry: Entry) -> Result<(), Errno> {
    in_place(entry, |directory, name| link(file.as_fd(), directory, name))
}

/// Makes a symlink in place of whatever has this name, in one step.
pub(crate) fn replace_with_symlink(to: &[u8], entry: Entry) -> Result<(), Errno> {
    in_place(entry, |directory, name| symlinkat(to, directory, name))
}

/// Makes something that replaces nothing under this name, or, where that is taken, under another that a rename then replaces it by.
fn in_place(entry: Entry, make: impl Fn(&OwnedFd, &OsStr) -> Result<(), Errno>) -> Result<(), Errno> {
    match make(&entry.parent, &entry.name) {
        Err(Errno::EXIST) => {
            let temporary = TemporaryName::new(fcntl_dupfd_cloexec(&entry.parent, 0)?)?;
            make(&temporary.directory, &temporary.name)?;
            temporary.replace(&entry)
        }
        result => result,
    }
}

/// Gives an open file without a name this one.
fn link(file: BorrowedFd<'_>, directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, open, directory, name, AtFlags::SYMLINK_FOLLOW) {
        // Without /proc, only those whom the kernel trusts may name an open file.
        Err(Errno::NOENT) => linkat(file, c"", directory, name, AtFlags::EMPTY_PATH),
        result => result,
    }
}

impl TemporaryName {
    /// One that nobody has.
    pub(crate) fn new(directory: OwnedFd) -> Result<Self, Errno> {
        Ok(Self { directory, name: random_name()? })
    }

    /// Puts what has this name in place of whatever has the other.
    fn replace(&self, entry: &Entry) -> Result<(), Errno> {
        renameat(&self.directory, &self.name, &entry.parent, &entry.name)
    }
}

/// How temporary names begin and end, and how many hexadecimal digits are between.
const NAME: (&str, usize, &str) = (".cabana-", 16, ".tmp");

/// Whether a name is one of those that the agent gives to what is not in place yet.
pub(crate) fn is_temporary_name(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(NAME.0)?.strip_suffix(NAME.2));
    digits.is_some_and(|digits| digits.len() == NAME.1 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')))
}

fn random_name() -> Result<OsString, Errno> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
    Ok(format!("{}{:0width$x}{}", NAME.0, u64::from_ne_bytes(random), NAME.2, width = NAME.1).into())
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        // After a rename there is mostly nothing to remove, and nothing can be done about a file that cannot be removed.
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

/// A directory that nobody else knows yet; gone with all it holds when it is dropped, unless it was put in place.
#[derive(Debug)]
pub(crate) struct TemporaryDirectory(Option<Entry>);

impl TemporaryDirectory {
    /// Makes an empty one in this directory.
    pub(crate) fn new(directory: &OwnedFd, mode: Mode) -> Result<Self, Errno> {
        let entry = Entry::new(fcntl_dupfd_cloexec(directory, 0)?, random_name()?);
        mkdirat(&entry.parent, &entry.name, mode)?;
        Ok(Self(Some(entry)))
    }

    /// Opens it.
    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        self.0.as_ref().ok_or(Errno::BADF)?.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Has it put in place by its directory and name there.
    pub(crate) fn persist(mut self, rename: impl FnOnce(&OwnedFd, &OsStr) -> Result<(), Errno>) -> Result<(), Errno> {
        if let Some(entry) = &self.0 {
            rename(&entry.parent, &entry.name)?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Some(entry) = &self.0 {
            // Nothing can be done about what cannot be removed.
            let _ = remove_tree(entry);
        }
    }
}

/// From this size on, freeing content is worth a thread's work.
const LARGE_BYTES: u64 = 1 << 20;

/// An open descriptor for large content that is being replaced. Dropping it may free the blocks, which takes about as long as to write
/// them, so that is done when nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct DeferredUnlink(Option<OwnedFd>);

/// Replaced content whose blocks are being freed.
#[derive(Debug, Default)]
pub(crate) struct PendingFrees {
    count: Mutex<usize>,
    done: Condvar,
}

impl DeferredUnlink {
    /// Holds what is here, if it is large, before its name is given to something else.
    pub(crate) fn hold(target: &Target<'_>, before: Option<&Statx>) -> Self {
        let large = before.is_some_and(|stat| stat.stx_blocks.saturating_mul(512) >= LARGE_BYTES);
        Self(large.then(|| target.open(OFlags::PATH | OFlags::NOFOLLOW).ok()).flatten())
    }

    /// Lets go of it: in the background where a thread is idle, else here. It is never queued, because those who wait for it may
    /// hold every thread that could take it from the queue.
    pub(crate) fn free(self, pending: &Arc<PendingFrees>) {
        let Some(content) = self.0 else { return };
        let freed = PendingFree::begin(pending);
        let free = move || {
            drop(content);
            drop(freed);
        };
        if let Err(free) = threads::run_idle(free) {
            free();
        }
    }
}

impl PendingFrees {
    /// Waits until all is freed; false if there is nothing to wait for.
    pub(crate) fn wait(&self) -> bool {
        let mut count = self.lock();
        let some = *count > 0;
        while *count > 0 {
            count = self.done.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        some
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Content that is being freed until this is dropped.
struct PendingFree(Arc<PendingFrees>);

impl PendingFree {
    fn begin(pending: &Arc<PendingFrees>) -> Self {
        *pending.lock() += 1;
        Self(Arc::clone(pending))
    }
}

impl Drop for PendingFree {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.done.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, path::Path};

    use cabana_protocol::file::FilePath;

    use super::super::Roots;
    use super::*;

    fn directory(path: &Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn place(temporary: Temporary, root: &Path, path: &str) {
        let roots = Roots::at(root);
        let path = FilePath::from(path);
        temporary.file().write_all(b"new").unwrap();
        let entry = roots.target(&path).unwrap().entry().unwrap();
        temporary.persist(entry).unwrap();
    }

    fn names(path: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_appears_or_replaces_and_leaves_nothing_else() {
        for make in [Temporary::new, Temporary::named] {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join("old"), "old").unwrap();
            for name in ["old", "fresh"] {
                place(make(directory(root.path())).unwrap(), root.path(), name);
                assert_eq!(fs::read(root.path().join(name)).unwrap(), b"new");
            }
            drop(make(directory(root.path())).unwrap());
            assert_eq!(names(root.path()), ["fresh", "old"]);
        }
    }

    #[test]
    fn temporary_names_are_told_from_others() {
        assert!(is_temporary_name(&random_name().unwrap()));
        for other in ["", ".cabana-.tmp", ".cabana-0123456789abcdeg.tmp", ".cabana-0123456789abcdef.tmp.x", "cabana"] {
            assert!(!is_temporary_name(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn it_has_no_name_while_it_grows() {
        let root = tempfile::tempdir().unwrap();
        let temporary = Temporary::new(directory(root.path())).unwrap();
        temporary.file().write_all(b"new").unwrap();
        assert!(names(root.path()).is_empty());
    }
}
