//! Access to previews: public, token and private ports, and one answer for everything else.

use cabana_tests::{Answer, Caller, Sandbox, until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    super::fresh_name,
    Visitor, expose,
    passing::{connect, hear},
    ports, reached, send, with_program,
};

/// The URL with another key, port or sandbox in its label.
fn relabelled(url: &str, old: &str, new: &str) -> String {
    assert!(url.contains(old), "{url} {old}");
    url.replacen(old, new, 1)
}

/// An answer without what names the request.
fn anonymous(answer: &Answer) -> (StatusCode, Value) {
    let mut body = answer.json();
    body["request_id"] = Value::Null;
    (answer.status, body)
}

#[tokio::test]
async fn hidden_and_missing_previews_have_the_same_answer() {
    with_program(async |sandbox| {
        let made = expose(sandbox, json!({ "port": 3000 })).await;
        let (url, token) = (made["url"].as_str().unwrap(), made["token"].as_str().unwrap());
        assert_eq!(Visitor::at(url).get("/").await.status, StatusCode::OK);
        let other = if token.starts_with('a') { "b" } else { "a" };
        let mut answers = Vec::new();
        for wrong in [
            relabelled(url, token, &format!("{other}{}", &token[1..])),
            relabelled(url, token, &token[1..]),
            relabelled(url, token, "public"),
            relabelled(url, "3000-", "3001-"),
            relabelled(url, "3000-", "49983-"),
            relabelled(url, "3000-", "03000-"),
            relabelled(url, "3000-", "0-"),
            relabelled(url, "3000-", "99999-"),
            relabelled(url, "3000-sbx-", "3000-sbx-never-"),
            relabelled(url, "3000-sbx-", "3000-nokind-"),
            relabelled(url, "3000-sbx-", "www-"),
            relabelled(url, "//3000-", "//a.3000-"),
        ] {
            answers.push((wrong.clone(), anonymous(&Visitor::at(&wrong).get("/").await)));
        }
        let gone = expose(sandbox, json!({ "port": 3002, "expires_in_ms": 1 })).await;
        until("it expires", async || ports(sandbox, Method::GET, "/3002", None).await.status == StatusCode::NOT_FOUND).await;
        answers.push(("expired".to_owned(), anonymous(&Visitor::at(gone["url"].as_str().unwrap()).get("/").await)));
        ports(sandbox, Method::DELETE, "/3000", None).await;
        answers.push(("closed".to_owned(), anonymous(&Visitor::at(url).get("/").await)));
        for (what, answer) in &answers {
            assert_eq!((answer.0, answer), (StatusCode::NOT_FOUND, &answers[0].1), "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_preview_host_is_case_insensitive() {
    with_program(async |sandbox| {
        let made = expose(sandbox, json!({ "port": 3000, "token": "abcdefgh" })).await;
        let visitor = Visitor::at(made["url"].as_str().unwrap());
        let (name, port) = visitor.host().split_once(':').unwrap();
        for host in [name.to_uppercase(), format!("{name}."), name.to_owned()] {
            let (service, _) = Sandbox::service();
            let request = visitor.http.get(format!("{service}/told/200")).header("host", format!("{host}:{port}"));
            assert_eq!(send(request).await.bytes, b"told\n", "{host}");
        }
    })
    .await;
}

#[tokio::test]
async fn exposing_again_changes_access_and_token() {
    with_program(async |sandbox| {
        let mut earlier: Vec<Visitor> = Vec::new();
        for request in [
            json!({ "port": 3000 }),
            json!({ "port": 3000, "token": "of0my0own" }),
            json!({ "port": 3000, "access": "public" }),
            json!({ "port": 3000, "access": "token" }),
        ] {
            let visitor = Visitor::of(sandbox, request.clone()).await;
            assert_eq!(visitor.get("/told/200").await.bytes, b"told\n", "{request}");
            for earlier in &earlier {
                assert_eq!(earlier.get("/told/200").await.code(), "not_found", "{} after {request}", earlier.url);
            }
            earlier.push(visitor);
        }
    })
    .await;
}

#[tokio::test]
async fn a_private_port_needs_credentials_of_the_api() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000, "access": "private" })).await;
        let (_, key) = Sandbox::service();
        let bearer = format!("Bearer {key}");
        for (name, value) in [("accept", "*/*"), ("authorization", "Bearer wrong"), ("cookie", "__Host-cabana-preview=wrong")] {
            let answer = send(visitor.request(Method::GET, "/?token=wrong").header(name, value)).await;
            assert_eq!((answer.code().as_str(), answer.header("www-authenticate")), ("unauthorized", Some("Bearer")), "{name}");
        }
        let never = Visitor::at(&relabelled(&visitor.url, "3000-sbx-", "3000-sbx-never-"));
        assert_eq!(never.get("/").await.code(), "unauthorized", "nobody learns what there is");
        assert_eq!(send(never.request(Method::GET, "/").bearer_auth(&key)).await.code(), "not_found");

        let said = send(visitor.request(Method::POST, "/?token=theirs").header("authorization", &bearer)).await.json();
        assert!(!said.to_string().contains(&key) && said["target"] == "/?token=theirs", "{said}");
        let exchanged = visitor.get(&format!("//a%2F?b=c&token={key}&d")).await;
        let location = format!("{}//a%2F?b=c&d", visitor.url);
        assert_eq!((exchanged.status, exchanged.header("location")), (StatusCode::FOUND, Some(location.as_str())));
        let set = exchanged.header("set-cookie").unwrap().to_owned();
        let cookie = format!("__Host-cabana-preview={key}");
        assert_eq!(set, format!("{cookie}; Path=/; Secure; HttpOnly; SameSite=Lax"));

        let request = visitor.request(Method::GET, "/?token=theirs").header("cookie", format!("a=b; {cookie}"));
        let said = send(request.header("authorization", "Bearer theirs")).await.json();
        assert!(!said.to_string().contains(&key) && said["target"] == "/?token=theirs", "{said}");
        assert_eq!((reached(&said, "cookie"), reached(&said, "authorization")), (vec!["a=b"], vec!["Bearer theirs"]));

        let other = "http://3000-sbx-other-public.localhost:8787";
        for (method, origin, expected) in [
            (Method::GET, Some(other), StatusCode::OK),
            (Method::POST, Some(visitor.url.as_str()), StatusCode::OK),
            (Method::POST, None, StatusCode::OK),
            (Method::POST, Some(other), StatusCode::FORBIDDEN),
            (Method::DELETE, Some("null"), StatusCode::FORBIDDEN),
        ] {
            let request = visitor.request(method.clone(), "/").header("cookie", &cookie);
            let answer = send(origin.iter().fold(request, |request, origin| request.header("origin", *origin))).await;
            assert_eq!(answer.status, expected, "{method} {origin:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_websocket_to_a_private_port_needs_credentials() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000, "access": "private" })).await;
        let (_, key) = Sandbox::service();
        let (bearer, cookie) = (format!("Bearer {key}"), format!("__Host-cabana-preview={key}"));
        let (own, query) = (visitor.url.as_str(), format!("/ws?token={key}"));
        for (path, headers) in
            [("/ws", &[("authorization", bearer.as_str())][..]), (&query, &[]), ("/ws", &[("cookie", &cookie), ("origin", own)])]
        {
            let said = hear(&mut connect(&visitor, path, headers).await.unwrap()).await;
            assert!(!said.to_string().contains(&key) && said["target"] == "/ws", "{said}");
        }
        for (path, headers, status) in [
            ("/ws", &[][..], 401),
            ("/ws?token=wrong", &[], 401),
            ("/ws", &[("authorization", "Bearer wrong")], 401),
            ("/ws", &[("cookie", cookie.as_str())], 403),
            ("/ws", &[("cookie", &cookie), ("origin", "http://3000-sbx-other-public.localhost:8787")], 403),
            ("/ws", &[("cookie", &cookie), ("origin", "http://evil.test")], 403),
        ] {
            assert_eq!(connect(&visitor, path, headers).await.err(), Some(status), "{path} {headers:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_private_port_obeys_scopes() {
    let tenant = fresh_name("visited");
    let owner = Caller::of_tenant(&tenant, json!({})).await;
    let stranger = Caller::of_tenant(&fresh_name("visited"), json!({})).await;
    let (route, elsewhere) = (create(&owner).await, create(&owner).await);
    let private = json!({ "port": 3000, "access": "private", "wakes": false });
    let url = owner.post(&format!("{route}/ports"), private).await.json()["url"].as_str().unwrap().to_owned();
    let visitor = Visitor::at(&url);
    let token =
        async |route: &str, body| owner.post(&format!("{route}/tokens"), body).await.json()["token"].as_str().unwrap().to_owned();
    // An admitted visitor is told that the sandbox sleeps.
    let let_in = "container_not_ready";
    for (who, credential, expected) in [
        ("the owner", owner.token.clone().unwrap(), let_in),
        ("the operator", Sandbox::service().1, let_in),
        ("another tenant", stranger.token.clone().unwrap(), "not_found"),
        ("a token", token(&route, json!({})).await, let_in),
        ("one for ports", token(&route, json!({ "operations": ["port"] })).await, let_in),
        ("one for other things", token(&route, json!({ "operations": ["file", "exec"] })).await, "forbidden"),
        ("one that changes nothing", token(&route, json!({ "read_only": true })).await, "forbidden"),
        ("one for another sandbox", token(&elsewhere, json!({})).await, "forbidden"),
    ] {
        let answer = send(visitor.request(Method::GET, "/").bearer_auth(&credential)).await;
        assert_eq!(answer.code(), expected, "{who}");
        let upgrade = connect(&visitor, "/ws", &[("authorization", &format!("Bearer {credential}"))]).await;
        assert_eq!(upgrade.err(), Some(answer.status.as_u16()), "{who}, by a WebSocket");
    }
    let (short, of_key) = (token(&route, json!({ "expires_in_ms": 1_000 })).await, token(&route, json!({})).await);
    until("it ends in time", async || {
        send(visitor.request(Method::GET, "/").bearer_auth(&short)).await.status == StatusCode::UNAUTHORIZED
    })
    .await;
    Caller::operator().delete(&format!("/v1/keys/{}", owner.key_id())).await;
    assert_eq!(send(visitor.request(Method::GET, "/").bearer_auth(&of_key)).await.code(), "unauthorized", "it ends with its key");
    for route in [route, elsewhere] {
        Caller::operator_for(&tenant).delete(&route).await;
    }
}

async fn create(owner: &Caller) -> String {
    format!("/v1/sandboxes/{}", owner.post("/v1/sandboxes", json!({})).await.json()["id"].as_str().unwrap())
}
