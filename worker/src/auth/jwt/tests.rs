use std::sync::LazyLock;

use cabana_tests::Issuer;
use data_encoding::BASE64URL_NOPAD as BASE64;
use jsonwebtoken::{
    Algorithm::{self, ES256, EdDSA, HS256, RS256},
    EncodingKey, Header, encode,
};
use serde_json::{Value, json};

use super::*;

/// 2026-11-20, in seconds.
const NOW: u64 = 1_795_132_800;

static ISSUER: LazyLock<Issuer> = LazyLock::new(Issuer::generate);

fn claims() -> Value {
    json!({ "sub": "u-1", "tenant": "a", "exp": NOW + 600, "iss": Issuer::NAME, "aud": Issuer::AUDIENCE })
}

/// The usual claims, with these in place of theirs; null takes one away.
fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn verifier() -> Verifier {
    Verifier::new(Some(&ISSUER.secret), vec![Issuer::NAME.to_owned()], vec![Issuer::AUDIENCE.to_owned(), "other".to_owned()])
}

fn keys() -> KeySet {
    KeySet::parse(ISSUER.jwks().to_string().as_bytes()).unwrap()
}

fn verify(token: &str) -> Result<Principal, Refusal> {
    verifier().verify(token, &keys(), NOW * 1_000)
}

fn signed(changes: Value) -> Result<Principal, Refusal> {
    verify(&ISSUER.sign(EdDSA, &claims_with(changes)))
}

/// A token of three parts, each given as it is.
fn assemble(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let encode = |part: &Value| BASE64.encode(part.to_string().as_bytes());
    format!("{}.{}.{}", encode(header), encode(claims), BASE64.encode(signature))
}

#[test]
fn every_algorithm_lets_its_own_tokens_in() {
    for algorithm in [HS256, RS256, ES256, EdDSA] {
        let principal = verify(&ISSUER.sign(algorithm, &claims())).unwrap();
        assert_eq!(
            (principal.id.as_str(), principal.tenant.as_str(), principal.operator),
            ("jwt:u-1", "a", false),
            "{algorithm:?}"
        );
        assert_eq!(principal.expires_at_ms, Some((NOW + 600) * 1_000 + LEEWAY_MS));
        assert_eq!((principal.scopes, principal.key, principal.delegated), (Scopes::default(), None, false));
    }
}

#[test]
fn scopes_come_as_keys_have_them_or_as_words() {
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    for (claim, expected) in [
        (json!({}), Scopes::default()),
        (
            json!({ "operations": ["file"], "read_only": true }),
            Scopes { operations: words(&["file"]), sandboxes: None, read_only: true },
        ),
        (json!(" file  exec "), Scopes { operations: words(&["file", "exec"]), ..Scopes::default() }),
        (json!(""), Scopes { operations: words(&[]), ..Scopes::default() }),
    ] {
        assert_eq!(signed(json!({ "scopes": claim })).unwrap().scopes, expected, "{claim}");
    }
    for odd in [json!([]), json!(["file"]), json!(7), json!({ "sandbox": ["a"] }), json!("file.*"), json!({ "operations": [7] })]
    {
        assert!(matches!(signed(json!({ "scopes": odd })), Err(Refusal::Invalid(_))), "{odd}");
    }
    let null = ISSUER.sign(EdDSA, &{
        let mut claims = claims();
        claims["scopes"] = Value::Null;
        claims
    });
    assert!(verify(&null).is_err(), "null is not the same as nothing said");
}

#[test]
fn claims_that_do() {
    for changes in [
        json!({ "exp": NOW as f64 + 0.5 }),
        json!({ "exp": NOW - 29 }),
        json!({ "nbf": NOW + 30, "iat": NOW + 30 }),
        json!({ "aud": ["x", "other"] }),
        json!({ "exp": 1e12 }),
        json!({ "more": { "claims": [] } }),
    ] {
        assert!(signed(changes.clone()).is_ok(), "{changes}");
    }
    assert_eq!(signed(json!({ "exp": 1e12 })).unwrap().expires_at_ms, Some(time::END_MS));
}

#[test]
fn claims_that_do_not() {
    for changes in [
        json!({ "exp": null }),
        json!({ "exp": NOW - 30 }),
        json!({ "exp": 0 }),
        json!({ "exp": -1 }),
        json!({ "exp": 1e300 }),
        json!({ "exp": "never" }),
        json!({ "exp": (NOW + 600).to_string() }),
        json!({ "nbf": NOW + 31 }),
        json!({ "nbf": "now" }),
        json!({ "iat": NOW + 31 }),
        json!({ "iss": null }),
        json!({ "iss": "https://issuer.test/" }),
        json!({ "iss": "https://issuer.test.evil" }),
        json!({ "aud": null }),
        json!({ "aud": "somebody" }),
        json!({ "aud": [] }),
        json!({ "aud": 7 }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
        json!({ "sub": "u".repeat(257) }),
        json!({ "tenant": null }),
        json!({ "tenant": "" }),
        json!({ "tenant": "A" }),
        json!({ "tenant": ["a"] }),
        json!({ "tenant": "a/../b" }),
    ] {
        assert!(matches!(signed(changes.clone()), Err(Refusal::Invalid(_))), "{changes}");
    }
}

#[test]
fn what_the_secret_signs_needs_no_other_keys_and_what_it_does_not_is_left_to_them() {
    let without_keys = |token: &str| verifier().verify(token, &KeySet::default(), NOW * 1_000);
    assert!(without_keys(&ISSUER.sign(HS256, &claims())).is_ok());
    let expired = ISSUER.sign(HS256, &claims_with(json!({ "exp": NOW - 600 })));
    assert!(matches!(without_keys(&expired), Err(Refusal::Invalid(_))));
    for algorithm in [RS256, ES256, EdDSA] {
        assert!(matches!(without_keys(&ISSUER.sign(algorithm, &claims())), Err(Refusal::UnknownKey)), "{algorithm:?}");
    }
}

#[test]
fn a_token_without_audience_is_for_whoever_names_none() {
    let verifier = Verifier::new(Some(&ISSUER.secret), vec![], vec![]);
    let verify = |claims: Value| verifier.verify(&ISSUER.sign(HS256, &claims), &KeySet::default(), NOW * 1_000);
    assert!(verify(claims_with(json!({ "aud": null, "iss": null }))).is_ok());
    assert!(verify(claims_with(json!({ "iss": "anyone", "aud": null }))).is_ok());
    assert!(verify(claims()).is_err(), "a token for somebody else");
}

#[test]
fn no_algorithm_is_no_signature() {
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS1", "hs256", "RS256 "] {
        for signature in [&b""[..], b"x"] {
            let token = assemble(&json!({ "alg": algorithm, "typ": "JWT" }), &claims(), signature);
            assert!(verify(&token).is_err(), "{algorithm}");
        }
    }
    for header in [json!({}), json!({ "alg": null }), json!({ "alg": ["EdDSA", "none"] }), json!({ "alg": 7 }), json!([])] {
        assert!(verify(&assemble(&header, &claims(), b"")).is_err(), "{header}");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    // The secret that a verifier would use which took the algorithm from the token, in every form that it might have.
    let public = ISSUER.key(RS256).jwk.clone();
    let raw = BASE64.decode(public["n"].as_str().unwrap().as_bytes()).unwrap();
    for secret in [raw, public["n"].as_str().unwrap().into(), public.to_string().into(), ISSUER.jwks().to_string().into()] {
        for kid in [None, Some("rsa-1".to_owned())] {
            let header = Header { kid, ..Header::new(HS256) };
            let token = encode(&header, &claims(), &EncodingKey::from_secret(&secret)).unwrap();
            for verifier in [verifier(), Verifier::new(None, vec![], vec![Issuer::AUDIENCE.to_owned()])] {
                assert!(verifier.verify(&token, &keys(), NOW * 1_000).is_err());
            }
        }
    }
}

#[test]
fn an_algorithm_is_its_keys() {
    for algorithm in [RS256, ES256, EdDSA] {
        let token = ISSUER.sign(algorithm, &claims());
        let (_, rest) = token.split_once('.').unwrap();
        let kid = &ISSUER.key(algorithm).jwk["kid"];
        for other in ["HS256", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"] {
            if format!("{algorithm:?}") != other {
                let header = BASE64.encode(json!({ "alg": other, "kid": kid }).to_string().as_bytes());
                assert!(verify(&format!("{header}.{rest}")).is_err(), "{algorithm:?} as {other}");
            }
        }
    }
    // RSA, which has several: this key's is RS256.
    let token = ISSUER.key(RS256).sign(&Header { kid: Some("rsa-1".to_owned()), ..Header::new(Algorithm::RS512) }, &claims());
    assert!(verify(&token).is_err());
}

#[test]
fn a_kid_looks_up_and_nothing_more() {
    for kid in ["../../../dev/null", "/proc/self/environ", "' OR '1'='1", "https://evil.test/keys", "rsa-1\0", "", "constructor"]
    {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(EdDSA) };
        assert_eq!(verify(&ISSUER.key(EdDSA).sign(&header, &claims())), Err(Refusal::UnknownKey), "{kid}");
        // What a file of nothing, or an empty row, would make of a secret.
        for secret in [&b""[..], b"\0", kid.as_bytes()] {
            let header = Header { kid: Some(kid.to_owned()), ..Header::new(HS256) };
            assert!(verify(&encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()).is_err(), "{kid}");
        }
    }
    let other = Header { kid: Some("ec-1".to_owned()), ..Header::new(EdDSA) };
    assert!(verify(&ISSUER.key(EdDSA).sign(&other, &claims())).is_err(), "another key's");
    assert!(verify(&ISSUER.key(EdDSA).sign(&Header::new(EdDSA), &claims())).is_ok(), "none: all that are trusted");
}

#[test]
fn a_token_brings_no_keys() {
    let evil = Issuer::generate();
    for algorithm in [RS256, ES256, EdDSA] {
        let key = evil.key(algorithm);
        let jwk = serde_json::from_value(key.jwk.clone()).unwrap();
        let (url, kid) = (Some("https://evil.test/keys".to_owned()), key.jwk["kid"].as_str().map(str::to_owned));
        for header in [
            Header { jwk: Some(jwk), ..Header::new(algorithm) },
            Header { jku: url.clone(), ..Header::new(algorithm) },
            Header { x5u: url, x5c: Some(vec!["AAAA".to_owned()]), kid, ..Header::new(algorithm) },
        ] {
            assert_eq!(verify(&key.sign(&header, &claims())), Err(Refusal::Invalid("its signature is wrong")), "{algorithm:?}");
        }
    }
}

#[test]
fn signatures_that_are_none() {
    let header = |algorithm: &str, kid: &str| json!({ "alg": algorithm, "kid": kid, "typ": "JWT" });
    for (algorithm, kid, length) in [("ES256", "ec-1", 64), ("EdDSA", "ed-1", 64), ("RS256", "rsa-1", 256), ("HS256", "", 32)] {
        for byte in [0, 0xff] {
            for length in [length, 0, 1, length + 1] {
                assert!(verify(&assemble(&header(algorithm, kid), &claims(), &vec![byte; length])).is_err(), "{algorithm}");
            }
        }
    }
}

#[test]
fn what_was_altered_is_refused() {
    for algorithm in [HS256, RS256, ES256, EdDSA] {
        let token = ISSUER.sign(algorithm, &claims());
        let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let other = ISSUER.sign(algorithm, &claims_with(json!({ "tenant": "b" })));
        let [_, other_payload, other_signature]: [&str; 3] = other.split('.').collect::<Vec<_>>().try_into().unwrap();
        for altered in [
            format!("{header}.{other_payload}.{signature}"),
            format!("{header}.{payload}.{other_signature}"),
            format!("{header}.{payload}."),
            format!("{header}.{payload}"),
            format!("{header}.{payload}.{signature}.{signature}"),
            format!("{header}..{signature}"),
            format!("{header}.{payload}.{signature}="),
            format!(" {token}"),
            format!("{token}{}", "A".repeat(MAX_LENGTH)),
            token.to_uppercase(),
        ] {
            assert!(verify(&altered).is_err(), "{algorithm:?}: {altered}");
        }
    }
}

#[test]
fn what_is_critical_and_unknown_is_refused() {
    let header = Header { crit: Some(vec!["exp".to_owned()]), ..Header::new(EdDSA) };
    assert_eq!(verify(&ISSUER.key(EdDSA).sign(&header, &claims())), Err(Refusal::Invalid("it has critical fields")));
}

/// The verdict on a token with this payload, signed by a trusted key.
fn verify_payload(payload: &[u8]) -> Result<Principal, Refusal> {
    let header = BASE64.encode(br#"{"alg":"HS256"}"#);
    let message = format!("{header}.{}", BASE64.encode(payload));
    let key = EncodingKey::from_secret(ISSUER.secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, HS256).unwrap();
    verify(&format!("{message}.{signature}"))
}

#[test]
fn claims_given_twice_are_refused() {
    let payload = format!(r#"{{"tenant":"b",{}"#, &claims().to_string()[1..]);
    assert!(verify_payload(payload.as_bytes()).is_err());
}

#[test]
fn claims_that_are_not_utf_8_are_refused_wherever_that_is() {
    let mut payload = format!(r#"{{"ignored":"?",{}"#, &claims().to_string()[1..]).into_bytes();
    assert!(verify_payload(&payload).is_ok());
    payload[r#"{"ignored":""#.len()] = 0xff;
    assert_eq!(verify_payload(&payload), Err(Refusal::Invalid("its claims are not UTF-8")));
}

#[test]
fn no_refusal_repeats_the_token() {
    for changes in
        [json!({ "tenant": "Hunter2" }), json!({ "iss": "hunter2" }), json!({ "exp": "hunter2" }), json!({ "scopes": "Hunter2" })]
    {
        let error = signed(changes.clone()).unwrap_err().error();
        assert!(error.code == Code::Unauthorized && !error.message.to_lowercase().contains("hunter2"), "{changes}: {error}");
    }
}
