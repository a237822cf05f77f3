//! Key ids that vouch for themselves, so that made-up ones cost the database nothing. Pure.
//!
//! An id is 16 random characters and a tag of 10: a keyed hash of the random part. Nobody without the gateway's secret makes an id whose tag
//! fits. Ids without a fitting tag are not refused, because a gateway whose secret was replaced still has to find the keys that were made
//! before: they are looked up within a [`Budget`].

use cabana::{KeyId, random};
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Characters of an id that are random: 80 bits. An id is a name and no secret, so it only has to be one of a kind.
const RANDOM: usize = 16;

/// What the hash's key is for, so that the secret may be used for other things as well.
const PURPOSE: &[u8] = b"cabana key id 1";

/// Makes ids, and knows its own.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "it belongs into no log")]
pub struct Tagger(Hmac<Sha256>);

impl Tagger {
    /// Tags with what is derived from this secret.
    pub fn new(secret: &str) -> Self {
        let mut hash = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        hash.update(PURPOSE);
        Self(hash)
    }

    /// A fresh id.
    pub fn generate(&self) -> KeyId {
        let random = &random::name()[..RANDOM];
        format!("{random}{}", self.tag(random)).parse().expect("random characters and a tag have the form of an id")
    }

    /// Whether this gateway has made the id.
    pub fn vouches_for(&self, id: &KeyId) -> bool {
        let (random, tag) = id.as_str().split_at(RANDOM);
        self.tag(random).as_bytes().ct_eq(tag.as_bytes()).into()
    }

    fn tag(&self, random: &str) -> String {
        let hash = self.0.clone().chain_update(random).finalize().into_bytes();
        let mut tag = BASE32_NOPAD.encode(&hash).to_ascii_lowercase();
        tag.truncate(KeyId::LENGTH - RANDOM);
        tag
    }
}

/// How many ids without a fitting tag are looked up: a token bucket.
#[derive(Debug, Default)]
pub struct Budget {
    /// When the bucket is full again, in milliseconds since 1970.
    full_at_ms: u64,
}

impl Budget {
    /// Lookups that a full bucket allows at once.
    const BURST: u64 = 10;
    /// How long one takes to come back.
    const REFILL_MS: u64 = 1_000;

    /// Takes one lookup; false where none is left.
    pub fn take(&mut self, now_ms: u64) -> bool {
        let full_at = self.full_at_ms.max(now_ms) + Self::REFILL_MS;
        let allowed = full_at - now_ms <= Self::BURST * Self::REFILL_MS;
        if allowed {
            self.full_at_ms = full_at;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_vouched_for_by_the_secret_that_made_them() {
        let (own, other) = (Tagger::new("a secret"), Tagger::new("another secret"));
        let id = own.generate();
        assert!(own.vouches_for(&id) && !other.vouches_for(&id) && own.generate() != id);
        for made_up in ["abcdefghijklmnopqrstuvwx27".to_owned(), format!("{}a{}", &id.as_str()[..15], &id.as_str()[16..])] {
            let made_up: KeyId = made_up.parse().unwrap();
            assert!(made_up == id || !own.vouches_for(&made_up), "{made_up:?}");
        }
    }

    #[test]
    fn ids_without_a_tag_are_looked_up_once_a_second() {
        let mut budget = Budget::default();
        let mut taken = |now_ms| (0..100).filter(|_| budget.take(now_ms)).count();
        assert_eq!([0, 999, 1_000, 3_500, 60_000].map(|later| taken(1_000_000 + later)), [10, 0, 1, 2, 10]);
    }
}
