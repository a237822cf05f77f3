//! The memory that callers can make the agent hold: one budget for the bodies of requests, answers in JSON, folded output, inputs that
//! wait, WebSockets and clients behind the object's link, watched directories and their changes, output that is kept for callers who may
//! return. It follows the container's size, so that no caller has the kernel kill the agent.
//!
//! What is bounded by itself is not part of it: the journals ([`Limits::replay_bytes`](crate::Limits)), the windows of streams, the pieces
//! of archives, the records of processes (some KiB for each that runs).

use std::sync::Arc;

use cabana_protocol::{Code, Error};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::system;

/// The sizes of containers between which the budget grows.
const SMALLEST_CONTAINER: usize = 256 << 20;
const LARGEST_CONTAINER: usize = 12 << 30;

/// The budget's share of the container.
const SHARE: usize = 4;

/// The budget; clones share it. A permit is a byte.
#[derive(Debug, Clone)]
pub struct Memory {
    free: Arc<Semaphore>,
    total: usize,
}

/// Memory that is accounted for until this is dropped.
#[derive(Debug)]
pub struct Held {
    memory: Memory,
    permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// A budget of at most so many bytes, and a quarter of the container.
    pub fn new(limit: usize) -> Self {
        // Unknown memory is little memory.
        let container = system::memory_bytes().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(SMALLEST_CONTAINER);
        Self::of_container(container, limit)
    }

    fn of_container(container: usize, limit: usize) -> Self {
        let total = limit.min(container.clamp(SMALLEST_CONTAINER, LARGEST_CONTAINER) / SHARE);
        Self { free: Arc::new(Semaphore::new(total)), total }
    }

    /// A budget beside this one, a share of it. Who holds from both holds no more than the share.
    pub(crate) fn share(&self, share: usize) -> Self {
        let total = self.total / share;
        Self { free: Arc::new(Semaphore::new(total)), total }
    }

    /// An account of nothing so far.
    pub fn account(&self) -> Held {
        Held { memory: self.clone(), permit: None }
    }

    /// Accounts for so many bytes.
    ///
    /// Fails with `too_many_requests` where others hold too much, and with `payload_too_large` where it could never be had.
    pub fn hold(&self, bytes: usize) -> Result<Held, Error> {
        let mut held = self.account();
        held.resize(bytes).map(|()| held)
    }

    fn refusal(&self, bytes: usize) -> Error {
        let total = self.total;
        let error = if bytes > total {
            Error::new(Code::PayloadTooLarge, format!("{bytes} bytes exceed the agent's memory budget of {total} bytes"))
        } else {
            let message = format!("the agent's memory budget of {total} bytes is used up by other requests; try again");
            Error::new(Code::TooManyRequests, message)
        };
        error.with_details(json!({ "limit_bytes": total }))
    }
}

impl Held {
    /// How many bytes are accounted for.
    pub fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Accounts for so many bytes from now on. Where it fails, as [`Memory::hold`] does, nothing changes.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Error> {
        let held = self.bytes();
        if bytes <= held {
            drop(self.permit.as_mut().and_then(|permit| permit.split(held - bytes)));
            return Ok(());
        }
        let more = u32::try_from(bytes - held).ok();
        let more = more.and_then(|more| Arc::clone(&self.memory.free).try_acquire_many_owned(more).ok());
        let more = more.ok_or_else(|| self.memory.refusal(bytes))?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            permit => *permit = Some(more),
        }
        Ok(())
    }

    /// Accounts for at least so many bytes.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > self.bytes() { self.resize(bytes) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_follows_the_container() {
        const MIB: usize = 1 << 20;
        for (container, limit, total) in [
            (64 * MIB, 1 << 30, 64 * MIB),
            (256 * MIB, 1 << 30, 64 * MIB),
            (1 << 30, 1 << 30, 256 * MIB),
            (12 << 30, 1 << 30, 1 << 30),
            (usize::MAX, 5 << 30, 3 << 30),
        ] {
            assert_eq!(Memory::of_container(container, limit).total, total, "{container} {limit}");
        }
    }

    #[test]
    fn memory_is_refused_while_others_hold_it() {
        let memory = Memory::of_container(0, 100);
        let (mut first, second) = (memory.hold(60).unwrap(), memory.hold(40).unwrap());
        let error = memory.hold(1).unwrap_err();
        assert_eq!((error.code, error.retryable), (Code::TooManyRequests, true));
        assert_eq!(memory.hold(101).unwrap_err().code, Code::PayloadTooLarge);
        assert_eq!(first.resize(61).unwrap_err().code, Code::TooManyRequests);
        assert_eq!(first.bytes(), 60, "a refusal changes nothing");
        drop(second);
        first.resize(100).unwrap();
        first.grow(10).unwrap();
        assert_eq!(first.bytes(), 100);
        first.resize(0).unwrap();
        assert_eq!(memory.hold(100).unwrap().bytes(), 100);
    }
}
