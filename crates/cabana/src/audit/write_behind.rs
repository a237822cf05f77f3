//! What is done when answers have gone out.
//!
//! A commit takes the runtime about as long as a message of a client, and holds back what is sent meanwhile. So what is to be written is
//! gathered, and one timer serves all.

use std::{cell::RefCell, collections::VecDeque, mem, rc::Rc, time::Duration};

use worker::{Delay, wasm_bindgen_futures::spawn_local};

use super::entry::Entry;

/// How long what is to be done is gathered. What an object has not written when it is killed is lost.
const GATHERED: Duration = Duration::from_millis(50);

/// The shortest pause between two looks at what is under way.
const LOOK: Duration = Duration::from_millis(50);

/// What is done later, by one task for each kind.
#[derive(Default)]
pub(super) struct WriteBehind {
    /// In the order in which it is to be done.
    tasks: RefCell<Vec<Box<dyn FnOnce()>>>,
    /// Requests that came within the last moment, in the order in which they did; many are over.
    young: RefCell<VecDeque<Entry>>,
}

impl WriteBehind {
    /// Does something when what was sent has gone out.
    pub(super) fn run(self: &Rc<Self>, task: impl FnOnce() + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        tasks.push(Box::new(task));
        if tasks.len() == 1 {
            let queue = Rc::clone(self);
            spawn_local(async move {
                Delay::from(GATHERED).await;
                queue.catch_up();
            });
        }
    }

    /// Does now what is to be done.
    pub(super) fn catch_up(&self) {
        let tasks = mem::take(&mut *self.tasks.borrow_mut());
        tasks.into_iter().for_each(|task| task());
    }

    /// Writes a request down, as open, if it is not over within a moment.
    pub(super) fn watch(self: &Rc<Self>, entry: Entry) {
        let mut young = self.young.borrow_mut();
        young.push_back(entry);
        if young.len() == 1 {
            let queue = Rc::clone(self);
            spawn_local(async move {
                while let Some(pause) = queue.look() {
                    Delay::from(pause.max(LOOK)).await;
                }
            });
        }
    }

    /// How long it is until the next look, if there is any to be one.
    fn look(&self) -> Option<Duration> {
        loop {
            let first = self.young.borrow().front().cloned()?;
            let left = first.moment_left();
            if !left.is_zero() {
                return Some(left);
            }
            self.young.borrow_mut().pop_front();
            first.open();
        }
    }
}
