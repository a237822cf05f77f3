//! An API key: `cab_<id>_<secret>`. Pure but for [`generate`].
//!
//! The id alone finds the key's row, where a digest of the secret lies. Nothing that is kept lets a key be made again.

pub mod cache;
pub mod creation;
pub mod lookup;
pub mod store;
pub mod tag;

use std::cell::Cell;

use cabana::{Code, KeyId, Principal, random};
use cabana_protocol::{
    Error,
    key::{Key, no_such_key},
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use self::tag::Tagger;

/// What every key starts with.
pub const PREFIX: &str = "cab_";

/// SHA-256 of a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_debug_implementations, reason = "it belongs into no log")]
pub struct SecretDigest([u8; 32]);

/// A key as a request brings it.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_debug_implementations, reason = "it belongs into no log")]
pub struct Presented {
    /// Which key it says to be.
    pub id: KeyId,
    digest: SecretDigest,
}

/// A key as it is kept.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "it belongs into no log")]
pub struct Record {
    /// What is shown of it.
    pub shown: Key,
    /// Its secret's digest.
    pub digest: SecretDigest,
    /// The same as the instants that are shown, in milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
    /// When it was last known to be used; noted here first, so that it is stored once.
    pub last_used_at_ms: Cell<Option<u64>>,
    /// The key that made it; it ends with that one.
    pub parent: Option<KeyId>,
}

/// A fresh key: its id, its text, and what is kept of its secret. Its id has a tag where there is something to make one with.
pub fn generate(tagger: Option<&Tagger>) -> (KeyId, String, SecretDigest) {
    let untagged = || random::name().parse().expect("a random name has the form of an id");
    let id = tagger.map_or_else(untagged, Tagger::generate);
    let secret = random::secret();
    (id.clone(), format!("{PREFIX}{id}_{secret}"), SecretDigest::of(&secret))
}

impl SecretDigest {
    /// Of this secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// As it is stored.
    pub fn encode(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Undoes [`Self::encode`].
    pub fn decode(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// Takes the same time, however much of the two is the same.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Presented {
    /// Takes a token apart; `None` where it is no key.
    pub fn parse(token: &str) -> Option<Self> {
        let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
        Some(Self { id: id.parse().ok()?, digest: SecretDigest::of(secret) })
    }

    /// Whether this is the key that is kept.
    pub fn is(&self, record: &Record) -> bool {
        self.digest.matches(&record.digest)
    }
}

impl Record {
    /// Whom the key makes its bearer, if it is good at this time.
    ///
    /// Fails with `unauthorized`, saying what has become of it: whoever is told holds the key.
    pub fn admit(&self, now_ms: u64) -> Result<Principal, Error> {
        let ended = |how: &str| Err(Error::new(Code::Unauthorized, format!("this API key {how}")));
        if self.shown.revoked_at.is_some() {
            return ended("was revoked");
        }
        if self.expires_at_ms.is_some_and(|end| end <= now_ms) {
            return ended("has expired");
        }
        Ok(Principal {
            id: format!("key:{}", self.shown.id),
            tenant: self.shown.tenant.clone(),
            operator: false,
            anonymous: false,
            scopes: self.shown.scopes.clone(),
            expires_at_ms: self.expires_at_ms,
            key: Some(self.shown.id.clone()),
            delegated: false,
        })
    }

    /// The key, where the caller sees it.
    ///
    /// Fails with `not_found`, in the words for a key that is not there.
    pub fn shown_to(self, principal: &Principal) -> Result<Self, Error> {
        if principal.sees(&self.shown.tenant) { Ok(self) } else { Err(no_such_key()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(id: &KeyId, secret: &str) -> Record {
        let shown = Key {
            id: id.clone(),
            name: "test".to_owned(),
            tenant: "a".parse().unwrap(),
            scopes: Default::default(),
            created_by: "operator".to_owned(),
            created_at: String::new(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        };
        Record { shown, digest: SecretDigest::of(secret), expires_at_ms: None, last_used_at_ms: Cell::new(None), parent: None }
    }

    #[test]
    fn a_fresh_key_is_recognised() {
        let (id, text, digest) = generate(None);
        let presented = Presented::parse(&text).unwrap();
        assert!(presented.id == id && presented.digest.matches(&digest));
        assert_eq!(text.len(), 4 + 26 + 1 + 64);
        assert!(SecretDigest::decode(&digest.encode()).unwrap().matches(&digest));
        assert!(!text.contains(&digest.encode()));
    }

    #[test]
    fn what_is_no_key() {
        let (_, key, _) = generate(None);
        let id = &key[4..30];
        for odd in ["", "cab_", "cab__", "cab_a_b", &key[1..], &key[..30], &key.to_uppercase(), &format!("cab-{id}-s")] {
            assert!(Presented::parse(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn variants_of_the_secret_do_not_pass() {
        let (id, key, digest) = generate(None);
        let record = Record { digest, ..record(&id, "") };
        let secret = &key[31..];
        assert!(Presented::parse(&key).unwrap().is(&record));
        let (shorter, upper, twice) = (&secret[..63], secret.to_uppercase(), secret.repeat(2));
        for other in
            ["", shorter, &secret[1..], &upper, &twice, &format!("{secret} "), &format!("{secret}\u{e9}"), &digest.encode()]
        {
            let presented = Presented::parse(&format!("cab_{id}_{other}")).unwrap();
            assert!(!presented.is(&record), "{other}");
        }
    }

    #[test]
    fn a_key_ends() {
        let (id, ..) = generate(None);
        let valid = Record { expires_at_ms: Some(10), ..record(&id, "s") };
        let principal = valid.admit(9).unwrap();
        assert_eq!((principal.id, principal.key, principal.expires_at_ms), (format!("key:{id}"), Some(id), Some(10)));
        assert_eq!(valid.admit(10).unwrap_err().code, Code::Unauthorized);
        let mut revoked = valid;
        revoked.shown.revoked_at = Some(String::new());
        assert_eq!(revoked.admit(9).unwrap_err().code, Code::Unauthorized);
    }
}
