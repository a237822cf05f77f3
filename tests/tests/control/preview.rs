//! Exposed ports: their records, their URLs, and their traffic.

mod access;
mod connections;
mod hostile;
pub(crate) mod hot_reload;
mod passing;

pub(super) use hot_reload::chromium;

use cabana_tests::{Answer, Sandbox, in_created_sandbox, in_sandbox, until};
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};
use serde_json::{Value, json};

use super::{create, lifecycle::Named, state};

/// A sandbox in which [`PROGRAM`] listens on port 3000.
async fn with_program(case: impl AsyncFnOnce(&Sandbox)) {
    in_sandbox(async |sandbox| {
        start_program(sandbox).await;
        case(sandbox).await;
    })
    .await;
}

async fn start_program(sandbox: &Sandbox) {
    sandbox.put("program.py", include_str!("preview/program.py")).await.success();
    sandbox.exec(json!({ "command": ["python3", "program.py", "3000"], "detach": true, "name": "program" })).await;
    let up = json!({ "process": "program", "until": { "port": 3000 }, "timeout_ms": 30_000 });
    assert_eq!(sandbox.post("process.wait", up).await.json()["type"], "listening");
}

/// What a port is exposed as, of a request that must succeed.
async fn expose(sandbox: &Sandbox, request: Value) -> Value {
    let answer = ports(sandbox, Method::POST, "", Some(request)).await;
    assert!(answer.status.is_success(), "{}", answer.json());
    answer.json()
}

async fn ports(sandbox: &Sandbox, method: Method, rest: &str, body: Option<Value>) -> Answer {
    let request = sandbox.request(method, &format!("/ports{rest}"));
    sandbox.send(body.iter().fold(request, |request, body| request.json(body))).await
}

/// A client without credentials at the URL of a preview.
struct Visitor {
    http: Client,
    url: String,
}

impl Visitor {
    fn at(url: &str) -> Self {
        let parsed = reqwest::Url::parse(url).unwrap();
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none());
        // Not every resolver knows that names below localhost are this machine.
        let address = ([127, 0, 0, 1], parsed.port_or_known_default().unwrap());
        let client = match parsed.host_str().unwrap() {
            host if host.ends_with(".localhost") => client.resolve(host, address.into()),
            _ => client,
        };
        Self { http: client.build().unwrap(), url: url.trim_end_matches('/').to_owned() }
    }

    async fn of(sandbox: &Sandbox, request: Value) -> Self {
        Self::at(expose(sandbox, request).await["url"].as_str().unwrap())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    fn host(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }
}

async fn send(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.unwrap()).await
}

/// A header that has reached the program.
fn reached<'a>(said: &'a Value, name: &str) -> Vec<&'a str> {
    let fields = said["headers"].as_array().unwrap().iter().filter(|field| field[0] == name);
    fields.map(|field| field[1].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_port_is_exposed_listed_and_closed() {
    in_created_sandbox(async |sandbox| {
        let id = sandbox.url("").rsplit('/').next().unwrap().to_owned();
        let first = ports(sandbox, Method::POST, "", Some(json!({ "port": 3000, "name": "web" }))).await;
        assert_eq!(first.status, StatusCode::CREATED);
        let made = first.json();
        let token = made["token"].as_str().unwrap();
        assert!(token.len() >= 16 && made["url"].as_str().unwrap().contains(&format!("//3000-{id}-{token}.")), "{made}");
        assert_eq!(
            (&made["access"], &made["wakes"], &made["name"], &made["path"]),
            (&json!("token"), &json!(true), &json!("web"), &json!(format!("/v1/sandboxes/{id}/ports/3000/proxy/")))
        );
        let again = ports(sandbox, Method::POST, "", Some(json!({ "port": 3000 }))).await;
        assert_eq!((again.status, again.json()), (StatusCode::OK, made.clone()), "asking again changes nothing");
        let other = expose(sandbox, json!({ "port": 80, "access": "public", "expires_in_ms": 60_000 })).await;
        assert!(other["url"].as_str().unwrap().contains(&format!("//80-{id}-public.")), "{other}");
        assert!(other["token"].is_null() && other["expires_at"].is_string() && other["wakes"] == false, "{other}");
        assert_eq!(ports(sandbox, Method::GET, "", None).await.json(), json!({ "items": [&other, &made] }));
        assert_eq!(ports(sandbox, Method::GET, "/80", None).await.json(), other);
        for _ in 0..2 {
            assert_eq!(ports(sandbox, Method::DELETE, "/80", None).await.status, StatusCode::NO_CONTENT);
            assert_eq!(ports(sandbox, Method::GET, "/80", None).await.code(), "not_found");
        }
        assert_eq!(ports(sandbox, Method::GET, "", None).await.json(), json!({ "items": [&made] }));
        assert_eq!(state(&id).await, "created", "none of it has woken the sandbox");
    })
    .await;
}

#[tokio::test]
async fn malformed_port_requests_are_refused() {
    in_sandbox(async |sandbox| {
        for request in [
            json!({}),
            json!({ "port": 0 }),
            json!({ "port": 49983 }),
            json!({ "port": 49984 }),
            json!({ "port": 49991 }),
            json!({ "port": 99999 }),
            json!({ "port": "3000" }),
            json!({ "port": 3000, "access": "secret" }),
            json!({ "port": 3000, "token": "short" }),
            json!({ "port": 3000, "token": "with_underscore" }),
            json!({ "port": 3000, "token": "a".repeat(60) }),
            json!({ "port": 3000, "token": "abcdefgh", "access": "public" }),
            json!({ "port": 3000, "expires_in_ms": 0 }),
            json!({ "port": 3000, "name": "" }),
        ] {
            assert_eq!(ports(sandbox, Method::POST, "", Some(request.clone())).await.code(), "invalid_request", "{request}");
        }
        for (method, rest, expected) in [
            (Method::GET, "/3000", "not_found"),
            (Method::GET, "/0", "invalid_request"),
            (Method::GET, "/03000", "invalid_request"),
            (Method::GET, "/49983", "invalid_request"),
            (Method::GET, "/49983/proxy/", "invalid_request"),
            (Method::GET, "/3000/elsewhere", "not_found"),
            (Method::PUT, "", "method_not_allowed"),
            (Method::POST, "/3000", "method_not_allowed"),
        ] {
            assert_eq!(ports(sandbox, method.clone(), rest, None).await.code(), expected, "{method} {rest}");
        }
        for port in 1..=64 {
            expose(sandbox, json!({ "port": port })).await;
        }
        assert_eq!(ports(sandbox, Method::POST, "", Some(json!({ "port": 65 }))).await.code(), "conflict");
        expose(sandbox, json!({ "port": 64 })).await;
    })
    .await;
}

#[tokio::test]
async fn a_preview_url_survives_restarts_and_ends_with_the_sandbox() {
    let sandbox = Named::new("ports", json!({})).await;
    let post = async |sandbox: &Named| {
        let (_, port) = sandbox.call(Method::POST, "/ports", Some(json!({ "port": 3000 }))).await;
        port["url"].as_str().unwrap().to_owned()
    };
    let serve = "python3 -m http.server --directory /tmp 3000 > /dev/null 2>&1 & until echo > /dev/tcp/localhost/3000; do sleep 0.05; done";
    let started = async || {
        let exec = json!({ "command": serve, "detach": true });
        sandbox.call(Method::POST, "/exec", Some(exec)).await.0 == StatusCode::OK
    };
    let url = post(&sandbox).await;
    let visitor = Visitor::at(&url);
    assert!(started().await);
    until("the program is visited", async || visitor.get("/").await.status == StatusCode::OK).await;
    sandbox.run("kill -TERM 1; sleep 30").await;
    let waiting = visitor.get("/").await;
    assert_eq!(waiting.code(), "container_not_ready");
    assert!(waiting.header("retry-after").is_some());
    until("the sandbox takes commands again", started).await;
    until("the program is visited again", async || visitor.get("/").await.status == StatusCode::OK).await;
    assert_eq!(post(&sandbox).await, url, "the URL is the same");
    let name = sandbox.id.strip_prefix("sbx-").unwrap().to_owned();
    sandbox.end().await;
    assert_eq!(visitor.get("/").await.code(), "not_found");
    let next = Named::of(create(json!({ "name": name })).await.1["id"].as_str().unwrap());
    assert_eq!(visitor.get("/").await.code(), "not_found", "a sandbox of the same name is another");
    assert_ne!(post(&next).await, url);
    next.end().await;
}

#[tokio::test]
async fn wakes_decides_whether_a_visit_wakes_the_sandbox() {
    in_created_sandbox(async |sandbox| {
        let id = sandbox.url("").rsplit('/').next().unwrap().to_owned();
        let asleep = Visitor::of(sandbox, json!({ "port": 3000, "wakes": false })).await;
        let answer = asleep.get("/").await;
        assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("container_not_ready", Some("1")));
        assert_eq!(state(&id).await, "created");
        let answer = Visitor::of(sandbox, json!({ "port": 3000, "wakes": true })).await.get("/").await;
        assert_eq!(answer.code(), "container_not_ready", "nothing listens");
        assert_eq!(state(&id).await, "running");
    })
    .await;
}

#[tokio::test]
async fn a_visit_keeps_the_sandbox_awake_until_it_ends() {
    with_program(async |sandbox| {
        let id = sandbox.url("").rsplit('/').next().unwrap().to_owned();
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        let mut response = visitor.request(Method::GET, "/forever").send().await.unwrap();
        sandbox.send(sandbox.request(Method::PATCH, "").json(&json!({ "sleep_after_ms": 1_000 }))).await.success();
        // The program speaks 50 times a second: for three times as long as the sandbox may be idle.
        let mut events = 0;
        while events < 150 {
            events += response.chunk().await.unwrap().unwrap().iter().filter(|byte| **byte == b':').count();
        }
        assert_eq!(state(&id).await, "running");
        drop(response);
        until("it sleeps", async || state(&id).await == "sleeping").await;
        assert_eq!(visitor.get("/").await.code(), "container_not_ready", "a visit wakes it, and the program is gone");
        assert_eq!(state(&id).await, "running");
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_about_to_listen_is_waited_for() {
    in_sandbox(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        sandbox.put("program.py", include_str!("preview/program.py")).await.success();
        let late = json!({ "command": "sleep 0.4; exec python3 program.py 3000", "detach": true, "name": "late" });
        sandbox.exec(late).await;
        // On a busy machine the program may take longer than a visit waits; each visit says so, and the next one comes in the end.
        until("a visit meets the program", async || {
            let answer = visitor.get("/").await;
            answer.status == StatusCode::OK || answer.code() != "container_not_ready"
        })
        .await;
        assert_eq!(visitor.get("/").await.header("x-program"), Some("yes"));
    })
    .await;
}

#[tokio::test]
async fn a_program_that_listens_on_one_loopback_address_alone_is_reached() {
    in_sandbox(async |sandbox| {
        sandbox.put("index.html", "here\n").await.success();
        for (port, address) in [(3004, "127.0.0.1"), (3006, "::1")] {
            let visitor = Visitor::of(sandbox, json!({ "port": port })).await;
            let command = format!("exec python3 -m http.server {port} --bind {address}");
            sandbox.exec(json!({ "command": command, "detach": true, "name": format!("web-{port}") })).await;
            let listens = json!({ "process": format!("web-{port}"), "until": { "port": port }, "timeout_ms": 60_000 });
            assert_eq!(sandbox.post("process.wait", listens).await.json()["type"], "listening", "{address}");
            assert_eq!(visitor.get("/").await.bytes, b"here\n", "{address}");
            let by_path = ports(sandbox, Method::GET, &format!("/{port}/proxy/"), None).await;
            assert_eq!(by_path.bytes, b"here\n", "{address}");
        }
    })
    .await;
}

#[tokio::test]
async fn each_port_has_a_token_of_its_own() {
    in_sandbox(async |sandbox| {
        expose(sandbox, json!({ "port": 9871, "token": "abcdefgh" })).await;
        let other = ports(sandbox, Method::POST, "", Some(json!({ "port": 9872, "token": "abcdefgh" }))).await;
        assert_eq!(other.code(), "conflict");
        let details = &other.json()["error"]["details"];
        assert_eq!((&details["reason"], &details["port"]), (&json!("token_in_use"), &json!(9871)));
        expose(sandbox, json!({ "port": 9871, "token": "abcdefgh" })).await;
        assert_eq!(ports(sandbox, Method::DELETE, "/9871", None).await.status, StatusCode::NO_CONTENT);
        expose(sandbox, json!({ "port": 9872, "token": "abcdefgh" })).await;
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_port_answers_html_or_json_as_asked() {
    in_sandbox(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        for (accept, kind) in [
            ("*/*", "application/json"),
            ("application/json", "application/json"),
            ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ] {
            let path = "/%3Cscript%3Ealert(1)%3C/script%3E?<script>";
            let answer = send(visitor.request(Method::GET, path).header("accept", accept)).await;
            assert_eq!((answer.status, answer.header("content-type")), (StatusCode::SERVICE_UNAVAILABLE, Some(kind)), "{accept}");
            assert_eq!((answer.header("x-content-type-options"), answer.header("retry-after")), (Some("nosniff"), Some("1")));
            let body = String::from_utf8(answer.bytes).unwrap();
            assert!(body.contains("nothing listens") && !body.contains("script") && !body.contains("3000"), "{body}");
            assert_eq!(
                body.contains("http-equiv=\"refresh\""),
                kind.starts_with("text/html"),
                "the page comes again by itself: {body}"
            );
            assert_eq!(body.contains("no_listener"), kind == "application/json", "{body}");
        }
        let answer = ports(sandbox, Method::GET, "/3000/proxy/", None).await;
        assert_eq!(answer.code(), "container_not_ready", "by path too");
    })
    .await;
}
