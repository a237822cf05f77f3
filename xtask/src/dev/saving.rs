//! Saving the files of running sandboxes before everything ends.

use super::client::Client;
use crate::progress::say;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many sandboxes are saved at once.
const AT_ONCE: usize = 8;

/// Stops every running sandbox, which saves its files. A failure is said and ends nothing.
pub(super) fn save_sandboxes(client: &Client) {
    let running = match client.running() {
        Ok(running) => running,
        Err(error) => return say(&format!("the running sandboxes are not known, and are not saved: {error:#}")),
    };
    if running.is_empty() {
        return;
    }
    say(&format!("saving the files of {} running sandboxes; a second signal ends everything at once", running.len()));
    let left = Mutex::new(running.into_iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((sandbox, tenant)) = next() {
                    if let Err(error) = client.stop(&sandbox, &tenant) {
                        say(&format!("{sandbox} was not saved, and loses what it changed since its last snapshot: {error:#}"));
                    }
                }
            });
        }
    });
}
