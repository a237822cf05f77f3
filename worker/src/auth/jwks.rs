//! The public keys of an issuer, as a JWKS (RFC 7517) has them. Pure.

use cabana_protocol::Error;
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// Most keys of a set.
pub const MAX_KEYS: usize = 64;
/// Smallest modulus of an RSA key, in bytes.
const MIN_MODULUS: usize = 256;

/// Keys that are trusted, each with its one algorithm.
#[derive(Default)]
pub struct KeySet(Vec<TrustedKey>);

/// A key, and the only algorithm that it verifies.
pub struct TrustedKey {
    /// How tokens name it.
    pub id: Option<String>,
    /// What it verifies.
    pub algorithm: Algorithm,
    /// The key itself.
    pub key: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. Keys that cannot verify signatures here are left out: an issuer may have others, for other purposes.
    ///
    /// Fails with `invalid_request` where it is no set, or too large.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let set: Set = serde_json::from_slice(json).map_err(|_| Error::invalid_request("it is no JSON object with `keys`"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(Error::invalid_request(format!("it has more than {MAX_KEYS} keys")));
        }
        let keys = set.keys.into_iter().filter_map(|key| trust(&serde_json::from_value(key).ok()?)).collect();
        Ok(Self(keys))
    }

    /// The keys that may have signed a token: those of its `kid`, and those without one.
    pub fn candidates(&self, id: Option<&str>) -> impl Iterator<Item = &TrustedKey> {
        self.0.iter().filter(move |key| id.is_none() || key.id.is_none() || key.id.as_deref() == id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn trust(key: &Jwk) -> Option<TrustedKey> {
    if key.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = algorithm(key)?;
    Some(TrustedKey { id: key.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(key).ok()? })
}

/// What the key says it is for, or else what its like is for. Symmetric keys are no public ones, and never trusted.
fn algorithm(key: &Jwk) -> Option<Algorithm> {
    let usual = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) if modulus_length(&rsa.n) >= MIN_MODULUS => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    match key.common.key_algorithm {
        None => Some(usual),
        Some(named) => named_algorithm(named).filter(|named| *named == usual || is_rsa(*named) && is_rsa(usual)),
    }
}

fn named_algorithm(algorithm: KeyAlgorithm) -> Option<Algorithm> {
    algorithm.try_into().ok()
}

fn is_rsa(algorithm: Algorithm) -> bool {
    algorithm.family() == AlgorithmFamily::Rsa
}

/// In bytes, of base64 without padding.
fn modulus_length(base64: &str) -> usize {
    base64.len() * 3 / 4
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn which_keys_are_trusted_and_for_what() {
        let n = "A".repeat(342);
        let (x, y) = ("A".repeat(43), "A".repeat(43));
        for (key, expected) in [
            (json!({ "kty": "RSA", "n": n, "e": "AQAB" }), Some(Algorithm::RS256)),
            (json!({ "kty": "RSA", "n": n, "e": "AQAB", "alg": "PS256", "use": "sig" }), Some(Algorithm::PS256)),
            (json!({ "kty": "RSA", "n": n, "e": "AQAB", "use": "enc" }), None),
            (json!({ "kty": "RSA", "n": n, "e": "AQAB", "alg": "RSA-OAEP" }), None),
            (json!({ "kty": "RSA", "n": n, "e": "AQAB", "alg": "HS256" }), None),
            (json!({ "kty": "RSA", "n": "A".repeat(171), "e": "AQAB" }), None),
            (json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }), Some(Algorithm::ES256)),
            (json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "RS256" }), None),
            (json!({ "kty": "EC", "crv": "P-521", "x": x, "y": y }), None),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": x }), Some(Algorithm::EdDSA)),
            (json!({ "kty": "oct", "k": x }), None),
            (json!({ "kty": "oct", "k": x, "alg": "HS256" }), None),
            (json!({ "kty": "other" }), None),
            (json!(7), None),
        ] {
            let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
            assert_eq!(set.candidates(None).next().map(|key| key.algorithm), expected, "{key}");
        }
    }

    #[test]
    fn what_is_no_set() {
        let many = json!({ "keys": vec![json!({}); MAX_KEYS + 1] }).to_string();
        for odd in ["", "{}", "[]", r#"{"keys":{}}"#, &many] {
            assert!(KeySet::parse(odd.as_bytes()).is_err(), "{odd}");
        }
        assert!(KeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
    }

    #[test]
    fn a_kid_chooses() {
        let key = |id: Value| json!({ "kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43), "kid": id });
        let set = json!({ "keys": [key(json!("a")), key(json!("b")), key(Value::Null)] }).to_string();
        let set = KeySet::parse(set.as_bytes()).unwrap();
        for (id, count) in [(None, 3), (Some("a"), 2), (Some("../a"), 1), (Some("' OR 1"), 1), (Some(""), 1)] {
            assert_eq!(set.candidates(id).count(), count, "{id:?}");
        }
    }
}
