//! Connect tokens.

use cabana_tests::{Caller, Sandbox, Socket};
use serde_json::{Value, json};

use super::super::fresh_name;

/// A sandbox of a fresh tenant, whose caller this is, and its route.
async fn owned() -> (Caller, String) {
    owned_by(&fresh_name("tokens")).await
}

async fn owned_by(tenant: &str) -> (Caller, String) {
    let owner = Caller::of_tenant(tenant, json!({})).await;
    let made = owner.post("/v1/sandboxes", json!({})).await.json();
    (owner, format!("/v1/sandboxes/{}", made["id"].as_str().unwrap()))
}

async fn token(maker: &Caller, sandbox: &str, body: Value) -> Caller {
    let answer = maker.post(&format!("{sandbox}/tokens"), body).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    Caller::with(answer.json()["token"].as_str().unwrap())
}

#[tokio::test]
async fn a_token_is_accepted_for_its_sandbox_only() {
    let (owner, sandbox) = owned().await;
    let guest = token(&owner, &sandbox, json!({})).await;
    assert_eq!(guest.get(&sandbox).await.status, 200);
    assert_eq!(guest.post(&format!("{sandbox}/exec"), json!({ "command": "echo hi" })).await.json()["stdout"], "hi\n");
    let (url, token) = (format!("{}{sandbox}/connect", Sandbox::service().0), guest.token.clone().unwrap());
    for (query, header) in [
        (String::new(), ("authorization", format!("Bearer {token}"))),
        (format!("?token={token}"), ("x-nothing", String::new())),
        (String::new(), ("sec-websocket-protocol", format!("cabana.token.{token}"))),
    ] {
        let mut socket = Socket::open(&format!("{url}{query}"), &[header]).await.unwrap();
        assert_eq!(socket.next().await["type"], "ready");
    }
    let elsewhere = owner.post("/v1/sandboxes", json!({})).await.json()["id"].as_str().unwrap().to_owned();
    for route in [format!("/v1/sandboxes/{elsewhere}"), "/v1/sandboxes/sbx-never-made".to_owned(), "/v1/keys".to_owned()] {
        assert_eq!(guest.get(&route).await.code(), "forbidden", "{route}");
    }
    assert_eq!(guest.post("/v1/sandboxes", json!({})).await.code(), "forbidden");
    assert_eq!(guest.post(&format!("{sandbox}/tokens"), json!({})).await.code(), "forbidden", "it makes none in turn");
    owner.delete(&sandbox).await;
    owner.delete(&format!("/v1/sandboxes/{elsewhere}")).await;
}

#[tokio::test]
async fn an_event_source_brings_its_token_in_the_query() {
    let (owner, sandbox) = owned().await;
    let token = token(&owner, &sandbox, json!({ "read_only": true })).await.token.unwrap();
    let get = async |accept: &str, query: String| {
        let url = format!("{}{sandbox}/events?{query}", Sandbox::service().0);
        reqwest::Client::new().get(url).header("accept", accept).send().await.unwrap().status().as_u16()
    };
    for (accept, query, status) in [
        ("text/event-stream", format!("token={token}"), 200),
        ("text/event-stream", "token=wrong".to_owned(), 401),
        ("application/json", format!("token={token}"), 401),
    ] {
        assert_eq!(get(accept, query).await, status, "{accept}");
    }
    owner.delete(&sandbox).await;
}

#[tokio::test]
async fn a_token_has_no_more_scopes_than_its_maker() {
    let (owner, sandbox) = owned().await;
    let reader = token(&owner, &sandbox, json!({ "operations": ["file", "sandbox"], "read_only": true })).await;
    for (route, code) in [("/exec", "forbidden"), ("/file/write", "forbidden"), ("/process/list", "forbidden")] {
        assert_eq!(reader.post(&format!("{sandbox}{route}"), json!({})).await.code(), code, "{route}");
    }
    assert_eq!(reader.get(&sandbox).await.status, 200);
    assert_eq!(reader.delete(&sandbox).await.code(), "forbidden");
    for body in [json!({ "operations": ["key"] }), json!({ "operations": ["file", "key.create"] })] {
        assert_eq!(owner.post(&format!("{sandbox}/tokens"), body.clone()).await.code(), "forbidden", "{body}");
    }
    for body in
        [json!({ "expires_in_ms": 0 }), json!({ "expires_in_ms": 86_400_001 }), json!({ "operations": "file" }), json!([])]
    {
        assert_eq!(owner.post(&format!("{sandbox}/tokens"), body.clone()).await.code(), "invalid_request", "{body}");
    }
    owner.delete(&sandbox).await;
}

#[tokio::test]
async fn a_token_is_refused_when_its_key_is_revoked() {
    let tenant = fresh_name("tokens");
    let (owner, sandbox) = owned_by(&tenant).await;
    let guest = token(&owner, &sandbox, json!({})).await;
    assert_eq!(guest.get(&sandbox).await.status, 200);
    Caller::operator().delete(&format!("/v1/keys/{}", owner.key_id())).await;
    assert_eq!(guest.get(&sandbox).await.code(), "unauthorized");
    Caller::operator_for(&tenant).delete(&sandbox).await;
}

#[tokio::test]
async fn an_operators_token_acts_for_the_sandboxes_tenant() {
    let tenant = fresh_name("tokens");
    let (owner, sandbox) = owned_by(&tenant).await;
    let operator = Caller::operator();
    assert_eq!(operator.post(&format!("{sandbox}/tokens"), json!({})).await.code(), "not_found", "it names no tenant");
    let guest = token(&Caller::operator_for(&tenant), &sandbox, json!({})).await;
    assert_eq!(guest.get(&sandbox).await.status, 200);
    owner.delete(&sandbox).await;
    let name = sandbox.rsplit_once('-').unwrap().1;
    let other = Caller::of_tenant(&fresh_name("next"), json!({})).await;
    assert_eq!(other.post("/v1/sandboxes", json!({ "name": name })).await.status, 201);
    assert_eq!(guest.get(&sandbox).await.code(), "not_found", "the next sandbox of this name is another tenant's");
    other.delete(&sandbox).await;
}

#[tokio::test]
async fn altered_tokens_are_refused() {
    let (owner, sandbox) = owned().await;
    let guest = token(&owner, &sandbox, json!({})).await.token.unwrap();
    let (message, signature) = guest.rsplit_once('.').unwrap();
    for altered in [
        guest.trim_start_matches("cabt_").to_owned(),
        format!("cabt_{guest}"),
        message.to_owned(),
        format!("{message}."),
        format!("{message}.{}", signature.to_lowercase()),
        format!("{}A.{signature}", &message[..message.len() - 1]),
        "cabt_".to_owned(),
        "cabt_eyJhbGciOiJub25lIn0.e30.".to_owned(),
    ] {
        assert_eq!(Caller::with(&altered).get(&sandbox).await.code(), "unauthorized", "{altered}");
    }
    owner.delete(&sandbox).await;
}
