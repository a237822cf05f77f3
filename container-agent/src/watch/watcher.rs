//! The kernel's watches on a tree of directories, and what their events mean.
//!
//! Every directory is opened beneath the topmost one, without following symlinks, and watched by its descriptor: no swap on the way
//! makes another one watched. What a directory holds when it appears is read after its watch is in place, so nothing is missed, and
//! what both the reading and an event tell of is told once.

mod cover;

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cabana_protocol::{
    Code, Error,
    file::{Watch, WatchEnd},
};
use rustix::{
    fs::{
        OFlags,
        inotify::{CreateFlags, ReadFlags, Reader, init, remove_watch},
    },
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    batch::Batch,
    directories::{Directories, WatchId, WatchRoot},
    patterns::Patterns,
};
use crate::{
    Agent,
    fs::{errno_error, is_temporary_name},
    memory::Held,
};

/// Bytes of events that are read at once.
const READ_BYTES: usize = 64 << 10;

/// How long the second half of a rename may take after the first.
const HALVES: Duration = Duration::from_millis(1);

/// A watched tree.
#[derive(Debug)]
pub(super) struct Watcher {
    inotify: Arc<AsyncFd<OwnedFd>>,
    top: WatchRoot,
    recursive: bool,
    patterns: Patterns,
    directories: Directories,
    limit: usize,
    /// The memory that its directories take.
    held: Held,
    /// The topmost directory's watch.
    root: WatchId,
    /// What a reading has told of, whose event may still come.
    told: HashSet<(WatchId, OsString)>,
    /// The first half of a rename.
    moved: Option<Moved>,
    /// The path leads elsewhere by now.
    lost: bool,
    /// Whether a watched file is there.
    present: bool,
}

/// An event of the kernel.
#[derive(Debug)]
struct Event {
    watch: WatchId,
    flags: ReadFlags,
    cookie: u32,
    name: OsString,
}

/// What was moved from somewhere.
#[derive(Debug)]
struct Moved {
    cookie: u32,
    from: WatchId,
    name: OsString,
    directory: bool,
}

impl Watcher {
    /// Watches what the request says.
    ///
    /// Fails with `not_found`, `forbidden`, `invalid_request` (a pattern), `too_many_requests`.
    pub(super) fn open(agent: Agent, request: &Watch) -> Result<Self, Error> {
        let patterns = Patterns::new(request)?;
        let (limit, held) = (agent.limits.watched_directories, agent.memory.account());
        let top = WatchRoot::find(agent, request.path.clone())?;
        let refused = |errno| errno_error(&request.path, errno);
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|errno| match errno {
            Errno::MFILE => {
                Error::new(Code::TooManyRequests, "the kernel allows no more watches (fs.inotify.max_user_instances)")
            }
            errno => refused(errno),
        })?;
        let recursive = request.recursive.unwrap_or(true) && top.only.is_none();
        let (directories, told) = (Directories::default(), HashSet::new());
        let inotify = Arc::new(register(inotify)?);
        let mut watcher = Self {
            inotify,
            top,
            recursive,
            patterns,
            directories,
            limit,
            held,
            root: 0,
            told,
            moved: None,
            lost: false,
            present: true,
        };
        watcher.root = watcher.watch_tree(None, None, &mut HashSet::new())?.ok_or_else(|| refused(Errno::ACCESS))?;
        Ok(watcher)
    }

    /// Tells when there is something to take.
    pub(super) fn inotify(&self) -> &Arc<AsyncFd<OwnedFd>> {
        &self.inotify
    }

    /// What has happened since the last time.
    ///
    /// Fails with `too_many_requests` when there are more directories now than may be watched.
    pub(super) fn take(&mut self) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        let mut buffer = vec![MaybeUninit::uninit(); READ_BYTES];
        let inotify = Arc::clone(&self.inotify);
        let mut events = Reader::new(inotify.get_ref(), &mut buffer);
        let mut waited = false;
        while batch.end.is_none() {
            if batch.is_full() && events.is_buffer_empty() {
                batch.more = true;
                return Ok(batch);
            }
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()).unwrap_or_default();
                    let event = Event { watch: event.wd(), flags: event.events(), cookie: event.cookie(), name };
                    self.apply(event, &mut batch)?;
                }
                Err(Errno::INTR) => {}
                // The other half of a rename may be on its way.
                Err(Errno::AGAIN) if self.moved.is_some() && !waited => {
                    std::thread::sleep(HALVES);
                    waited = true;
                }
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(Error::internal(format!("the watch broke off: {errno}"))),
            }
        }
        // Whatever was told by a reading has had its event by now, or has none.
        self.told.clear();
        self.moved_out(&mut batch);
        batch.end = batch.end.or(self.lost.then_some(WatchEnd::Moved));
        Ok(batch)
    }

    fn apply(&mut self, event: Event, batch: &mut Batch) -> Result<(), Error> {
        let Event { watch, flags, cookie, name } = event;
        // The halves of a rename come one after the other.
        if self.moved.as_ref().is_some_and(|moved| moved.cookie != cookie) {
            self.moved_out(batch);
        }
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            batch.overflow();
            return self.catch_up();
        }
        if watch == self.root {
            batch.end = end(flags);
        }
        if flags.contains(ReadFlags::IGNORED) {
            self.directories.remove(watch);
        }
        let Some(path) = self.directories.path(watch, &name) else { return Ok(()) };
        let directory = flags.contains(ReadFlags::ISDIR);
        // A directory's own events come a second time from its parent, with a name.
        if name.is_empty() || self.top.only.as_ref().is_some_and(|only| *only != name) {
            return Ok(());
        }
        if flags.intersects(ReadFlags::MODIFY | ReadFlags::ATTRIB) && is_unnamed(&name) && !self.is_there(&path) {
            // A file without a name has one for events: `#` and its inode.
            return Ok(());
        }
        if flags.contains(ReadFlags::MOVED_TO) {
            return self.moved_to(watch, name, cookie, directory, batch);
        }
        let known = self.told.remove(&(watch, name.clone()));
        self.present &= !flags.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE);
        if flags.contains(ReadFlags::MOVED_FROM) {
            self.moved = Some(Moved { cookie, from: watch, name, directory });
            return Ok(());
        }
        if flags.contains(ReadFlags::CREATE) {
            return if known { Ok(()) } else { self.appeared(watch, name, directory, batch) };
        }
        if let Some(gone) = self.directories.child(watch, &name).filter(|_| flags.contains(ReadFlags::DELETE)) {
            self.abandon(gone);
        }
        if !self.patterns.reports(&path) {
            return Ok(());
        }
        if flags.contains(ReadFlags::DELETE) {
            batch.removed(path, directory);
        } else if flags.contains(ReadFlags::MODIFY) {
            batch.modified(path);
        } else if flags.contains(ReadFlags::ATTRIB) {
            batch.touched(path, directory);
        }
        Ok(())
    }

    /// Something is there that was not.
    fn appeared(&mut self, parent: WatchId, name: OsString, directory: bool, batch: &mut Batch) -> Result<(), Error> {
        let path = self.directories.path(parent, &name).filter(|path| !self.patterns.excludes(path));
        let Some(path) = path else { return Ok(()) };
        self.present = true;
        if self.patterns.reports(&path) {
            batch.created(path, directory);
        }
        match directory && self.recursive {
            true => self.watch_tree(Some((parent, name)), Some(batch), &mut HashSet::new()).map(|_| ()),
            false => Ok(()),
        }
    }

    /// The second half of a rename, or something from outside.
    fn moved_to(&mut self, to: WatchId, name: OsString, cookie: u32, directory: bool, batch: &mut Batch) -> Result<(), Error> {
        self.told.remove(&(to, name.clone()));
        let Some(Moved { from, name: old, .. }) = self.moved.take_if(|moved| moved.cookie == cookie) else {
            return self.moved_in(to, name, directory, batch);
        };
        let told = |path: Option<PathBuf>| path.filter(|path| self.patterns.reports(path));
        let (old_path, new_path) = (self.directories.path(from, &old), self.directories.path(to, &name));
        let excluded = new_path.as_ref().is_none_or(|path| self.patterns.excludes(path));
        match (told(old_path), told(new_path)) {
            // The agent renames a file that is complete only over another.
            (None, Some(new)) if is_temporary_name(&old) && !directory => batch.modified(new),
            (Some(old), Some(new)) => batch.renamed(old, new, directory),
            (Some(old), None) => batch.removed(old, directory),
            (None, Some(new)) => batch.created(new, directory),
            (None, None) => {}
        }
        match self.directories.child(from, &old) {
            Some(watched) if excluded => self.abandon(watched),
            Some(watched) => self.directories.insert(watched, Some((to, name))),
            // It was passed over where it was, or had its new name before it could be watched under the old one.
            None if directory && self.recursive && !excluded => {
                self.watch_tree(Some((to, name)), Some(batch), &mut HashSet::new())?;
            }
            None => {}
        }
        Ok(())
    }

    /// Something came from where nobody watches. Of a watched file it is known whether it replaces what was there.
    fn moved_in(&mut self, to: WatchId, name: OsString, directory: bool, batch: &mut Batch) -> Result<(), Error> {
        if self.top.only.is_some() && self.present && !directory {
            if let Some(path) = self.directories.path(to, &name).filter(|path| self.patterns.reports(path)) {
                batch.modified(path);
            }
            return Ok(());
        }
        self.appeared(to, name, directory, batch)
    }

    /// Whether there is something at this path.
    fn is_there(&self, path: &Path) -> bool {
        self.top.open().is_some_and(|top| top.open(path, OFlags::PATH).is_ok())
    }

    /// What was moved has not come back: it is somewhere else now.
    fn moved_out(&mut self, batch: &mut Batch) {
        let Some(Moved { from, name, directory, .. }) = self.moved.take() else { return };
        if let Some(path) = self.directories.path(from, &name).filter(|path| self.patterns.reports(path)) {
            batch.removed(path, directory);
        }
        if let Some(watched) = self.directories.child(from, &name) {
            self.abandon(watched);
        }
    }

    /// Watches a directory and all below it no more.
    fn abandon(&mut self, watched: WatchId) {
        for id in self.directories.remove(watched) {
            // One that is gone is watched no more anyway.
            let _ = remove_watch(self.inotify.get_ref(), id);
        }
    }

    /// Events were lost: watches what is there now, and nothing else.
    fn catch_up(&mut self) -> Result<(), Error> {
        self.moved = None;
        if self.top.only.is_some() {
            return Ok(());
        }
        let mut there = HashSet::new();
        self.watch_tree(None, None, &mut there)?;
        self.directories.others(&there).into_iter().for_each(|id| self.abandon(id));
        Ok(())
    }
}

/// Whether a file without a name would be told of by this name.
fn is_unnamed(name: &OsStr) -> bool {
    name.as_bytes().strip_prefix(b"#").is_some_and(|inode| !inode.is_empty() && inode.iter().all(u8::is_ascii_digit))
}

/// Why the watch is over, once the topmost directory says so.
fn end(flags: ReadFlags) -> Option<WatchEnd> {
    let ends = [
        (ReadFlags::UNMOUNT, WatchEnd::Unmounted),
        (ReadFlags::MOVE_SELF, WatchEnd::Moved),
        (ReadFlags::DELETE_SELF, WatchEnd::Removed),
        (ReadFlags::IGNORED, WatchEnd::Removed),
    ];
    ends.into_iter().find(|(flag, _)| flags.contains(*flag)).map(|(_, end)| end)
}

#[allow(unsafe_code)]
fn register(inotify: OwnedFd) -> Result<AsyncFd<OwnedFd>, Error> {
    // SAFETY: an OwnedFd is open, always gives the same descriptor, and is closed only when the AsyncFd drops it.
    let registered = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) };
    registered.map_err(|error| Error::internal(format!("cannot wait for changes: {error}")))
}
