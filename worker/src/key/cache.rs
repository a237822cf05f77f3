//! What an isolate remembers of keys, so that a request with a known key waits for no database. Pure.
//!
//! | age | a known key | an id of no key |
//! | --- | --- | --- |
//! | up to 10 s | is used | is refused |
//! | up to 30 s | is used | is looked up |
//! | up to 60 s | is used, and looked up meanwhile | |
//! | more | is looked up | |
//!
//! So a key that was revoked elsewhere is used for 60 s at most.

use std::rc::Rc;

use cabana::KeyId;

use super::Record;
use cabana::cache::Cache;

/// How long a key is used without a look, in milliseconds.
pub const FRESH_MS: u64 = 30_000;
/// How long it is used at all.
pub const LIFE_MS: u64 = 60_000;
/// How long it is remembered that there is no such key: it may be made in a moment, and known elsewhere before here.
pub const ABSENT_MS: u64 = 10_000;

/// Most keys that are remembered.
const KNOWN: usize = 1_024;
/// Most ids of no key; apart, so that whoever makes them up pushes no key out.
const ABSENT: usize = 256;

/// Keys, and ids of none.
#[allow(missing_debug_implementations, reason = "it belongs into no log")]
pub struct KeyCache {
    known: Cache<KeyId, Rc<Record>>,
    absent: Cache<KeyId, ()>,
}

/// What is known of an id.
#[allow(missing_debug_implementations, reason = "it belongs into no log")]
pub enum Look {
    /// This is the key.
    Fresh(Rc<Record>),
    /// This is the key; it is time to look again.
    Stale(Rc<Record>),
    /// There is no such key.
    Absent,
    /// Nothing.
    Unknown,
}

impl KeyCache {
    /// An empty one.
    pub const fn new() -> Self {
        Self { known: Cache::new(KNOWN), absent: Cache::new(ABSENT) }
    }

    /// What is known of an id.
    pub fn look(&self, id: &KeyId, now_ms: u64) -> Look {
        match (self.known.get(id, now_ms), self.absent.get(id, now_ms)) {
            (Some((record, ..FRESH_MS)), _) => Look::Fresh(Rc::clone(record)),
            (Some((record, ..LIFE_MS)), _) => Look::Stale(Rc::clone(record)),
            (None, Some((_, ..ABSENT_MS))) => Look::Absent,
            _ => Look::Unknown,
        }
    }

    /// Takes in what was found at this instant.
    pub fn learn(&mut self, id: &KeyId, record: Option<Rc<Record>>, since_ms: u64) {
        match record {
            Some(record) => {
                self.absent.remove(id);
                self.known.put(id.clone(), record, since_ms);
            }
            None => self.absent.put(id.clone(), (), since_ms),
        }
    }
}

impl Default for KeyCache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{generate, tests::record};

    fn look(cache: &KeyCache, id: &KeyId, now: u64) -> &'static str {
        match cache.look(id, now) {
            Look::Fresh(_) => "fresh",
            Look::Stale(_) => "stale",
            Look::Absent => "absent",
            Look::Unknown => "unknown",
        }
    }

    #[test]
    fn a_key_is_asked_for_again_in_time() {
        let (mut cache, id) = (KeyCache::new(), generate(None).0);
        cache.learn(&id, Some(Rc::new(record(&id, "s"))), 1_000);
        for (age, expected) in [
            (0, "fresh"),
            (FRESH_MS - 1, "fresh"),
            (FRESH_MS, "stale"),
            (LIFE_MS - 1, "stale"),
            (LIFE_MS, "unknown"),
            (u64::MAX - 1_000, "unknown"),
        ] {
            assert_eq!(look(&cache, &id, 1_000 + age), expected, "{age}");
        }
    }

    #[test]
    fn that_there_is_none_is_soon_forgotten() {
        let (mut cache, id) = (KeyCache::new(), generate(None).0);
        cache.learn(&id, None, 1_000);
        assert_eq!((look(&cache, &id, 10_999), look(&cache, &id, 11_000)), ("absent", "unknown"));
        cache.learn(&id, Some(Rc::new(record(&id, "s"))), 2_000);
        assert_eq!(look(&cache, &id, 2_000), "fresh", "it was made meanwhile");
    }

    #[test]
    fn made_up_ids_push_no_key_out() {
        let (mut cache, id) = (KeyCache::new(), generate(None).0);
        cache.learn(&id, Some(Rc::new(record(&id, "s"))), 0);
        for since in 1..2 * KNOWN as u64 {
            cache.learn(&generate(None).0, None, since);
        }
        assert_eq!(look(&cache, &id, 3_000), "fresh");
    }

    #[test]
    fn a_revocation_outlasts_what_was_read_before_it() {
        let (mut cache, id) = (KeyCache::new(), generate(None).0);
        let valid = record(&id, "s");
        let mut revoked = valid.clone();
        revoked.shown.revoked_at = Some("now".to_owned());
        cache.learn(&id, Some(Rc::new(revoked)), 20);
        cache.learn(&id, Some(Rc::new(valid)), 10);
        assert!(matches!(cache.look(&id, 30), Look::Fresh(record) if record.admit(30).is_err()));
    }
}
