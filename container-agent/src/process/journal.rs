//! What a process printed, each byte numbered: written by its owner, read from any offset by whoever wants to, at their own pace.
//!
//! Of a process that somebody waits for, a journal keeps what that caller, who holds it, has not heard yet; when he is far behind,
//! the process waits. Of a process that runs for itself it keeps the newest bytes for replay, first in memory, then on disk. A
//! reader that comes late or falls behind is told what it missed and stalls nobody.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`window`] | what the holder has not heard |
//! | [`pages`] | what is kept for replay |
//! | [`page`] | a piece of that, as it stands in memory and on disk |
//! | [`spool`] | the file on disk |
//! | [`budget`] | how much all journals may keep |
//! | [`reader`] | a place in a journal |

mod budget;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod page;
mod pages;
mod reader;
mod spool;
mod window;

pub(super) use budget::Budget;
pub use reader::Reader;

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use cabana_protocol::exec::ExecResult;
use tokio::sync::Notify;

use super::Chunk;
use budget::Share;
use page::{PAGE_BYTES, Runs};
use pages::{Pages, Stored};
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
    /// An empty journal of a process that somebody waits for, and his place in it.
    pub(crate) fn attended() -> (Self, Reader) {
        let journal = Self::new(Kept::Window(Window::default()), None);
        journal.hold_at(Some(0));
        let holder = Reader::new(journal.clone(), 0, true);
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
        Self(Arc::new(Shared { state, share, written: Notify::new(), room: Notify::new() }))
    }

    /// Reads from this offset on.
    pub fn read(&self, from: u64) -> Reader {
        self.with_window(Window::listen);
        Reader::new(self.clone(), from, false)
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
            if let Kept::Pages(pages) = &mut state.kept {
                pages.close();
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

    fn hold_at(&self, holder: Option<u64>) {
        self.with_window(|window| window.hold(holder));
        self.0.room.notify_one();
    }

    fn leave(&self) {
        self.with_window(Window::leave);
    }

    fn with_window(&self, look: impl FnOnce(&mut Window)) {
        self.with(|state| match &mut state.kept {
            Kept::Window(window) => look(window),
            Kept::Pages(_) => {}
        });
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
