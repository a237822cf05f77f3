//! Whether the agent has anything to do that keeps its sandbox awake. The agent knows that best: it sees every operation until the
//! last byte of its answer, on every connection.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::body::{Body, HttpBody};

use crate::body::through;

/// What is under way; clones count together.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Mutex<Now>>);

#[derive(Debug)]
struct Now {
    busy: u64,
    /// When the last one was over.
    idle_since: Instant,
}

/// Something that is under way, until it is dropped.
#[derive(Debug)]
pub struct Busy(Activity);

impl Default for Activity {
    /// Nothing so far.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Now { busy: 0, idle_since: Instant::now() })))
    }
}

impl Activity {
    /// Something begins.
    pub fn begin(&self) -> Busy {
        self.change(|now| now.busy += 1);
        Busy(self.clone())
    }

    /// How much is under way, and for how long there was nothing.
    pub fn look(&self) -> (u64, Duration) {
        let mut seen = (0, Duration::ZERO);
        self.change(|now| seen = (now.busy, if now.busy > 0 { Duration::ZERO } else { now.idle_since.elapsed() }));
        seen
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|now| {
            now.busy -= 1;
            now.idle_since = Instant::now();
        });
    }
}

impl Busy {
    /// The same body, with this under way until its end, or until nobody wants the rest of it.
    pub fn until_sent(self, body: Body) -> Body {
        through(body, move |body, context| {
            let _busy = &self;
            body.poll_frame(context)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_busy_until_the_last_is_over() {
        let activity = Activity::default();
        assert_eq!(activity.look().0, 0);
        let (one, other) = (activity.begin(), activity.begin());
        drop(one);
        assert_eq!(activity.look(), (1, Duration::ZERO));
        let body = other.until_sent(Body::from("text"));
        assert_eq!((activity.look().0, body.size_hint().exact()), (1, Some(4)));
        drop(body);
        assert_eq!(activity.look().0, 0);
    }
}
