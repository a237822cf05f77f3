//! A sandbox's life as a pure state machine: what happened goes in, the next state and what to do about it come out.
//!
//! ```text
//! created ──Wake──> starting ──Ready──> running ──idle──> stopping ──Saved, Ended──> sleeping ──Wake──> starting …
//!                                          ^──Unsaved, Wake──┘
//!                      ├──Stop─────────────┴───Stop───────────^
//!                      └──Ended────> failed <──Ended── running
//!                                      └──Wake, after a pause──> starting
//! every state ──Destroy, or its lifetime is over──> destroyed
//! ```
//!
//! Nothing here does IO or reads a clock: the time is part of every step. The Durable Object carries the effects out, stores the
//! outcome after each step, and sets its alarm to the first of the [`Deadlines`], which then comes back as [`Event::Tick`].
//!
//! While nothing is in flight nobody watches the container, so that the object can leave memory. That a container has ended
//! is then learnt at its next use, from the alarm, or when the object is loaded. What counts as its end is [`Liveness`]'s to judge.

mod crashes;
mod deadlines;
mod files;
mod liveness;
mod policy;
mod time;

#[cfg(test)]
mod tests;

use std::time::Duration;

use cabana_protocol::sandbox::{Reason, State};
use serde::{Deserialize, Serialize};

pub use self::{
    crashes::Crashes,
    deadlines::{Deadline, Deadlines},
    files::{Files, RENEW_AFTER, Saved},
    liveness::{Liveness, Probe, Verdict},
    policy::{Policy, Rules, Timings},
    time::Instant,
};

/// How long a container may take to end by itself. The agent promises 5 s.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long it is remembered that a sandbox has expired.
pub const RETENTION: Duration = Duration::from_hours(24);

/// The longest that the platform keeps a container whose object is out of memory.
const LONGEST_INACTIVITY: Duration = Duration::from_hours(6);

/// How often the platform is told that a container is still wanted.
const KEEP_EVERY: Duration = Duration::from_hours(3);

/// How long after the first attempt to end a container that is still there the next one follows; each pause is twice the one before, up to 16 minutes.
const END_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How long after an agent did not say whether it has anything to do it is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How exactly it is known when the sandbox was last used.
const SLACK: Duration = Duration::from_millis(500);

/// By how much the platform's patience is longer than the sandbox's: the alarm comes first.
const MARGIN: Duration = Duration::from_secs(120);

/// Something that happened to a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An operation, or its owner, needs the agent.
    Wake,
    /// The agent of this start answered.
    Ready,
    /// The container has ended, or was given up, for this reason.
    Ended(Reason),
    /// The container is asked to end. Its files are saved first, if the sandbox keeps any.
    Stop,
    /// A snapshot of its files is stored.
    Saved(Saved),
    /// A snapshot has failed, in these words.
    Unsaved(String),
    /// The platform does not have the snapshot that a start was to begin with.
    Missing,
    /// The next start is to begin with this snapshot.
    Restore(Saved),
    /// The Durable Object came back into memory, or doubts that all is as it should be, and looked whether there is a container.
    Loaded {
        /// Whether the platform says that it runs.
        container: bool,
    },
    /// Time has passed: the alarm, usually.
    Tick,
    /// The agent was asked whether it has anything to do.
    Seen {
        /// Whether it has.
        busy: bool,
        /// When it last had.
        active_at: Instant,
    },
    /// The agent was asked the same, and did not answer.
    Unseen,
    /// The owner wants something else.
    Configure(Policy),
    /// The sandbox is given up for good.
    Destroy,
}

/// What a step asks to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Start a fresh container, ending what may be left of an earlier one, then wait for its agent.
    Start,
    /// Wait for the agent of the container that runs; where it has ended, or is not the agent's, that is the next event.
    Resume,
    /// Take a snapshot of the container's files, unless one is under way; how that went is the next event. Where the container is to end, its
    /// processes end first.
    Save,
    /// Send SIGTERM to the container, and see to it that it ends.
    Terminate,
    /// End the container, whatever it does.
    End,
    /// Tell the platform for how long the container is wanted, see [`Lifecycle::inactivity_timeout`].
    ExtendInactivityTimeout,
    /// Ask the agent whether it has anything to do.
    Ask,
    /// Learn why the container has ended, which is the next event.
    Inquire,
    /// Start the container, and stop it again unless somebody uses it: the platform keeps its snapshot longer for that.
    Renew,
    /// Forget everything stored.
    Wipe,
}

/// Effects, in the order in which they are to be carried out.
pub type Effects = &'static [Effect];

/// What to do where there is no sandbox, or no longer: a destroy may have been cut short when it had forgotten the sandbox and
/// not yet ended its container.
pub fn without(event: &Event) -> Effects {
    match event {
        Event::Destroy | Event::Tick => &[Effect::End, Effect::Wipe],
        Event::Loaded { container: true } => &[Effect::End],
        _ => &[],
    }
}

/// Where a sandbox is in its life, and what it remembers of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// The state.
    pub state: State,
    /// How it came there; `None` for one that was never used.
    pub reason: Option<Reason>,
    /// Since when it is there.
    pub since: Instant,
    /// When the sandbox was made.
    pub created_at: Instant,
    /// What its owner wants.
    pub policy: Policy,
    /// When it was last used, as far as is known: the agent knows better.
    pub active_at: Instant,
    /// How many containers were started.
    pub starts: u64,
    /// The last thing that went wrong, and when.
    pub failure: Option<(Reason, Instant)>,
    /// Failures in a row.
    pub crashes: Crashes,
    /// What is kept of its files.
    #[serde(default)]
    pub files: Files,
    /// When a snapshot was last begun, as far as this object knows.
    #[serde(skip)]
    save_begun_at: Instant,
    /// When the container was let go, its files being safe, as far as this object knows.
    #[serde(skip)]
    released_at: Instant,
    /// When the platform was last told that the container is wanted.
    #[serde(skip)]
    kept_at: Instant,
    /// When the container was last ended, as far as this object knows.
    #[serde(skip)]
    ended_at: Instant,
    /// How often, since it came into its state.
    #[serde(skip)]
    ends: u32,
    /// When the agent last did not say whether it has anything to do.
    #[serde(skip)]
    unseen_at: Instant,
    /// How many uses are under way. An object that comes back into memory has none.
    #[serde(skip)]
    busy: u32,
    /// Whether what is starting may be a container that runs already.
    resuming: bool,
}

impl Lifecycle {
    /// A sandbox that was just made.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            state: State::Created,
            reason: None,
            since: now,
            created_at: now,
            policy,
            active_at: now,
            starts: 0,
            failure: None,
            crashes: Crashes::default(),
            files: Files::default(),
            save_begun_at: Instant(0),
            released_at: Instant(0),
            kept_at: now,
            ended_at: Instant(0),
            ends: 0,
            unseen_at: Instant(0),
            busy: 0,
            resuming: false,
        }
    }

    /// The sandbox after `event`, and what to do.
    ///
    /// An event that means nothing in a state leaves it as it is, without effects: events may be late.
    #[must_use]
    pub fn step(mut self, rules: &Rules, event: Event, now: Instant) -> (Self, Effects) {
        let effects = self.take(rules, event, now);
        if effects.contains(&Effect::Start) {
            self.starts += 1;
            self.note_used(now);
        }
        if effects.contains(&Effect::Save) {
            self.save_begun_at = now;
        }
        if effects.contains(&Effect::ExtendInactivityTimeout) {
            self.kept_at = now;
        }
        if effects.contains(&Effect::End) {
            (self.ended_at, self.ends) = (now, self.ends.saturating_add(1));
        }
        (self, effects)
    }

    /// Something begins that keeps it awake.
    pub fn begin(&mut self, now: Instant) {
        (self.busy, self.active_at) = (self.busy + 1, now);
    }

    /// It is over.
    pub fn over(&mut self, now: Instant) {
        (self.busy, self.active_at) = (self.busy.saturating_sub(1), now);
    }

    fn take(&mut self, rules: &Rules, event: Event, now: Instant) -> Effects {
        use Effect::{Ask, End, ExtendInactivityTimeout, Inquire, Renew, Resume, Save, Start, Terminate, Wipe};

        match (self.state, event) {
            // Destroying twice ends and wipes twice, which repairs a destroy that was cut short.
            (_, Event::Destroy) => self.enter(State::Destroyed, Reason::DestroyedByCaller, now, &[End, Wipe]),
            (State::Destroyed, Event::Tick) if self.is_due(rules, Deadline::Forget, now) => &[End, Wipe],
            (State::Destroyed, Event::Loaded { container: true }) => &[End],
            (State::Destroyed, _) => &[],
            // The alarm may be late, so this is no matter of the alarm alone.
            (_, _) if self.is_due(rules, Deadline::Expire, now) => self.enter(State::Destroyed, Reason::Expired, now, &[End]),

            (state, Event::Configure(policy)) => {
                let changed = policy != self.policy;
                self.policy = policy;
                if changed && state == State::Running { &[ExtendInactivityTimeout] } else { &[] }
            }

            (State::Created | State::Sleeping | State::Failed, Event::Restore(saved)) => {
                self.note_restored(saved, now);
                &[]
            }
            (State::Created | State::Sleeping | State::Failed, Event::Tick) if self.is_due(rules, Deadline::Renew, now) => {
                self.note_used(now);
                &[Renew]
            }
            (_, Event::Saved(saved)) => self.note_saved(saved, now),
            (_, Event::Unsaved(message)) => self.note_unsaved(message, now),
            (State::Starting, Event::Missing) => {
                self.note_missing();
                &[]
            }

            (State::Created | State::Sleeping | State::Failed, Event::Wake) if now >= self.crashes.retry_at() => {
                self.start(now, &[Start])
            }

            (State::Starting, Event::Ready) => {
                self.active_at = now;
                self.enter(State::Running, Reason::Woken, now, &[ExtendInactivityTimeout])
            }
            (State::Starting, Event::Ended(reason)) if self.resuming => {
                self.note(&reason, now);
                if now < self.crashes.retry_at() {
                    return self.enter(State::Failed, reason, now, &[End]);
                }
                self.start(now, &[Start])
            }
            (State::Starting, Event::Ended(reason)) => self.fail(reason, now),
            (State::Starting, Event::Tick) if self.is_due(rules, Deadline::GiveUp, now) => {
                self.fail(Reason::StartFailed { message: "the start took too long".to_owned() }, now)
            }
            // The start was cut short by the object's eviction. Nobody has waited for it meanwhile, so it has all of its time again.
            (State::Starting, Event::Loaded { container }) => {
                let effects = self.start(now, if container { &[Resume] } else { &[Start] });
                self.resuming = container;
                effects
            }

            (State::Running, Event::Ended(reason)) => {
                self.note_lost(rules);
                self.fail(reason, now)
            }
            // Whether it has crashed or the platform has ended it, the platform may know.
            (State::Running, Event::Loaded { container: false }) => &[Inquire],
            (State::Running, Event::Loaded { container: true }) => &[ExtendInactivityTimeout],
            (State::Running, Event::Tick) if self.is_due(rules, Deadline::Save, now) => &[Save],
            (State::Running, Event::Tick) if self.busy > 0 => {
                self.active_at = now;
                &[ExtendInactivityTimeout]
            }
            (State::Running, Event::Tick) if self.is_due(rules, Deadline::Sleep, now) => &[Ask],
            (State::Running, Event::Tick) => &[ExtendInactivityTimeout],
            (State::Running, Event::Seen { busy, active_at }) => {
                // The answer itself takes its time: what is hardly later is the same.
                let later = active_at.since(self.active_at) >= SLACK;
                self.active_at = match busy {
                    true => now,
                    false if later => active_at.min(now),
                    false => self.active_at,
                };
                if self.busy == 0 && self.is_due(rules, Deadline::Sleep, now) {
                    return self.go_down(rules, Reason::Idle, now);
                }
                &[]
            }

            (State::Running, Event::Unseen) => {
                self.unseen_at = now;
                &[]
            }

            (State::Running, Event::Stop) => self.go_down(rules, Reason::StoppedByCaller, now),
            // Nothing was done in it yet.
            (State::Starting, Event::Stop) => self.enter(State::Stopping, Reason::StoppedByCaller, now, &[Terminate]),
            // It was to sleep, and is needed.
            (State::Stopping, Event::Wake) if self.files.unsaved && self.reason == Some(Reason::Idle) => {
                self.active_at = now;
                self.enter(State::Running, Reason::Woken, now, &[ExtendInactivityTimeout])
            }
            (State::Stopping, Event::Ended(reason)) if self.files.unsaved => {
                self.note_lost(rules);
                self.fail(reason, now)
            }
            (State::Stopping, Event::Loaded { container: false }) if self.files.unsaved => &[Inquire],
            (State::Stopping, Event::Loaded { container: true }) if self.files.unsaved => &[Save],
            (State::Stopping, Event::Tick) if self.is_due(rules, Deadline::Save, now) => &[Save],
            (State::Stopping, Event::Ended(_) | Event::Loaded { container: false }) => {
                let reason = self.reason.take().unwrap_or(Reason::StoppedByCaller);
                self.enter(State::Sleeping, reason, now, &[])
            }
            // Nobody is left who waits for its end.
            (State::Stopping, Event::Loaded { container: true }) => &[End],
            (State::Stopping, Event::Tick) if self.is_due(rules, Deadline::Kill, now) => &[End],
            // Its end was cut short.
            (State::Created | State::Sleeping | State::Failed, Event::Loaded { container: true }) => &[End],

            // Waking while the container is on its way down: the operation waits for the end, then wakes again.
            (State::Stopping, Event::Wake | Event::Ready | Event::Stop | Event::Tick | Event::Seen { .. } | Event::Unseen)
            | (State::Starting, Event::Wake | Event::Tick | Event::Seen { .. } | Event::Unseen)
            | (State::Running, Event::Wake | Event::Ready)
            | (State::Starting | State::Running | State::Stopping, Event::Restore(_))
            | (State::Created | State::Running | State::Stopping | State::Sleeping | State::Failed, Event::Missing)
            | (
                State::Created | State::Sleeping | State::Failed,
                Event::Wake
                | Event::Ready
                | Event::Ended(_)
                | Event::Stop
                | Event::Loaded { .. }
                | Event::Tick
                | Event::Seen { .. }
                | Event::Unseen,
            ) => &[],
        }
    }

    /// Whether a container has no business to run: the sandbox is down. Its end may be under way.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Created | State::Sleeping | State::Failed | State::Destroyed)
    }

    /// How long it stays up while nobody asks anything.
    pub fn sleep_after(&self, rules: &Rules) -> Duration {
        self.policy.sleep_after_ms.map_or(rules.sleep_after, Duration::from_millis)
    }

    /// How long its container has to outlast the object's time in memory.
    pub fn inactivity_timeout(&self, rules: &Rules) -> Duration {
        if self.policy.keep_alive { LONGEST_INACTIVITY } else { (self.sleep_after(rules) + MARGIN).min(LONGEST_INACTIVITY) }
    }

    /// Whether something that keeps it awake is under way.
    pub fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// Until when it is left alone because it has failed too often, if that lies ahead.
    pub fn retry_at(&self, now: Instant) -> Option<Instant> {
        let down = matches!(self.state, State::Created | State::Sleeping | State::Failed);
        Some(self.crashes.retry_at()).filter(|retry_at| down && *retry_at > now)
    }

    /// Whether nothing has happened since then but uses.
    pub fn is_but_used_since(&self, before: &Self) -> bool {
        *before
            == Self {
                active_at: before.active_at,
                busy: before.busy,
                kept_at: before.kept_at,
                ended_at: before.ended_at,
                ends: before.ends,
                unseen_at: before.unseen_at,
                save_begun_at: before.save_begun_at,
                released_at: before.released_at,
                ..self.clone()
            }
    }

    /// Whether an agent may be there to answer, or is on its way.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Starting | State::Running)
    }

    fn is_due(&self, rules: &Rules, deadline: Deadline, now: Instant) -> bool {
        self.deadlines(rules).is_due(deadline, now)
    }

    fn enter(&mut self, state: State, reason: Reason, now: Instant, effects: Effects) -> Effects {
        (self.state, self.reason, self.since, self.resuming) = (state, Some(reason), now, false);
        self.ends = 0;
        self.files.unsaved = false;
        effects
    }

    fn start(&mut self, now: Instant, effects: Effects) -> Effects {
        self.enter(State::Starting, Reason::Woken, now, effects)
    }

    /// It is down, and not because somebody wanted that.
    fn fail(&mut self, reason: Reason, now: Instant) -> Effects {
        self.note(&reason, now);
        let state = if reason.is_failure() { State::Failed } else { State::Sleeping };
        self.enter(state, reason, now, &[Effect::End])
    }

    fn note(&mut self, reason: &Reason, now: Instant) {
        if reason.is_crash() {
            self.crashes = self.crashes.and_one(self.since, now);
        }
        if reason.is_failure() {
            self.failure = Some((reason.clone(), now));
        }
    }
}
