//! What becomes of a sandbox's files: which snapshot its next start begins with, what was lost, and when the next snapshot is due.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Deadline, Deadlines, Effect, Effects, Instant, Lifecycle, Reason, Rules, State};

/// The first pause after a snapshot that has failed; each is twice the one before, up to 16 minutes.
const FIRST_RETRY: Duration = Duration::from_secs(30);

/// How long after a snapshot was begun it is looked whether one is under way: the object may have ended since.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How long after a snapshot was last used it is used again, so that the platform keeps it: it does so for 30 days.
pub const RENEW_AFTER: Duration = Duration::from_hours(25 * 24);

/// How long after a renewal was begun it is tried again.
const RENEW_AGAIN_AFTER: Duration = Duration::from_hours(24);

/// A snapshot that the platform keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The platform's name for it.
    pub id: String,
    /// When it was begun: it need not hold what was written later.
    pub at: Instant,
    /// What the platform says of its size, in bytes: of what it holds beyond the one before.
    pub size_bytes: u64,
}

/// What is remembered of a sandbox's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    /// What the next start begins with; `None`: the image alone.
    pub saved: Option<Saved>,
    /// What the start begins with if the platform does not have that any more: the one before it.
    pub fallback: Option<Saved>,
    /// When a container last began with the first of these, or was to.
    used_at: Instant,
    /// When the sandbox may last have lost files: they were as they had been then.
    pub lost_since: Option<Instant>,
    /// How many snapshots have failed in a row.
    failures: u32,
    /// Why the last one did, and when.
    failure: Option<(String, Instant)>,
    /// Whether the container that is to end is to be saved first.
    pub(super) unsaved: bool,
}

impl Files {
    /// Why the last snapshot failed, when, and when the next one is tried; `None` where it did not.
    pub fn failure(&self) -> Option<(&str, Instant, Instant)> {
        let (message, at) = self.failure.as_ref()?;
        Some((message, *at, self.retry_at()))
    }

    fn retry_at(&self) -> Instant {
        let Some((_, at)) = self.failure else { return Instant::default() };
        at + FIRST_RETRY * (1 << self.failures.saturating_sub(1).min(5))
    }

    /// When the files were last safe.
    fn safe_at(&self, created_at: Instant) -> Instant {
        self.saved.as_ref().map_or(created_at, |saved| saved.at)
    }
}

impl Lifecycle {
    /// Whether its files are kept when its container ends.
    pub fn keeps_files(&self, rules: &Rules) -> bool {
        rules.snapshots && !self.policy.ephemeral
    }

    /// Whether its container is to be saved before it ends.
    pub fn is_unsaved(&self) -> bool {
        self.state == State::Stopping && self.files.unsaved
    }

    /// Lets the container end, once its files are safe.
    pub(super) fn go_down(&mut self, rules: &Rules, reason: Reason, now: Instant) -> Effects {
        let keeps = self.keeps_files(rules);
        let effects: Effects = if keeps { &[Effect::Save] } else { &[Effect::Terminate] };
        self.enter(State::Stopping, reason, now, effects);
        self.files.unsaved = keeps;
        effects
    }

    /// A snapshot was stored. One that comes late holds what it holds all the same.
    pub(super) fn note_saved(&mut self, saved: Saved, now: Instant) -> Effects {
        // One that was begun earlier may lack what was written between.
        let (unsaved, covers) = (self.is_unsaved(), saved.at >= self.since);
        let loses =
            self.files.lost_since.is_some_and(|lost| lost < saved.at) && !matches!(self.state, State::Running | State::Stopping);
        if loses {
            // It was under way when its container ended.
            self.files.lost_since = Some(saved.at);
        }
        let lost_since = self.files.lost_since;
        let fallback = self.files.saved.take().filter(|before| before.id != saved.id);
        let unsaved_now = unsaved && !covers;
        self.files = Files { saved: Some(saved), fallback, used_at: now, lost_since, unsaved: unsaved_now, ..Files::default() };
        match (unsaved, covers) {
            (true, true) => {
                self.released_at = now;
                &[Effect::Terminate]
            }
            (true, false) => &[Effect::Save],
            (false, _) => &[],
        }
    }

    /// A snapshot has failed: the container stays, and so does what it holds.
    pub(super) fn note_unsaved(&mut self, message: String, now: Instant) -> Effects {
        let stays = self.is_unsaved();
        let failures = self.files.failures.saturating_add(1);
        (self.files.failures, self.files.failure) = (failures, Some((message.clone(), now)));
        if stays {
            return self.enter(State::Running, Reason::SnapshotFailed { message }, now, &[Effect::ExtendInactivityTimeout]);
        }
        &[]
    }

    /// The container has ended before its files were safe. Nobody knows whether a program has written anything since the last snapshot.
    pub(super) fn note_lost(&mut self, rules: &Rules) {
        if self.keeps_files(rules) {
            self.files.lost_since = Some(self.files.safe_at(self.created_at));
        }
    }

    /// The platform does not have the snapshot that a start was to begin with.
    pub(super) fn note_missing(&mut self) {
        self.files.saved = self.files.fallback.take();
        self.files.lost_since = Some(self.files.safe_at(self.created_at));
    }

    /// The next start is to begin with this one.
    pub(super) fn note_restored(&mut self, saved: Saved, now: Instant) {
        self.files.fallback = self.files.saved.replace(saved);
        self.files.used_at = now;
    }

    /// A container begins with the snapshot, or is started for nothing else.
    pub(super) fn note_used(&mut self, now: Instant) {
        self.files.used_at = now;
    }

    /// When a sandbox that is down is started only so that the platform keeps its files.
    pub(super) fn renew_at(&self, rules: &Rules) -> Option<Instant> {
        let is_kept = self.keeps_files(rules) && self.files.saved.is_some();
        let renew_at = self.files.used_at + RENEW_AFTER;
        is_kept.then(|| renew_at.max(self.since + RENEW_AGAIN_AFTER))
    }

    /// What is due of the files, beside the deadlines of the state.
    pub(super) fn file_deadlines(&self, rules: &Rules, deadlines: Deadlines) -> Deadlines {
        let begun_again = self.save_begun_at + LOOK_AGAIN_AFTER;
        if self.is_unsaved() {
            return deadlines.with(Deadline::Save, begun_again.max(self.since));
        }
        let every = self.policy.snapshot_every_ms.filter(|_| self.state == State::Running && self.keeps_files(rules));
        let safe_at = self.files.safe_at(self.created_at);
        let due = every.filter(|_| self.active_at > safe_at).map(|every| safe_at + Duration::from_millis(every));
        // One that is under way is waited for.
        let under_way = self.save_begun_at > safe_at;
        let earliest = if under_way { begun_again } else { Instant::default() };
        deadlines.with(Deadline::Save, due.map(|due| due.max(self.files.retry_at()).max(earliest)))
    }

    /// When a sandbox that is idle may be saved again.
    pub(super) fn save_retry_at(&self) -> Instant {
        self.files.retry_at()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Event, Policy},
        *,
    };

    const BORN: Instant = Instant(1_000_000);

    fn rules() -> Rules {
        Rules { snapshots: true, ..Rules::default() }
    }

    fn saved(at: Instant) -> Event {
        Event::Saved(Saved { id: "s".to_owned(), at, size_bytes: 7 })
    }

    fn second(number: u64) -> Instant {
        BORN + Duration::from_secs(number)
    }

    /// A sandbox to which this has happened, each event a second after the one before, and what the last one asks for.
    fn after(policy: Policy, events: impl IntoIterator<Item = Event>) -> (Lifecycle, Effects) {
        let life = Lifecycle::new(policy, BORN);
        (1..).zip(events).fold((life, &[] as Effects), |(life, _), (number, event)| life.step(&rules(), event, second(number)))
    }

    #[test]
    fn a_container_is_let_go_once_its_files_are_safe() {
        let (life, effects) = after(Policy::default(), [Event::Wake, Event::Ready, Event::Stop]);
        assert_eq!((life.state, life.is_unsaved(), effects), (State::Stopping, true, &[Effect::Save] as Effects));
        // A snapshot that was begun before does not do.
        let (early, effects) = life.clone().step(&rules(), saved(second(2)), second(4));
        assert_eq!((early.is_unsaved(), effects), (true, &[Effect::Save] as Effects));
        let (life, effects) = life.step(&rules(), saved(second(3)), second(4));
        assert_eq!((life.state, life.is_unsaved(), effects), (State::Stopping, false, &[Effect::Terminate] as Effects));
        assert_eq!(life.step(&rules(), Event::Ended(Reason::Evicted), second(5)).0.state, State::Sleeping);
    }

    #[test]
    fn a_failed_snapshot_keeps_the_container_and_is_tried_again_less_and_less_often() {
        let (mut life, _) = after(Policy::default(), [Event::Wake, Event::Ready]);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let now = life.deadlines(&rules()).get(Deadline::Sleep).unwrap();
            life = life.step(&rules(), Event::Seen { busy: false, active_at: Instant::default() }, now).0;
            assert!(life.is_unsaved());
            let (after, effects) = life.step(&rules(), Event::Unsaved("full".to_owned()), now);
            assert_eq!((after.state, effects), (State::Running, &[Effect::ExtendInactivityTimeout] as Effects));
            pauses.push(after.files.failure().unwrap().2.since(now).as_secs());
            life = after;
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 960]);
    }

    #[test]
    fn only_an_idle_sandbox_is_called_back() {
        let idle = Event::Seen { busy: false, active_at: Instant::default() };
        let sleepy = Policy { sleep_after_ms: Some(1_000), ..Policy::default() };
        for (policy, event, state) in [(sleepy, idle, State::Running), (Policy::default(), Event::Stop, State::Stopping)] {
            let (life, _) = after(policy, [Event::Wake, Event::Ready, event, Event::Wake]);
            assert_eq!(life.state, state);
        }
    }

    #[test]
    fn what_was_written_after_the_last_snapshot_is_lost_with_the_container() {
        let crash = || Event::Ended(Reason::Crashed { message: String::new() });
        let (life, _) = after(Policy::default(), [Event::Wake, Event::Ready, crash()]);
        assert_eq!(life.files.lost_since, Some(BORN));
        let (life, _) = after(Policy::default(), [Event::Wake, Event::Ready, saved(second(3)), crash()]);
        assert_eq!(life.files.lost_since, Some(second(3)));
        let (life, _) = after(Policy { ephemeral: true, ..Policy::default() }, [Event::Wake, Event::Ready, crash()]);
        assert_eq!(life.files.lost_since, None, "nothing was promised");
        let (life, _) = after(Policy::default(), [Event::Wake, Event::Ready, Event::Stop, crash()]);
        assert_eq!((life.state, life.files.lost_since), (State::Failed, Some(BORN)));
    }

    #[test]
    fn a_missing_snapshot_leaves_the_one_before_it() {
        let (life, _) = after(Policy::default(), [Event::Wake, Event::Ready, saved(second(3)), Event::Stop]);
        let newer = Event::Saved(Saved { id: "newer".to_owned(), at: second(5), size_bytes: 7 });
        let (life, _) = life.step(&rules(), newer, second(5));
        let (life, _) = life.step(&rules(), Event::Ended(Reason::Evicted), second(6));
        let (life, _) = life.step(&rules(), Event::Wake, second(7));
        let (life, _) = life.step(&rules(), Event::Missing, second(8));
        assert_eq!(life.files.saved.as_ref().map(|saved| &*saved.id), Some("s"));
        assert_eq!(life.files.lost_since, Some(second(3)));
        let (life, _) = life.step(&rules(), Event::Missing, second(9));
        assert_eq!((life.files.saved, life.files.lost_since), (None, Some(BORN)));
    }

    #[test]
    fn a_restore_that_the_platform_cannot_carry_out_leaves_the_files_of_before() {
        let (life, _) = after(Policy::default(), [Event::Wake, Event::Ready, saved(second(3)), Event::Stop]);
        let (life, _) = life.step(&rules(), saved(second(4)), second(4));
        let (life, _) = life.step(&rules(), Event::Ended(Reason::Evicted), second(5));
        let restored = Event::Restore(Saved { id: "older".to_owned(), at: second(1), size_bytes: 7 });
        let (life, _) = life.step(&rules(), restored, second(6));
        let (life, _) = life.step(&rules(), Event::Wake, second(7));
        let (life, _) = life.step(&rules(), Event::Missing, second(8));
        assert_eq!(life.files.saved.map(|saved| saved.at), Some(second(4)));
    }

    #[test]
    fn a_sleeping_sandbox_is_started_before_the_platform_forgets_its_files() {
        let down = [Event::Wake, Event::Ready, Event::Stop, saved(second(3)), Event::Ended(Reason::Evicted)];
        let (life, _) = after(Policy::default(), down.clone());
        let due = second(4) + RENEW_AFTER;
        assert_eq!(life.deadlines(&rules()).get(Deadline::Renew), Some(due));
        let (life, effects) = life.step(&rules(), Event::Tick, due);
        assert_eq!(effects, [Effect::Renew]);
        assert_eq!(life.deadlines(&rules()).get(Deadline::Renew), Some(due + RENEW_AFTER), "one at a time");
        let (life, _) = after(Policy { ephemeral: true, ..Policy::default() }, down);
        assert_eq!(life.deadlines(&rules()).get(Deadline::Renew), None);
    }

    #[test]
    fn a_sandbox_that_is_used_is_saved_at_its_interval() {
        let policy = Policy { snapshot_every_ms: Some(60_000), keep_alive: true, ..Policy::default() };
        let (life, _) = after(policy, [Event::Wake, Event::Ready]);
        let due = second(60);
        assert_eq!(life.deadlines(&rules()).get(Deadline::Save), Some(due));
        let (mut life, effects) = life.step(&rules(), Event::Tick, due);
        assert_eq!(effects, [Effect::Save]);
        let under_way = life.deadlines(&rules()).get(Deadline::Save).unwrap();
        assert!(under_way > due, "one at a time");
        life = life.step(&rules(), saved(due), due).0;
        assert_eq!(life.deadlines(&rules()).get(Deadline::Save), None, "nothing was done since");
        life.begin(second(70));
        assert_eq!(life.deadlines(&rules()).get(Deadline::Save), Some(second(120)));
    }
}
