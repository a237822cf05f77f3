//! Secrets that are added to requests outside the sandbox, and boxes that try to get at them.

use cabana_tests::Caller;
use data_encoding::BASE64;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    create, fresh_name,
    https_server::{Asked, HttpsServer, Reply},
    lifecycle::Named,
    logs, request,
};

/// A secret of the operator's own tenant, with a value that nothing else has.
struct Secret {
    name: String,
    value: String,
}

impl Secret {
    async fn new(case: &str) -> Self {
        Self::with(case, &format!("token-{}", fresh_name(case))).await
    }

    async fn with(case: &str, value: &str) -> Self {
        let (name, value) = (fresh_name(case), value.to_owned());
        let (status, answer) = put(&name, &value).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        Self { name, value }
    }

    async fn delete(self) {
        assert_eq!(request(Method::DELETE, &format!("/v1/secrets/{}", self.name), None).await.0, StatusCode::NO_CONTENT);
    }
}

async fn put(name: &str, value: &str) -> (StatusCode, Value) {
    request(Method::POST, "/v1/secrets", Some(json!({ "name": name, "value": value }))).await
}

/// Answers with an empty page.
async fn empty(_: Asked) -> Reply {
    (200, Vec::new(), Vec::new())
}

/// A sandbox to whose requests to a host the secret is added, as a bearer's.
async fn sandbox_with(case: &str, host: &str, secret: &Secret) -> Named {
    let rule = json!({ "host": host, "header": "Authorization", "scheme": "bearer", "secret": secret.name });
    Named::new(case, json!({ "network": { "secrets": [rule] } })).await
}

#[tokio::test]
async fn secrets_are_stored_and_shown_without_their_values() {
    let tenant = fresh_name("t");
    let caller = Caller::of_tenant(&tenant, json!({})).await;
    let body = |value: &str, hosts: Value| json!({ "name": "github", "value": value, "hosts": hosts });
    let made = caller.post("/v1/secrets", body("hunter2-hunter2", json!(["github.com"]))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
    let shown = caller.get("/v1/secrets/github").await.json();
    assert_eq!((&shown["name"], &shown["hosts"]), (&json!("github"), &json!(["github.com"])));
    let rotated = caller.post("/v1/secrets", body("hunter3-hunter3", Value::Null)).await;
    assert_eq!((rotated.status, &rotated.json()["hosts"]), (StatusCode::OK, &json!(["github.com"])));
    assert_eq!(rotated.json()["created_at"], shown["created_at"]);
    let listed = caller.get("/v1/secrets?limit=1").await.json();
    assert_eq!(listed["items"], json!([rotated.json()]));
    for said in [made.json(), shown, rotated.json(), listed] {
        assert!(!said.to_string().contains("hunter"), "{said}");
    }
    assert_eq!(Caller::of_tenant(&fresh_name("t"), json!({})).await.get("/v1/secrets/github").await.code(), "not_found");
    let reader = Caller::of_tenant(&tenant, json!({ "read_only": true })).await;
    assert_eq!(reader.post("/v1/secrets", body("hunter4-hunter4", Value::Null)).await.code(), "forbidden");
    for (body, part) in [
        (json!({ "name": "a", "value": "hunter" }), "value"),
        (json!({ "name": "a", "value": "hunter2\r\nX: y" }), "value"),
        (json!({ "name": "A", "value": "hunter2-hunter2" }), "name"),
        (json!({ "name": "a", "value": ["hunter2-hunter2"] }), "value"),
        (json!({ "name": "a", "value": "hunter2-hunter2", "hosts": ["*.a.test"] }), "hosts"),
        (json!({ "name": "a", "valeu": "hunter2-hunter2" }), "valeu"),
    ] {
        let answer = caller.post("/v1/secrets", body).await;
        let message = answer.json()["error"]["message"].to_string();
        assert!(answer.status == StatusCode::BAD_REQUEST && message.contains(part) && !message.contains("hunter"), "{message}");
    }
    assert_eq!(caller.delete("/v1/secrets/github").await.status, StatusCode::NO_CONTENT);
    assert_eq!(caller.get("/v1/secrets/github").await.code(), "not_found");
}

#[tokio::test]
async fn rules_name_secrets_that_the_tenant_has_and_hosts_that_they_may_go_to() {
    let caller = Caller::of_tenant(&fresh_name("t"), json!({})).await;
    let own = json!({ "name": "own", "value": "hunter2-hunter2", "hosts": ["own.cabana.test"] });
    assert_eq!(caller.post("/v1/secrets", own).await.status, StatusCode::CREATED);
    let rule = |host: &str, secret: &str| json!({ "secrets": [{ "host": host, "header": "X-Key", "secret": secret }] });
    for (network, part) in [
        (rule("own.cabana.test", "other"), "network.secrets: \"other\": there is no such secret"),
        (rule("evil.cabana.test", "own"), "network.secrets: \"own\": it may not be sent to evil.cabana.test"),
        (rule("evil.cabana.test", "worker:shared"), "it may not be sent to evil.cabana.test"),
        (rule("own.cabana.test", "worker:other"), "there is no such secret"),
        (rule("*.cabana.test", "own"), "`host`"),
        (rule("own.cabana.test:8443", "own"), "`host`"),
    ] {
        let answer = caller.post("/v1/sandboxes", json!({ "name": fresh_name("secret-bad"), "network": network })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.json());
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(part), "{}", answer.json());
    }
    let name = fresh_name("secret-good");
    let made = caller.post("/v1/sandboxes", json!({ "name": name, "network": rule("own.cabana.test", "own") })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
    let route = format!("/v1/sandboxes/sbx-{name}");
    let change = json!({ "network": rule("own.cabana.test", "other") });
    assert_eq!(caller.ask(Method::PATCH, &route, Some(change)).await.code(), "invalid_request");
    // A token may be in the hands of the program that the rules are for.
    let token = caller.post(&format!("{route}/tokens"), json!({})).await.json();
    let program = Caller::with(token["token"].as_str().unwrap());
    let change = json!({ "network": null });
    assert_eq!(program.ask(Method::PATCH, &route, Some(change)).await.code(), "forbidden");
    caller.delete(&route).await;
}

#[tokio::test]
async fn a_secret_is_added_outside_to_its_host_method_and_path_alone() {
    let Some(server) = HttpsServer::start(empty).await else { return };
    let Some(other) = HttpsServer::start(empty).await else { return };
    let secret = Secret::new("secret").await;
    let rule = json!({
        "host": server.name, "methods": ["GET"], "paths": ["/allowed/*"],
        "header": "Authorization", "scheme": "bearer", "secret": secret.name,
    });
    let key = json!({ "host": server.name, "header": "X-Api-Key", "secret": secret.name });
    let sandbox = Named::new("secret", json!({ "network": { "secrets": [rule, key] } })).await;
    let (host, elsewhere) = (&server.name, &other.name);
    sandbox
        .print(&format!(
            "set -e; c() {{ curl -fsS -o /dev/null \"$@\"; }}
            c -H 'Authorization: Bearer placeholder' https://{host}/allowed/placeholder
            c https://{host}/allowed/nothing?a=b
            c -H 'Authorization: Bearer placeholder' -X POST https://{host}/allowed/post
            c -H 'Authorization: Bearer placeholder' https://{host}/denied
            c -H 'Authorization: Bearer placeholder' https://{elsewhere}/allowed/elsewhere"
        ))
        .await;
    let bearer = format!("Bearer {}", secret.value);
    let asked = server.asked();
    for (path, authorization) in [
        ("/allowed/placeholder", &bearer[..]),
        ("/allowed/nothing?a=b", &bearer),
        ("/allowed/post", "Bearer placeholder"),
        ("/denied", "Bearer placeholder"),
    ] {
        let request = asked.iter().find(|asked| asked.path == path).unwrap_or_else(|| panic!("{path}: {asked:?}"));
        assert_eq!(request.header("authorization"), [authorization], "{path}");
        assert_eq!(request.header("x-api-key"), [&secret.value[..]], "{path}");
    }
    assert_eq!(other.asked().len(), 1);
    assert!(!format!("{:?}", other.asked()).contains(&secret.value), "{:?}", other.asked());
    sandbox.end().await;
    secret.delete().await;
}

#[tokio::test]
async fn a_rotated_secret_is_used_and_a_deleted_one_fails_closed_in_a_sandbox_that_runs() {
    let Some(server) = HttpsServer::start(empty).await else { return };
    let secret = Secret::new("secret-rotate").await;
    let sandbox = sandbox_with("secret-rotate", &server.name, &secret).await;
    let status = async || {
        let ask = format!("curl -sS -o /dev/null -w '%{{http_code}} %header{{cabana-network-secret}}' https://{}/", server.name);
        sandbox.print(&ask).await
    };
    assert_eq!(status().await, "200 ");
    let new = format!("{}-new", secret.value);
    assert_eq!(put(&secret.name, &new).await.0, StatusCode::OK);
    cabana_tests::until("the new value is sent", async || {
        status().await == "200 " && server.asked().last().unwrap().header("authorization") == [format!("Bearer {new}")]
    })
    .await;
    let name = secret.name.clone();
    secret.delete().await;
    let denied = format!("502 {name}");
    cabana_tests::until("the secret is gone", async || status().await == denied).await;
    let count = server.asked().len();
    assert_eq!((status().await, server.asked().len()), (denied, count), "the request is not sent without it");
    assert_eq!(sandbox.show().await["starts"], 1);
    sandbox.end().await;
}

/// Repeats the request in every form in which servers do, the body cut anywhere.
async fn echo(asked: Asked) -> Reply {
    let said = asked.header("authorization").join(" ");
    let token = said.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = format!(
        "{said}\n{token}\n{}\n{}\n{:?}\n{}",
        BASE64.encode(token.as_bytes()),
        token.replace(':', "%3A"),
        asked.headers,
        "x".repeat(100_000),
    );
    let headers = vec![
        ("x-echo", said.clone()),
        ("set-cookie", format!("a={token}")),
        ("location", format!("/{token}")),
        ("content-type", "text/plain".to_owned()),
    ];
    // A part, as it was asked for, may end in the middle of the secret.
    let range = asked.header("range").first().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let range = range.and_then(|(first, last)| Some((first.parse().ok()?, last.parse::<usize>().ok()?)));
    match range {
        Some((first, last)) => (206, headers, body.as_bytes()[first..=last].to_vec()),
        None => (200, headers, body.into_bytes()),
    }
}

#[tokio::test]
async fn a_server_that_repeats_the_request_tells_the_sandbox_no_secret() {
    let Some(server) = HttpsServer::start(echo).await else { return };
    let secret = Secret::new("secret-echo").await;
    let sandbox = sandbox_with("secret-echo", &server.name, &secret).await;
    let url = format!("https://{}/", server.name);
    let mut said = String::new();
    for arguments in
        ["", "-r 0-12", "-r 9-30", "--compressed", "-H 'Accept-Encoding: gzip'", "-H 'TE: trailers'", "-X POST -d x", "-I"]
    {
        said += &sandbox.print(&format!("curl -sS -i {arguments} {url} | head -c 2000")).await;
    }
    assert!(said.contains("200") && said.contains("Bearer *****"), "{said}");
    assert!(!server.asked().is_empty());
    for asked in server.asked() {
        assert_eq!(asked.header("authorization"), [format!("Bearer {}", secret.value)], "the server does get it");
    }
    for form in [secret.value.clone(), BASE64.encode(secret.value.as_bytes()), secret.value[..secret.value.len() - 1].to_owned()]
    {
        assert!(!said.contains(&form), "{said}");
    }
    // The length is as announced, and all of it comes.
    let length = sandbox.print(&format!("curl -fsS {url} | wc -c")).await;
    assert!(length.trim().parse::<usize>().unwrap() > 100_000, "{length}");
    sandbox.end().await;
    secret.delete().await;
}

#[tokio::test]
async fn a_redirect_takes_no_secret_along() {
    let Some(other) = HttpsServer::start(empty).await else { return };
    let target = format!("https://{}/taken", other.name);
    let Some(server) = HttpsServer::start(move |_| {
        let location = ("location", target.clone());
        async move { (302, vec![location], Vec::new()) }
    })
    .await
    else {
        return;
    };
    let secret = Secret::new("secret-redirect").await;
    let sandbox = sandbox_with("secret-redirect", &server.name, &secret).await;
    let ask = format!("curl -sS -o /dev/null -w '%{{http_code}} %{{num_redirects}}' --location-trusted https://{}/", server.name);
    assert_eq!(sandbox.print(&ask).await, "200 1", "the sandbox follows it itself");
    assert!(!format!("{:?}", other.asked()).contains(&secret.value), "{:?}", other.asked());
    assert_eq!(other.asked()[0].path, "/taken");
    sandbox.end().await;
    secret.delete().await;
}

/// Boxes that try each form of a host, of a header and of a name, to have the secret sent to a server of their own, or back.
#[tokio::test]
async fn no_form_of_host_header_or_name_gets_the_secret_elsewhere() {
    let Some(server) = HttpsServer::start(empty).await else { return };
    let Some(evil) = HttpsServer::start(empty).await else { return };
    let secret = Secret::new("secret-forms").await;
    let sandbox = sandbox_with("secret-forms", &server.name, &secret).await;
    let (host, other) = (&server.name, &evil.name);
    let upper = host.to_uppercase();
    for arguments in [
        // The name in one place and another name in the next.
        format!("-H 'Host: {other}' https://{host}/"),
        format!("-H 'Host: {host}' https://{other}/"),
        format!("-H 'Host: {host}:8443' https://{host}/"),
        format!("-H 'Host: {host}@{other}' https://{host}/"),
        format!("-H 'Host: {other}#{host}' https://{host}/"),
        format!("-H 'Host: {other}/{host}' https://{host}/"),
        format!("-H 'Host: {host}.' https://{other}/"),
        format!("--request-target https://{other}/ https://{host}/"),
        format!("--request-target //{other}/ https://{host}/"),
        format!("--request-target @{other}/ https://{host}/"),
        format!("-H 'X-Forwarded-Host: {host}' -H 'Forwarded: host={host};proto=https' https://{other}/"),
        format!("https://{host}@{other}/"),
        format!("https://{host}.{other}/"),
        format!("https://{other}/https://{host}/"),
        format!("https://a.{host}/"),
        format!("http://{host}/"),
        format!("-H 'X-Forwarded-Proto: https' http://{host}/"),
        format!("--request-target https://{host}/ http://{other}/"),
        // The name means another address in the box.
        format!("--connect-to {host}:443:{other}:443 -H 'Host: {other}' https://{host}/"),
        format!("--resolve {other}:443:192.0.2.9 -H 'Host: {host}' https://{other}/"),
        // Headers that would be taken for the connection's, or twice.
        format!("-H 'Connection: authorization' https://{host}/"),
        format!("-H 'Authorization: a' -H 'authorization: b' -H 'AUTHORIZATION: c' https://{host}/"),
        format!("-H 'Authorization : a' https://{host}/"),
        format!("-H 'Transfer-Encoding: chunked' -H 'Content-Length: 4' -d 'GET /' https://{host}/"),
        format!("-X TRACE https://{host}/"),
        format!("-X CONNECT https://{host}/"),
        format!("--http2 https://{upper}./"),
        format!(
            "-H 'Upgrade: websocket' -H 'Connection: Upgrade' -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' https://{host}/"
        ),
        format!("-H 'Upgrade: h2c' -H 'Connection: Upgrade, HTTP2-Settings' -H 'HTTP2-Settings: AA' https://{host}/"),
    ] {
        let said = sandbox.run(&format!("curl -skgi -m 60 --path-as-is {arguments}")).await.1;
        assert!(!said.to_string().contains(&secret.value), "{arguments}: {said}");
    }
    for asked in evil.asked() {
        assert!(!format!("{asked:?}").contains(&secret.value), "{asked:?}");
    }
    let bearer = format!("Bearer {}", secret.value);
    for asked in server.asked() {
        let came = asked.header("authorization");
        assert!(came.len() <= 1 && came.iter().all(|value| *value == bearer), "{asked:?}");
        assert!(came.is_empty() || !["TRACE", "CONNECT"].contains(&asked.method.as_str()), "{asked:?}");
    }
    assert!(server.asked().iter().any(|asked| asked.header("authorization") == [&bearer[..]]), "{:?}", server.asked());
    sandbox.end().await;
    secret.delete().await;
}

#[tokio::test]
async fn a_secret_is_nowhere_in_the_sandbox_its_record_its_trail_and_the_logs() {
    let Some(server) = HttpsServer::start(echo).await else { return };
    let secret = Secret::new("secret-nowhere").await;
    let sandbox = sandbox_with("secret-nowhere", &server.name, &secret).await;
    sandbox
        .print(&format!(
            "touch before; curl -fsS https://{}/ -D headers -o body; mkdir -p cache; cp headers body cache",
            server.name
        ))
        .await;
    assert!(!server.asked().is_empty());
    // The pattern is put together in the shell, and read from a file, so that the search does not find itself.
    let (first, second) = secret.value.split_at(8);
    let search = format!(
        "printf %s%s {first} {second} > pattern; env | grep -cFf pattern; \
         cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -cFf pattern; \
         find . ~ /tmp /var/lib/cabana -xdev -maxdepth 3 -newer before -type f ! -name pattern -exec grep -lFf pattern {{}} + 2>/dev/null | wc -l"
    );
    let (_, found) = sandbox.run(&search).await;
    assert_eq!(found["stdout"], "0\n0\n0\n", "{found}");
    let mut shown = sandbox.show().await.to_string();
    for route in ["/audit", "/events", "/env", "/metrics"] {
        shown += &sandbox.call(Method::GET, route, None).await.1.to_string();
    }
    assert!(shown.contains(&secret.name) && !shown.contains(&secret.value), "{shown}");
    let directory = logs::directory().unwrap();
    for log in ["wrangler.log", "engine.log"] {
        let log = std::fs::read_to_string(directory.join(log)).unwrap();
        assert!(!log.contains(&secret.value), "a log has it");
    }
    // At rest, in the databases of the run, it is sealed. Pages that are not written yet are in the files beside them.
    let (mut pending, mut files) = (vec![directory.join("state")], 0);
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = std::fs::read(&path) {
            files += 1;
            let found = bytes.windows(secret.value.len()).any(|window| window == secret.value.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    assert!(files > 0);
    sandbox.end().await;
    secret.delete().await;
}

#[tokio::test]
async fn a_secret_of_the_operators_goes_to_its_host_alone() {
    let Some(server) = HttpsServer::start_as(63, empty).await else { return };
    let rule = json!({ "host": server.name, "header": "X-Key", "secret": "worker:shared" });
    let sandbox = Named::new("secret-shared", json!({ "network": { "allow": [server.name], "secrets": [rule] } })).await;
    sandbox.print(&format!("curl -fsS https://{}/", server.name)).await;
    assert_eq!(server.asked()[0].header("x-key"), ["shared-token-of-the-operator"]);
    sandbox.end().await;
}

#[tokio::test]
async fn rules_that_contradict_each_other_are_refused() {
    let secret = Secret::new("secret-twice").await;
    let rule = json!({ "host": "a.cabana.test", "header": "X-Key", "secret": secret.name });
    for (network, part) in [
        (json!({ "secrets": [rule, rule] }), "set the header \"X-Key\" of the same requests"),
        (json!({ "internet": false, "secrets": [rule] }), "network.internet is false"),
        (json!({ "secrets": vec![rule.clone(); 17] }), "network.secrets has 17 entries"),
    ] {
        let (status, answer) = create(json!({ "name": fresh_name("secret-twice"), "network": network })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(part), "{answer}");
    }
    secret.delete().await;
}
