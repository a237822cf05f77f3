//! What a process printed, each byte numbered: written by its owner, read from any offset by whoever wants to, at their own pace.
//!
//! Of a process that somebody waits for, a journal keeps what that caller, who holds it, has not heard yet; when the caller is far behind,
//! the process waits. Where the caller may lose its connection and return, it also keeps some of what the caller has heard: that may have
//! been lost on its way. A caller who comes back holds it from then on. Of a process that runs for itself it keeps the newest bytes for
//! replay, first in memory, then on disk. A reader that comes late or falls behind is told what it missed and stalls nobody.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`reader`] | a place in a journal |
//! | [`window`] | what the holder has not heard |
//! | [`tail`] | what it may have to hear again |
//! | [`pages`] | what is kept for replay, in memory and on disk |
//! | [`spool`] | the file on disk |
//! | [`budget`] | how much all journals may keep |

mod budget;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod pages;
mod reader;
mod spool;
mod tail;
mod window;

pub(super) use budget::Budget;
pub use reader::Reader;
pub(super) use tail::Tail;

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cabana_protocol::exec::ExecResult;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::Chunk;
use budget::Share;
use pages::{PAGE_BYTES, Pages, Runs, Stored};
use window::Window;

/// Surplus in memory from which on pages are moved to disk: several at once.
const SURPLUS_BYTES: u64 = 4 * PAGE_BYTES as u64;

/// Surplus in memory at which the process waits until they have been moved.
const MAX_SURPLUS_BYTES: u64 = 8 * PAGE_BYTES as u64;

/// A handle on a journal; clones mean the same.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Held for a look or a copy of at most a page, never across an await or a system call.
    state: Mutex<State>,
    /// What it takes of the budget, where it keeps output for replay. Given back after the pages are gone.
    share: Option<Share>,
    /// Something was written, or the process has ended.
    written: Notify,
    /// There may be room for more.
    room: Notify,
    /// Somebody has begun to read, or does so no longer.
    readers: Notify,
}

#[derive(Debug)]
struct State {
    kept: Kept,
    /// Pages are being moved to disk.
    moving: bool,
    result: Option<ExecResult>,
}

#[derive(Debug)]
enum Kept {
    Window(Window),
    Pages(Pages),
}

/// How much of a process's output is kept for replay, at least as long as all together do not keep too much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// Bytes in memory.
    pub(super) memory: u64,
    /// Bytes on disk.
    pub(super) disk: u64,
}

/// The next thing in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A piece of output.
    Chunk(Chunk),
    /// Bytes that are no longer kept.
    Gap {
        /// The first of them.
        from: u64,
        /// The first that is there again.
        to: u64,
    },
    /// The process has ended; nothing comes after it.
    End(ExecResult),
}

/// What is found at an offset.
#[derive(Debug)]
enum Found {
    Chunk(Chunk),
    Runs(Runs),
    Stored(Stored),
    Gap { to: u64 },
    End(ExecResult),
}

impl Journal {
    /// An empty journal of a process that somebody waits for, and that caller's place in it; with what is kept where the caller may return.
    pub(super) fn attended(tail: Option<Tail>) -> (Self, Reader) {
        let journal = Self::new(Kept::Window(Window::new(tail)), None);
        let holder = journal.attach(0);
        (journal, holder)
    }

    /// An empty journal of a process that runs for itself.
    pub(super) fn detached(budget: &Arc<Budget>, keep: Keep) -> Self {
        let journal = Self::new(Kept::Pages(Pages::new(keep)), Some(Share::new(Arc::clone(budget))));
        budget.add(&journal);
        journal
    }

    fn new(kept: Kept, share: Option<Share>) -> Self {
        let state = Mutex::new(State { kept, moving: false, result: None });
        Self(Arc::new(Shared { state, share, written: Notify::new(), room: Notify::new(), readers: Notify::new() }))
    }

    /// Reads from this offset on.
    pub fn read(&self, from: u64) -> Reader {
        self.enter(from, false)
    }

    /// Reads from this offset on, for somebody who waits for the process. It holds a process whose caller may return and does not read.
    pub(super) fn attach(&self, from: u64) -> Reader {
        self.enter(from, true)
    }

    fn enter(&self, from: u64, attends: bool) -> Reader {
        let number = self.with_window(|window| window.enter(from, attends));
        self.0.room.notify_one();
        self.0.readers.notify_waiters();
        Reader::new(self.clone(), from, number)
    }

    /// The first offset that is kept, and the one after the last.
    pub fn bounds(&self) -> (u64, u64) {
        self.with(|state| state.bounds())
    }

    /// How the process ended, once it has.
    pub fn result(&self) -> Option<ExecResult> {
        self.with(|state| state.result.clone())
    }

    /// Adds a chunk; its offset is the journal's end.
    pub(crate) fn push(&self, chunk: Chunk) {
        self.with(|state| {
            debug_assert_eq!(chunk.offset, state.bounds().1, "chunks come in order");
            match &mut state.kept {
                Kept::Window(window) => window.push(chunk),
                Kept::Pages(pages) => pages.push(&chunk),
            }
        });
        self.0.written.notify_waiters();
    }

    /// Closes it with how the process ended. What is kept stays for as long as somebody has a handle.
    pub(crate) fn end(&self, result: ExecResult) {
        self.with(|state| {
            state.result = Some(result);
            match &mut state.kept {
                Kept::Window(window) => window.close(),
                Kept::Pages(pages) => pages.close(),
            }
        });
        self.0.written.notify_waiters();
    }

    /// Waits until the process may print more: its holder is not far behind, and not too much waits to be moved to disk.
    pub(crate) async fn room(&self) {
        loop {
            let mut room = pin!(self.0.room.notified());
            room.as_mut().enable();
            self.move_surplus();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    fn has_room(&self) -> bool {
        self.with(|state| match &state.kept {
            Kept::Window(window) => window.has_room(),
            Kept::Pages(pages) => !state.moving || pages.surplus() < MAX_SURPLUS_BYTES && !self.exceeds_budget(),
        })
    }

    /// Has pages moved to disk, if there are enough of them and that is not under way.
    fn move_surplus(&self) {
        let moves = self.with(|state| match &state.kept {
            Kept::Pages(pages) if !state.moving => {
                state.moving = pages.surplus() >= SURPLUS_BYTES || self.exceeds_budget();
                state.moving
            }
            _ => false,
        });
        if let (true, Some(share)) = (moves, &self.0.share) {
            let (journal, budget) = (self.clone(), Arc::clone(share.budget()));
            // Ends by itself, when little is left to move.
            tokio::spawn(async move {
                budget.relieve(journal.clone()).await;
                journal.with(|state| state.moving = false);
                journal.0.room.notify_one();
            });
        }
    }

    fn exceeds_budget(&self) -> bool {
        self.0.share.as_ref().is_some_and(|share| share.budget().is_exceeded())
    }

    fn surplus(&self) -> u64 {
        self.with_pages(|pages| pages.surplus()).unwrap_or(0)
    }

    fn find(&self, at: u64) -> Option<Found> {
        self.with(|state| state.find(at))
    }

    /// A reader of this number is here now.
    fn advance(&self, number: u64, at: u64) {
        self.with_window(|window| window.advance(number, at));
        self.0.room.notify_one();
    }

    /// The process has ended: begins the grace of a caller who is gone anew. Otherwise a process that was ended because the grace had run out
    /// would be forgotten at once.
    pub(super) fn renew_grace(&self) {
        self.with_window(Window::renew_grace);
        self.0.readers.notify_waiters();
    }

    /// Nobody who may have come back has done so in time: what is printed from now on waits for nobody.
    pub(super) fn give_up(&self) {
        self.with_window(Window::give_up);
        self.0.room.notify_one();
    }

    /// The reader of this number is gone.
    fn leave(&self, number: u64) {
        self.with_window(|window| window.leave(number));
        self.0.room.notify_one();
        self.0.readers.notify_waiters();
    }

    /// How long it waits for somebody who reads on, where the caller may return.
    pub(super) fn reconnect_grace(&self) -> Option<Duration> {
        self.with_window(|window| window.tail().map(|tail| tail.grace)).flatten()
    }

    /// Ends when the caller has been gone for that long and nobody else has come. Never, where the caller cannot return.
    pub(super) async fn deserted(&self) {
        loop {
            let mut changed = pin!(self.0.readers.notified());
            changed.as_mut().enable();
            match self.with_window(|window| window.deserted_at()).flatten() {
                Some(at) if at <= Instant::now() => return,
                Some(at) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// `None` of a process that runs for itself.
    fn with_window<T>(&self, look: impl FnOnce(&mut Window) -> T) -> Option<T> {
        self.with(|state| match &mut state.kept {
            Kept::Window(window) => Some(look(window)),
            Kept::Pages(_) => None,
        })
    }

    /// `None` of a process that somebody waits for.
    fn with_pages<T>(&self, look: impl FnOnce(&mut Pages) -> T) -> Option<T> {
        self.with(|state| match &mut state.kept {
            Kept::Window(_) => None,
            Kept::Pages(pages) => Some(look(pages)),
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = look(&mut state);
        if let (Kept::Pages(pages), Some(share)) = (&state.kept, &self.0.share) {
            share.set(pages.memory(), pages.disk());
        }
        seen
    }
}

impl State {
    fn bounds(&self) -> (u64, u64) {
        match &self.kept {
            Kept::Window(window) => window.bounds(),
            Kept::Pages(pages) => pages.bounds(),
        }
    }

    /// What comes at this offset; `None` when it has not been written yet.
    fn find(&self, at: u64) -> Option<Found> {
        let (start, _) = self.bounds();
        if at < start {
            return Some(Found::Gap { to: start });
        }
        let found = match &self.kept {
            Kept::Window(window) => window.find(at),
            Kept::Pages(pages) => pages.find(at),
        };
        found.or_else(|| self.result.clone().map(Found::End))
    }
}

#[cfg(test)]
mod tests;
