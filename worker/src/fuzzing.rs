//! What fuzzing calls: each function takes any bytes, and panics where a property does not hold.
//!
//! The targets of `fuzz/` pass them the bytes of libFuzzer; `cargo test` passes them the targets' seeds, and mutations of these.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is reported by a panic")]

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

use cabana::{Code, Principal, route as library};
use data_encoding::BASE64URL_NOPAD as BASE64;
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_json::Value;
use sha2::Sha256;

pub use crate::auth::credentials::fuzz::credentials;
use crate::{
    auth::{
        connect::{self, Grant, Signer},
        jwks::{KeySet, MAX_KEYS},
        jwt::Verifier,
    },
    route::Route,
};

/// A function that fuzzing calls.
pub type Target = fn(&[u8]);

/// Each function under the name of its target in `fuzz/fuzz_targets` and of its seeds in `fuzz/seeds`.
pub const TARGETS: [(&str, Target); 4] = [("credentials", credentials), ("gateway", gateway), ("jwks", jwks), ("jwt", jwt)];

const SECRET: &str = "a secret of more than thirty-two bytes";
/// 2026-11-20, in milliseconds.
const NOW_MS: u64 = 1_795_132_800_000;

/// A header and claims, a line each: with a good signature they are refused, or make a caller of what they say and nothing more; with
/// any other they are refused, as a connect token too.
pub fn jwt(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let (header, claims) = (&bytes[..end], &bytes[end + 1..]);
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = sign(&message);
    let verifier = Verifier::new(Some(SECRET), vec!["issuer".to_owned()], vec!["audience".to_owned()]);
    let verify = |token: &str| verifier.verify(token, &KeySet::default(), NOW_MS);
    if let Ok(principal) = verify(&format!("{message}.{}", BASE64.encode(&signature))) {
        check_caller(&principal, header, claims);
    }
    let mut altered = signature;
    altered[0] ^= 1;
    for signature in [&altered[..], &[], &altered[..31]] {
        assert!(verify(&format!("{message}.{}", BASE64.encode(signature))).is_err());
    }
    let signer = Signer::new(SECRET);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(verify(text).is_err() && signer.verify(text, NOW_MS).is_none());
    }
    // The secret itself signs no connect token; the key derived from it does.
    assert_eq!(signer.verify(&format!("{message}.{}", BASE64.encode(&sign(&message))), NOW_MS), None);
    if let Ok(grant) = serde_json::from_slice::<Grant>(claims) {
        let token = signer.sign(&grant).unwrap();
        let verified = signer.verify(token.strip_prefix(connect::PREFIX).unwrap(), NOW_MS);
        assert_eq!(verified, (grant.expires_at_ms() > NOW_MS).then_some(grant));
    }
}

fn sign(message: &str) -> Vec<u8> {
    let mut signature = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    signature.update(message.as_bytes());
    signature.finalize().into_bytes().to_vec()
}

fn check_caller(principal: &Principal, header: &[u8], claims: &[u8]) {
    let header: Value = serde_json::from_slice(header).unwrap();
    let claims: Value = serde_json::from_slice(claims).unwrap();
    // A signed array passes for an object: the fields are then told by their order.
    if !header.is_object() || !claims.is_object() {
        return;
    }
    assert!(header["alg"] == "HS256" && header.get("crit").is_none_or(Value::is_null), "{header}");
    assert_eq!(principal.id, format!("jwt:{}", claims["sub"].as_str().unwrap()));
    assert_eq!(Some(principal.tenant.as_str()), claims["tenant"].as_str());
    assert!(!principal.operator && principal.key.is_none() && !principal.delegated);
    assert!(principal.scopes.validate().is_ok() && principal.expires_at_ms.is_some_and(|end| end > NOW_MS));
    assert!(claims["iss"].to_string().contains("issuer"), "{claims}");
}

/// The keys of an issuer: at most as many as are allowed are trusted, and none for an algorithm whose key is a secret.
pub fn jwks(bytes: &[u8]) {
    match KeySet::parse(bytes) {
        Ok(keys) => {
            assert!(keys.len() <= MAX_KEYS && keys.candidates(None).count() == keys.len());
            let symmetric = |algorithm: Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
            assert!(!keys.candidates(None).any(|key| symmetric(key.algorithm)));
            assert!(keys.candidates(Some("k")).all(|key| key.id.as_deref().is_none_or(|id| id == "k")));
        }
        Err(error) => assert_eq!(error.code, Code::InvalidRequest),
    }
}

/// A method and a path, a line each: whatever the gateway answers itself needs a permission or is open, and it is about the same sandbox
/// as the library would say.
pub fn gateway(bytes: &[u8]) {
    let Some((method, path)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else { return };
    if !path.starts_with('/') {
        return;
    }
    let route = match Route::parse(method, path) {
        Ok(route) => route,
        Err(error) => {
            return assert!(matches!(error.code, Code::NotFound | Code::InvalidRequest | Code::MethodNotAllowed), "{error}");
        }
    };
    if method == "GET" {
        assert_eq!(Route::parse("HEAD", path).as_ref(), Ok(&route));
    }
    let open = matches!(route, Route::Health | Route::Description | Route::Documentation | Route::Notebook(_) | Route::Library);
    let Some(access) = route.access() else { return assert!(open, "{route:?}") };
    let look = matches!(method, "GET" | "HEAD") || access.operation == "token.create";
    assert_eq!((open, access.read_only), (false, look), "{method} {path}");
    if let Route::CreateToken(id) = &route {
        assert_eq!(library::Route::parse(method, path).ok().as_ref().and_then(library::Route::sandbox), Some(id));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_target_holds_on_its_seeds_and_their_mutations() {
        replay::replay(&TARGETS, &PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz"));
    }
}
