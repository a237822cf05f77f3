//! Which snapshots of a list are to be forgotten, and which are to be renewed. Pure.

use std::time::Duration;

use super::{KEPT, SnapshotRecord};
use crate::lifecycle::{Instant, Policy, RENEW_AFTER};

/// How long a snapshot stays in the list that the platform has forgotten, so that callers learn what became of it.
const SHOWN_AFTER_EXPIRY: Duration = Duration::from_hours(7 * 24);

/// How long after a renewal that has failed it is tried again.
const RENEW_AGAIN_AFTER: Duration = Duration::from_hours(24);

impl SnapshotRecord {
    /// Until when the platform keeps it, unless it is used before.
    pub(super) fn expires_at(&self) -> Instant {
        self.used_at + KEPT
    }

    /// When it is to be used, so that the platform keeps it.
    pub(super) fn renew_at(&self) -> Instant {
        (self.used_at + RENEW_AFTER).max(self.renewal_tried_at + RENEW_AGAIN_AFTER)
    }
}

/// Those of a list, the newest first, that are too old, or too many where one `more` is to come.
pub(super) fn superfluous<'a>(
    list: &'a [SnapshotRecord],
    policy: &Policy,
    more: usize,
    now: Instant,
) -> impl Iterator<Item = &'a SnapshotRecord> {
    let count = policy.keep_snapshots.map_or(usize::MAX, |count| (count as usize).saturating_sub(more));
    let age = policy.keep_snapshots_ms.map(Duration::from_millis);
    list.iter().enumerate().filter_map(move |(index, snapshot)| {
        let too_old = age.is_some_and(|age| snapshot.saved.at + age <= now);
        let gone = snapshot.expires_at() + SHOWN_AFTER_EXPIRY <= now;
        (index >= count || too_old || gone).then_some(snapshot)
    })
}

/// When the list is to be looked at next.
pub(super) fn next_look(list: &[SnapshotRecord], policy: &Policy) -> Option<Instant> {
    let age = policy.keep_snapshots_ms.map(Duration::from_millis);
    let too_old = list.iter().filter_map(|snapshot| Some(snapshot.saved.at + age?)).min();
    list.iter().map(SnapshotRecord::renew_at).min().into_iter().chain(too_old).min()
}

#[cfg(test)]
mod tests {
    use cabana_protocol::sandbox::SnapshotId;

    use super::*;
    use crate::lifecycle::Saved;

    const DAY: Duration = Duration::from_hours(24);

    fn day(number: u32) -> Instant {
        Instant(1_000) + DAY * number
    }

    /// One that was taken on this day.
    fn taken(number: u32) -> SnapshotRecord {
        let at = day(number);
        let id = SnapshotId::new(&"sbx-a".parse().unwrap(), &format!("{number:026}"));
        SnapshotRecord::new(id, None, Saved { id: number.to_string(), at, size_bytes: 0 }, None, String::new())
    }

    fn days(snapshots: impl Iterator<Item = impl std::borrow::Borrow<SnapshotRecord>>) -> Vec<u64> {
        snapshots.map(|snapshot| snapshot.borrow().saved.at.since(Instant(1_000)).as_secs() / DAY.as_secs()).collect()
    }

    #[test]
    fn the_oldest_of_too_many_and_those_too_old_are_superfluous() {
        let list = [taken(9), taken(8), taken(3), taken(1)];
        let policy = |keep_snapshots, keep: Option<u64>| Policy {
            keep_snapshots,
            keep_snapshots_ms: keep.map(|days| days * DAY.as_millis() as u64),
            ..Policy::default()
        };
        for (policy, more, expected) in [
            (policy(None, None), 1, vec![]),
            (policy(Some(4), None), 0, vec![]),
            (policy(Some(4), None), 1, vec![1]),
            (policy(Some(1), None), 1, vec![9, 8, 3, 1]),
            (policy(None, Some(7)), 0, vec![3, 1]),
            (policy(Some(3), Some(2)), 0, vec![8, 3, 1]),
        ] {
            assert_eq!(days(superfluous(&list, &policy, more, day(10))), expected, "{policy:?} {more}");
        }
        assert_eq!(days(superfluous(&list, &Policy::default(), 0, day(39))), [1], "the platform has forgotten it a week ago");
    }

    #[test]
    fn snapshots_are_renewed_before_the_platform_forgets_them() {
        let mut snapshot = taken(0);
        let policy = Policy::default();
        let next = |snapshot: &SnapshotRecord| next_look(std::slice::from_ref(snapshot), &policy);
        assert_eq!(next(&snapshot), Some(day(25)));
        snapshot.renewal_tried_at = day(25);
        assert_eq!(next(&snapshot), Some(day(26)), "a renewal that failed is tried again, before it expires");
        assert!(snapshot.expires_at() > day(29));
        snapshot.used_at = day(26);
        assert_eq!(next(&snapshot), Some(day(51)));
        assert_eq!(next_look(&[], &policy), None);
    }
}
