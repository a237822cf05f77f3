//! A sandbox's life as a pure state machine: what happened goes in, the next state and what to do about it come out.
//!
//! ```text
//! created ──Wake──> starting ──Ready──> running ──Exited──> sleeping ──Wake──> starting …
//!                      │                   │
//!                      │                   ├─Unreachable──> starting
//!                      ├─StartFailed──> failed ──Wake──> starting
//!                      └─────────Stop──────┴──> stopping ──Exited──> sleeping
//! every state ──Destroy──> destroyed
//! ```
//!
//! Nothing here does IO or reads a clock. The Durable Object carries the effects out and stores the state after each step.

use cabana_protocol::sandbox::State;

/// Something that happened to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// An operation needs the agent.
    Wake,
    /// The agent answered its health check.
    Ready,
    /// The container ended while it was starting, could not be started, or its agent did not answer in time.
    StartFailed,
    /// The agent's port refused a connection although the container seemed to run.
    Unreachable,
    /// The container is asked to end, and its files may be given up.
    Stop,
    /// The container ended.
    Exited,
    /// The Durable Object came back into memory, and looked whether there is a container.
    Loaded {
        /// Whether the platform says that it runs.
        container: bool,
    },
    /// The sandbox is given up for good.
    Destroy,
}

/// What a step asks to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Start a fresh container, ending what may be left of an earlier one, then wait for its agent.
    Start,
    /// Wait for the agent of the container that runs; start a fresh one where none does.
    Resume,
    /// Send SIGTERM to the container.
    Terminate,
    /// End the container, whatever it does.
    End,
    /// Forget everything stored.
    Wipe,
}

/// Effects, in the order in which they are to be carried out.
pub type Effects = &'static [Effect];

/// The state after `event`, and what to do.
///
/// An event that means nothing in a state leaves it as it is, without effects: events may be late.
pub const fn step(state: State, event: Event) -> (State, Effects) {
    use Effect::{End, Resume, Start, Terminate, Wipe};

    match (state, event) {
        // Destroying twice ends and wipes twice, which repairs a destroy that was cut short.
        (_, Event::Destroy) => (State::Destroyed, &[End, Wipe]),
        (State::Destroyed, _) => (State::Destroyed, &[]),

        (State::Created | State::Sleeping | State::Failed, Event::Wake) => (State::Starting, &[Start]),

        (State::Starting, Event::Ready) => (State::Running, &[]),
        (State::Starting, Event::StartFailed | Event::Exited) => (State::Failed, &[End]),
        // The start was cut short by the object's eviction.
        (State::Starting, Event::Loaded { .. }) => (State::Starting, &[Resume]),

        // The agent may be on its way up again inside a container that outlived it.
        (State::Running, Event::Unreachable) => (State::Starting, &[Resume]),
        (State::Running, Event::Exited | Event::Loaded { container: false }) => (State::Sleeping, &[]),

        (State::Starting | State::Running, Event::Stop) => (State::Stopping, &[Terminate]),
        (State::Stopping, Event::Exited | Event::Loaded { container: false }) => (State::Sleeping, &[]),
        // Nobody is left who waits for its end.
        (State::Stopping, Event::Loaded { container: true }) => (State::Stopping, &[End]),

        // Waking while the container is on its way down: the operation waits for the end, then wakes again.
        (State::Stopping, Event::Wake | Event::Ready | Event::StartFailed | Event::Unreachable | Event::Stop)
        | (State::Starting, Event::Wake | Event::Unreachable)
        | (State::Running, Event::Wake | Event::Ready | Event::StartFailed | Event::Loaded { container: true })
        | (
            State::Created | State::Sleeping | State::Failed,
            Event::Ready | Event::StartFailed | Event::Unreachable | Event::Stop | Event::Exited | Event::Loaded { .. },
        ) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Effect::{End, Resume, Start, Terminate, Wipe};
    use State::{Created, Destroyed, Failed, Running, Sleeping, Starting, Stopping};

    const STATES: [State; 7] = [Created, Starting, Running, Stopping, Sleeping, Failed, Destroyed];
    const EVENTS: [Event; 9] = [
        Event::Wake,
        Event::Ready,
        Event::StartFailed,
        Event::Unreachable,
        Event::Stop,
        Event::Exited,
        Event::Loaded { container: true },
        Event::Loaded { container: false },
        Event::Destroy,
    ];

    /// What each event makes of each state; `None` leaves it alone, without effects.
    #[rustfmt::skip]
    fn expected(event: Event) -> [Option<(State, Effects)>; 7] {
        let start = Some((Starting, &[Start] as Effects));
        let resume = Some((Starting, &[Resume] as Effects));
        let stop = Some((Stopping, &[Terminate] as Effects));
        let fail = Some((Failed, &[End] as Effects));
        let sleep = Some((Sleeping, &[] as Effects));
        let destroyed = Some((Destroyed, &[End, Wipe] as Effects));
        let running = Some((Running, &[] as Effects));
        let end = Some((Stopping, &[End] as Effects));
        match event {
            //                                     created  starting  running  stopping  sleeping  failed  destroyed
            Event::Wake =>                         [start, None, None, None, start, start, None],
            Event::Ready =>                        [None, running, None, None, None, None, None],
            Event::StartFailed =>                  [None, fail, None, None, None, None, None],
            Event::Unreachable =>                  [None, None, resume, None, None, None, None],
            Event::Stop =>                         [None, stop, stop, None, None, None, None],
            Event::Exited =>                       [None, fail, sleep, sleep, None, None, None],
            Event::Loaded { container: true } =>   [None, resume, None, end, None, None, None],
            Event::Loaded { container: false } =>  [None, resume, sleep, sleep, None, None, None],
            Event::Destroy =>                      [destroyed; 7],
        }
    }

    #[test]
    fn every_state_meets_every_event() {
        for event in EVENTS {
            for (state, expected) in STATES.into_iter().zip(expected(event)) {
                assert_eq!(step(state, event), expected.unwrap_or((state, &[])), "{state:?} x {event:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_history_leaves_an_impossible_state(history in prop::collection::vec(prop::sample::select(&EVENTS), 0..40)) {
            let mut state = Created;
            let mut destroyed = false;
            let mut started = false;
            for event in history {
                let (next, effects) = step(state, event);
                destroyed |= event == Event::Destroy;
                started |= effects.contains(&Start);

                // Destroyed is final, and reached in no other way.
                prop_assert_eq!(next == Destroyed, destroyed);
                // A container is started only on the way up, and only there.
                let starts = effects.contains(&Start) || effects.contains(&Resume);
                prop_assert_eq!(starts, next == Starting && (state != Starting || matches!(event, Event::Loaded { .. })));
                // Nothing runs, sleeps or stops that was never started.
                prop_assert!(started || matches!(next, Created | Destroyed));
                // Running is reached through a healthy agent alone.
                prop_assert!(next != Running || state == Running || event == Event::Ready);
                // Storage goes with the sandbox and not before.
                prop_assert_eq!(effects.contains(&Wipe), event == Event::Destroy);
                state = next;
            }
            // Whatever happened, one more operation and a healthy agent make it run, unless it is on its way down or gone.
            if !matches!(state, Destroyed | Stopping) {
                prop_assert_eq!(step(step(state, Event::Wake).0, Event::Ready).0, Running);
            }
        }
    }
}
