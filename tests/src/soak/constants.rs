//! Times that other tests shorten, or do not wait for, at their real values.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cabana_protocol::frame::close;
use futures_util::{FutureExt, future::join_all};
use jsonwebtoken::{Algorithm, Header};
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::{budget::Budget, database, process::Process};
use crate::{Caller, Issuer, Sandbox, Socket};

/// How many there are.
pub(super) const COUNT: u64 = 6;
/// What a loaded machine may add to each.
const SLACK: Duration = Duration::from_secs(10);
/// How often something is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Heartbeats that are waited for.
const BEATS: usize = 3;

/// All at once: they only wait. Each is measured from outside and held against its documented limit.
pub(super) async fn run(budget: &Budget) -> String {
    let measured = join_all([
        limited(budget, "heartbeat of a stream", 5, heartbeat_of_a_stream().boxed_local()),
        limited(budget, "heartbeat of a socket", 10, heartbeat_of_a_socket().boxed_local()),
        limited(budget, "revoked key", 60, revoked_key().boxed_local()),
        limited(budget, "socket of a revoked key", 70, socket_of_a_revoked_key().boxed_local()),
        limited(budget, "key set", 60, key_set().boxed_local()),
        limited(budget, "probe of an agent that hangs", 20, hanging_agent().boxed_local()),
    ]);
    measured.await.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Waits for a figure, as long as there is time, and holds it against its limit in seconds.
async fn limited(budget: &Budget, name: &str, limit: u64, figure: impl Future<Output = Duration>) -> Option<String> {
    budget.begin()?;
    let figure = budget.within(figure).await?;
    assert!(figure <= Duration::from_secs(limit) + SLACK, "{name}: {} s instead of {limit}", figure.as_secs());
    budget.finish();
    Some(format!("{name} {}.{} s", figure.as_secs(), figure.subsec_millis() / 100))
}

/// The longest time between two signs of life of a command that says nothing.
async fn heartbeat_of_a_stream() -> Duration {
    let sandbox = Sandbox::create().await;
    let exec = sandbox.request(Method::POST, "/exec").header("accept", "text/event-stream");
    let mut answer = exec.json(&json!({ "command": ["sleep", "3000"] })).send().await.unwrap();
    // The event that it has started.
    answer.chunk().await.unwrap().expect("it has started");
    let longest = longest_pause(async || {
        let beat = answer.chunk().await.unwrap().expect("it is alive");
        assert!(beat.starts_with(b":"), "{beat:?}");
    });
    let longest = longest.await;
    drop(answer);
    sandbox.destroy().await;
    longest
}

async fn heartbeat_of_a_socket() -> Duration {
    let sandbox = Sandbox::create().await;
    let mut socket = sandbox.connect().await;
    socket.send("exec", "silent", json!({ "command": ["sleep", "3000"] })).await;
    socket.wait_for("event", "silent").await;
    let longest = longest_pause(async || assert_eq!(socket.next().await["type"], "pong")).await;
    drop(socket);
    sandbox.destroy().await;
    longest
}

async fn longest_pause(mut beat: impl AsyncFnMut()) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..BEATS {
        let since = Instant::now();
        beat().await;
        longest = longest.max(since.elapsed());
    }
    longest
}

/// How long a key is used that was revoked elsewhere.
async fn revoked_key() -> Duration {
    let bearer = Caller::of_tenant("soak-key", json!({})).await;
    let ask = async || bearer.get("/v1/sandboxes/sbx-never-made").await.code();
    assert_eq!(ask().await, "not_found", "it is good");
    database::revoke(bearer.key_id());
    wait(async || ask().await == "unauthorized").await
}

/// How long a socket is open whose key was revoked elsewhere.
async fn socket_of_a_revoked_key() -> Duration {
    let owner = Caller::of_tenant("soak-socket", json!({})).await;
    let made = owner.post("/v1/sandboxes", json!({})).await.json();
    let route = format!("/v1/sandboxes/{}", made["id"].as_str().unwrap());
    let bearer = ("authorization", format!("Bearer {}", owner.token.as_ref().unwrap()));
    let mut socket = Socket::open(&format!("{}{route}/connect", Sandbox::service().0), &[bearer]).await.unwrap();
    assert_eq!(socket.next().await["type"], "ready");
    socket.send("exec", "1", json!({ "command": "echo up; sleep 3000" })).await;
    while socket.wait_for("event", "1").await["bytes"] != "up\n" {}
    database::revoke(owner.key_id());
    let since = Instant::now();
    assert_eq!(socket.closed().await, close::UNAUTHORIZED);
    let open = since.elapsed();
    Caller::operator().delete(&route).await;
    open
}

/// How long a key is unknown that the issuer has begun to publish.
async fn key_set() -> Duration {
    let issuer = Issuer::of_service().expect("CABANA_TEST_ISSUER is set");
    let next = Issuer::generate_for(Algorithm::EdDSA);
    let key = next.key(Algorithm::EdDSA);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "sub": "u", "tenant": "soak", "exp": now + 3_600, "iss": Issuer::NAME, "aud": Issuer::AUDIENCE });
    let token = key.sign(&Header { kid: Some("soak".to_owned()), ..Header::new(Algorithm::EdDSA) }, &claims);
    let bearer = Caller::with(token);
    let ask = async || bearer.get("/v1/sandboxes/sbx-never-made").await.code();
    assert_eq!(ask().await, "unauthorized", "its key is not published");
    let mut jwk = key.jwk.clone();
    jwk["kid"] = json!("soak");
    issuer.publication().add(jwk);
    wait(async || ask().await == "not_found").await
}

/// How soon a caller is told that the agent hangs, and the sandbox is there again.
async fn hanging_agent() -> Duration {
    let sandbox = Sandbox::create().await;
    let agent = Process::agent_behind(&sandbox, "3701.25").await;
    let running = sandbox.post("exec", json!({ "command": "touch begun; sleep 3000" }));
    let halting = async {
        wait(async || sandbox.get("begun").await.status == 200).await;
        agent.signal("STOP");
        Instant::now()
    };
    let (cut, since) = tokio::join!(running, halting);
    let figure = since.elapsed();
    assert_eq!(cut.code(), "interrupted");
    wait(async || sandbox.post("exec", json!({ "command": "true" })).await.status == 200).await;
    sandbox.destroy().await;
    figure
}

/// How long it takes until the condition holds.
async fn wait(mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let since = Instant::now();
    while !condition().await {
        sleep(LOOK).await;
    }
    since.elapsed()
}
