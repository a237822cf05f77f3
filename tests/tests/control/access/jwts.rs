//! JWTs of an issuer that the service trusts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cabana_tests::{Caller, Issuer, PATIENCE, require};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use super::super::fresh_name;

/// The issuer that the service trusts; a deployment may trust none that is known here.
fn issuer() -> Option<Issuer> {
    require("issuer", Issuer::of_service(), "CABANA_TEST_ISSUER names no file")
}

/// The shortest time between two fetches of the issuer's keys, as the service under test has it.
const PAUSE: Duration = Duration::from_secs(5);

/// Held by each case that shows the service unknown keys: the service then fetches the keys anew, which another case counts.
static FETCHES: Mutex<()> = Mutex::const_new(());

fn claims(tenant: &str, life: i64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    json!({ "sub": "u-1", "tenant": tenant, "exp": now + life, "iss": Issuer::NAME, "aud": Issuer::AUDIENCE })
}

/// What comes of asking with a token: `not_found` where it is let in.
async fn ask(token: &str) -> String {
    Caller::with(token).get("/v1/sandboxes/sbx-never-made").await.code()
}

#[tokio::test]
async fn each_algorithm_accepts_only_its_own_tokens() {
    let Some(issuer) = issuer() else { return };
    for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let token = issuer.sign(algorithm, &claims("a", 60));
        assert_eq!((ask(&token).await.as_str(), ask(&token).await.as_str()), ("not_found", "not_found"), "{algorithm:?}");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let other = issuer.sign(algorithm, &claims("b", 60));
        let altered = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        for wrong in [altered, format!("{message}."), issuer.sign(algorithm, &claims("a", -60))] {
            assert_eq!(ask(&wrong).await, "unauthorized", "{algorithm:?}");
        }
        assert_eq!(
            ask(&Issuer::generate_for(algorithm).sign(algorithm, &claims("a", 60))).await,
            "unauthorized",
            "{algorithm:?}"
        );
    }
}

#[tokio::test]
async fn tokens_with_forged_headers_are_refused() {
    let Some(issuer) = issuer() else { return };
    let _alone = FETCHES.lock().await;
    let (rsa, ed) = (issuer.key(Algorithm::RS256), Issuer::generate_for(Algorithm::EdDSA));
    let evil = ed.key(Algorithm::EdDSA);
    let public = EncodingKey::from_secret(rsa.jwk["n"].as_str().unwrap().as_bytes());
    let header = |kid: &str| Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
    for (what, token) in [
        ("alg none", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1IiwidGVuYW50IjoiYSIsImV4cCI6OTk5OTk5OTk5OX0.".to_owned()),
        ("a public key as a secret", encode(&Header::new(Algorithm::HS256), &claims("a", 60), &public).unwrap()),
        ("another's key under a known kid", evil.sign(&header("ed-1"), &claims("a", 60))),
        ("a path as kid", evil.sign(&header("../../dev/null"), &claims("a", 60))),
        ("an embedded key", {
            let jwk = serde_json::from_value(evil.jwk.clone()).ok();
            evil.sign(&Header { jwk, ..Header::new(Algorithm::EdDSA) }, &claims("a", 60))
        }),
        ("a key elsewhere", {
            let jku = Some("https://evil.test/keys".to_owned());
            evil.sign(&Header { jku, ..Header::new(Algorithm::EdDSA) }, &claims("a", 60))
        }),
    ] {
        assert_eq!(ask(&token).await, "unauthorized", "{what}");
    }
}

#[tokio::test]
async fn unknown_key_ids_cause_no_more_fetches_than_the_pause_allows() {
    let Some(issuer) = issuer() else { return };
    let _alone = FETCHES.lock().await;
    assert_eq!(ask(&issuer.sign(Algorithm::EdDSA, &claims("a", 60))).await, "not_found");
    let (before, begun) = (issuer.publication().fetches(), Instant::now());
    let stranger = Issuer::generate_for(Algorithm::EdDSA);
    let tokens = (0..32).map(|number| {
        let header = Header { kid: Some(format!("made-up-{number}")), ..Header::new(Algorithm::EdDSA) };
        stranger.key(Algorithm::EdDSA).sign(&header, &claims("a", 60))
    });
    for answer in join_all(tokens.map(async |token| ask(&token).await)).await {
        assert_eq!(answer, "unauthorized");
    }
    let (fetches, pauses) = (issuer.publication().fetches() - before, begun.elapsed().as_secs() / PAUSE.as_secs());
    assert!(before >= 1 && fetches as u64 <= 1 + pauses, "{fetches} fetches in {pauses} pauses");
}

#[tokio::test]
async fn a_key_published_later_is_accepted() {
    let Some(issuer) = issuer() else { return };
    let _alone = FETCHES.lock().await;
    let next = Issuer::generate_for(Algorithm::EdDSA);
    let key = next.key(Algorithm::EdDSA);
    let header = Header { kid: Some("ed-2".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let token = key.sign(&header, &claims("a", 300));
    assert_eq!(ask(&token).await, "unauthorized");
    let mut jwk = key.jwk.clone();
    jwk["kid"] = json!("ed-2");
    issuer.publication().add(jwk);
    let found = async {
        while ask(&token).await != "not_found" {
            sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(PATIENCE, found).await.expect("the service looks again after a pause");
    assert_eq!(ask(&issuer.sign(Algorithm::RS256, &claims("a", 60))).await, "not_found", "the keys before are still good");
}

#[tokio::test]
async fn claims_set_tenant_and_scopes() {
    let Some(issuer) = issuer() else { return };
    let (tenant, name) = (fresh_name("jwt"), fresh_name("jwt"));
    let caller = |tenant: &str, scopes: Value| {
        let mut claims = claims(tenant, 60);
        claims["scopes"] = scopes;
        Caller::with(issuer.sign(Algorithm::EdDSA, &claims))
    };
    let owner = caller(&tenant, json!({}));
    let made = owner.post("/v1/sandboxes", json!({ "name": name })).await;
    assert_eq!((made.status.as_u16(), &made.json()["tenant"]), (201, &json!(tenant)));
    let sandbox = format!("/v1/sandboxes/sbx-{name}");
    assert_eq!(caller(&fresh_name("other"), json!({})).get(&sandbox).await.code(), "not_found");
    assert_eq!(caller(&tenant, json!("file exec")).get(&sandbox).await.code(), "forbidden");
    assert_eq!(caller(&tenant, json!("")).get(&sandbox).await.code(), "forbidden", "no word is no scope");
    assert_eq!(caller(&tenant, json!("sandbox.get")).get(&sandbox).await.status, 200);
    assert_eq!(caller(&tenant, json!({ "read_only": true })).delete(&sandbox).await.code(), "forbidden");
    assert_eq!(caller(&tenant, json!([])).get(&sandbox).await.code(), "unauthorized", "scopes that are none");
    let token = owner.post(&format!("{sandbox}/tokens"), json!({})).await.json();
    assert_eq!(Caller::with(token["token"].as_str().unwrap()).get(&sandbox).await.status, 200);
    assert_eq!(owner.delete(&sandbox).await.status, 204);
}
