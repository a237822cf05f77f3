//! What an isolate remembers, and since when. Bounded, and pure: the time is the caller's.

use std::collections::BTreeMap;

/// Values by their keys, each with the instant at which it was true.
#[derive(Debug)]
pub struct Cache<K, V> {
    limit: usize,
    entries: BTreeMap<K, (u64, V)>,
}

impl<K: Ord + Clone, V> Cache<K, V> {
    /// Remembers at most so many.
    pub const fn new(limit: usize) -> Self {
        Self { limit, entries: BTreeMap::new() }
    }

    /// The value, and how old it is in milliseconds.
    pub fn get(&self, key: &K, now_ms: u64) -> Option<(&V, u64)> {
        self.entries.get(key).map(|(since, value)| (value, now_ms.saturating_sub(*since)))
    }

    /// Remembers what was true at `since_ms`, unless something newer is known. When there is too much, the oldest goes.
    pub fn put(&mut self, key: K, value: V, since_ms: u64) {
        if self.entries.get(&key).is_some_and(|(known_ms, _)| *known_ms > since_ms) {
            return;
        }
        self.entries.insert(key, (since_ms, value));
        if self.entries.len() > self.limit {
            let oldest = self.entries.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.entries.remove(&key));
        }
    }

    /// Forgets it.
    pub fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_age() {
        let mut cache = Cache::new(2);
        assert_eq!(cache.get(&"a", 5), None);
        cache.put("a", 1, 5);
        assert_eq!(cache.get(&"a", 5), Some((&1, 0)));
        assert_eq!(cache.get(&"a", 9), Some((&1, 4)));
        cache.remove(&"a");
        assert_eq!(cache.get(&"a", 9), None);
    }

    #[test]
    fn an_older_word_changes_nothing() {
        let mut cache = Cache::new(2);
        cache.put("a", "revoked", 7);
        cache.put("a", "valid", 6);
        assert_eq!(cache.get(&"a", 7), Some((&"revoked", 0)));
        cache.put("a", "again", 7);
        assert_eq!(cache.get(&"a", 7), Some((&"again", 0)));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut cache = Cache::new(2);
        for (key, since) in [("a", 3), ("b", 1), ("c", 2)] {
            cache.put(key, (), since);
        }
        assert_eq!(["a", "b", "c"].map(|key| cache.get(&key, 3).is_some()), [true, false, true]);
    }
}
