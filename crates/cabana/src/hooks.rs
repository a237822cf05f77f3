//! What a class of sandboxes does when they start and stop.

use cabana_protocol::{
    SandboxId,
    sandbox::{LifeEvent, Reason, State},
    variables::VariableChanges,
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use worker::Env;

use crate::{Handle, Result};

/// What a class of [`sandbox_class`](crate::sandbox_class) does beside what every sandbox does. All of it may be left out.
///
/// A hook runs beside the requests, which do not wait for it, and in the sandbox's object, which stays in memory meanwhile. Its error is logged.
/// It is best effort: an object that is reset or replaced while a hook runs does not run it again.
///
/// ```
/// use cabana::{Handle, Hooks, Result, SandboxId, protocol::variables::VariableChanges};
/// use worker::Env;
///
/// struct Watched;
///
/// impl Hooks for Watched {
///     fn variables(_: &Env, id: &SandboxId) -> VariableChanges {
///         [("SANDBOX".to_owned(), Some(id.to_string()))].into()
///     }
///
///     async fn started(_: Env, sandbox: Handle) -> Result<()> {
///         sandbox.spawn("python3 -m http.server 3000").await.map(drop)
///     }
/// }
///
/// cabana::sandbox_class!(WatchedSandbox, hooks: Watched);
/// # fn main() {}
/// ```
pub trait Hooks: 'static {
    /// Variables of all commands, on top of those of the image and the kind, and below those of the project and the sandbox itself; `None` for
    /// one that commands do not see.
    ///
    /// It is asked when the sandbox's object comes into memory. A container that runs keeps what it has until its next start.
    fn variables(env: &Env, id: &SandboxId) -> VariableChanges {
        let _ = (env, id);
        VariableChanges::new()
    }

    /// The sandbox has started: its agent answers.
    fn started(env: Env, sandbox: Handle) -> impl Future<Output = Result<()>> {
        let _ = (env, sandbox);
        async { Ok(()) }
    }

    /// The sandbox has gone down, or has failed to start: it sleeps, has failed, or is destroyed. A call that needs its container starts it again.
    fn stopped(env: Env, sandbox: Handle, end: Stopped) -> impl Future<Output = Result<()>> {
        let _ = (env, sandbox, end);
        async { Ok(()) }
    }
}

/// How a sandbox went down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// What it is now.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
}

/// The hooks of a class, without their type.
#[derive(Clone, Copy)]
pub(crate) struct HookTable {
    pub(crate) variables: fn(&Env, &SandboxId) -> VariableChanges,
    started: fn(Env, Handle) -> LocalBoxFuture<'static, Result<()>>,
    stopped: fn(Env, Handle, Stopped) -> LocalBoxFuture<'static, Result<()>>,
}

/// A step that a hook hears of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    Started,
    Stopped(Stopped),
}

impl HookTable {
    pub(crate) fn of<H: Hooks>() -> Self {
        Self {
            variables: H::variables,
            started: |env, sandbox| H::started(env, sandbox).boxed_local(),
            stopped: |env, sandbox, end| H::stopped(env, sandbox, end).boxed_local(),
        }
    }

    /// Runs the hook that hears of this.
    pub(crate) fn run(&self, turn: Turn, env: Env, sandbox: Handle) -> LocalBoxFuture<'static, Result<()>> {
        match turn {
            Turn::Started => (self.started)(env, sandbox),
            Turn::Stopped(end) => (self.stopped)(env, sandbox, end),
        }
    }
}

impl Turn {
    /// What a hook hears of the step from this state; `None` where it hears of none.
    pub(crate) fn of(from: State, event: &LifeEvent) -> Option<Self> {
        let is_there = |state| matches!(state, State::Starting | State::Running | State::Stopping);
        match (from, event.state) {
            // One that was to sleep, and goes on, has not started anew.
            (State::Starting, State::Running) => Some(Self::Started),
            (from, to) if is_there(from) && !is_there(to) => {
                Some(Self::Stopped(Stopped { state: to, reason: event.reason.clone() }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_hears_of_each_start_and_each_end_once() {
        let turn = |from, state| {
            let event = LifeEvent { id: 0, at: String::new(), state, reason: Some(Reason::Idle) };
            Turn::of(from, &event)
        };
        let stopped = |state| Some(Turn::Stopped(Stopped { state, reason: Some(Reason::Idle) }));
        for (from, to, expected) in [
            (State::Created, State::Starting, None),
            // The object came back into memory.
            (State::Starting, State::Starting, None),
            (State::Starting, State::Running, Some(Turn::Started)),
            (State::Running, State::Stopping, None),
            (State::Stopping, State::Running, None),
            (State::Stopping, State::Sleeping, stopped(State::Sleeping)),
            (State::Running, State::Failed, stopped(State::Failed)),
            (State::Running, State::Destroyed, stopped(State::Destroyed)),
            (State::Starting, State::Failed, stopped(State::Failed)),
            (State::Sleeping, State::Starting, None),
            (State::Sleeping, State::Destroyed, None),
        ] {
            assert_eq!(turn(from, to), expected, "{from:?} -> {to:?}");
        }
    }
}
