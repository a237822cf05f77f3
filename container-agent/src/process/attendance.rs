//! How a foreground process depends on the caller who waits for it.

use std::sync::Arc;

use cabana_protocol::exec::Exec;
use tokio_util::sync::CancellationToken;

use super::{
    Foreground, Process,
    journal::{Journal, Reader, Tail},
};
use crate::{Agent, Busy, caller::Caller, dispatch::Channel};

/// What becomes of a foreground process without its caller.
#[derive(Debug)]
pub(crate) struct Attendance {
    cancel: CancellationToken,
    caller: Caller,
    /// What its journal keeps, where the caller may return.
    tail: Option<Tail>,
    /// It keeps the sandbox awake while its caller may return.
    _busy: Option<Busy>,
}

impl Attendance {
    /// That of an operation's process.
    pub(super) fn of(agent: &Agent, channel: &Channel<Exec>) -> Self {
        let caller = channel.caller.clone();
        let returns = caller.may_return();
        Self {
            // A token of its own: the process sets it at its end, and the client's would have the connection leave events out.
            cancel: channel.cancel.child_token(),
            tail: returns.then(|| Tail::new(&agent.limits, [agent.memory.account(), agent.tails.account()])),
            _busy: returns.then(|| agent.activity.begin()),
            caller,
        }
    }

    /// That of a process which ends with its caller. When the token is set it is ended, with all it started, and its exit is `cancelled`.
    pub(crate) fn until(cancel: CancellationToken) -> Self {
        Self { cancel, caller: Caller::default(), tail: None, _busy: None }
    }

    /// The journal of such a process, and the caller's place in it.
    pub(crate) fn journal(&mut self) -> (Journal, Reader) {
        Journal::attended(self.tail.take())
    }

    /// Set when the process is to end: the caller has cancelled it, or has hung up.
    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The process that has been started for this caller, who reads `output`.
    pub(crate) fn begin(&self, process: Arc<Process>, output: Reader) -> Foreground {
        self.caller.started(&process.id);
        let ends = (!self.caller.may_return()).then(|| self.cancel.clone().drop_guard());
        Foreground::new(process, output, ends)
    }
}
