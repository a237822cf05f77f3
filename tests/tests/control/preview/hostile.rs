//! Forged hosts, request targets and origins.

use cabana_tests::{Caller, Sandbox, http1};
use reqwest::{Client, Method};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{Visitor, expose, reached, send, with_program};

/// The answer to these bytes.
async fn raw(bytes: &str) -> String {
    let mut stream = http1::dial(&Caller::nobody().anonymous(Method::GET, "/").build().unwrap()).await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    http1::read_until(&mut stream, &[]).await
}

#[tokio::test]
async fn the_host_alone_selects_api_or_preview() {
    with_program(async |sandbox| {
        let made = expose(sandbox, json!({ "port": 3000 })).await;
        let visitor = Visitor::at(made["url"].as_str().unwrap());
        let (service, key) = Sandbox::service();
        let (label, rest) = visitor.host().split_once('.').unwrap();
        let (_, port) = rest.split_once(':').unwrap();
        // A preview's host serves nothing of the API, with any credentials.
        for path in ["/health", "/v1/sandboxes", "/v1/openapi.json"] {
            let said = send(visitor.request(Method::GET, path).bearer_auth(&key)).await;
            assert_eq!(said.header("x-program"), Some("yes"), "{path}");
        }
        // Other hosts serve nothing of a preview, and unknown names nothing at all.
        for (host, expected) in [
            (format!("{label}.evil.com"), "forbidden"),
            (format!("{label}.evil.com:{port}"), "forbidden"),
            (format!("{label}.localhost.evil.com"), "forbidden"),
            ("evil.test".to_owned(), "forbidden"),
            ("169.254.169.254".to_owned(), "forbidden"),
            (format!("foo.localhost:{port}"), "not_found"),
        ] {
            for path in ["/health", "/v1/sandboxes", "/"] {
                let request = Client::new().get(format!("{service}{path}")).bearer_auth(&key).header("host", &host);
                assert_eq!(send(request).await.code(), expected, "{host} {path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn request_targets_cannot_change_the_dialed_port() {
    with_program(async |sandbox| {
        let made = expose(sandbox, json!({ "port": 3000 })).await;
        let visitor = Visitor::at(made["url"].as_str().unwrap());
        let host = visitor.host();
        // The target of a request names another machine, the host's field the preview, and the other way round.
        let told = raw(&format!("GET http://169.254.169.254/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(told.starts_with("HTTP/1.1 4") || told.contains(&format!("[\"host\", \"{host}\"]")), "{told}");
        let told = raw(&format!("GET http://{host}/ HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n")).await;
        assert!(told.starts_with("HTTP/1.1 4") || told.contains(&format!("[\"host\", \"{host}\"]")), "{told}");
        // A line break in the path or a header begins no second request.
        let said = visitor.get("/%0d%0aHost:%20evil/%0d%0a%0d%0aGET%20/").await.json();
        assert_eq!(said["target"], "/%0d%0aHost:%20evil/%0d%0a%0d%0aGET%20/");
        assert_eq!(reached(&said, "host"), [host]);
        for host in [format!("3000@{host}"), format!("{host}@evil.test"), format!("{host}/evil"), format!("{host} evil")] {
            let told = raw(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
            assert!(
                !told.to_ascii_lowercase().contains("x-program") || told.contains(&format!("[\"host\", \"{}\"]", visitor.host())),
                "{host}: {told}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn requests_from_preview_origins_to_the_api_are_refused() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000, "access": "public" })).await;
        let (service, key) = Sandbox::service();
        for origin in [visitor.url.as_str(), "http://foo.localhost:1", "http://3000-sbx-a-public.localhost"] {
            for (method, path) in [
                (Method::GET, "/v1/sandboxes"),
                (Method::POST, "/v1/sandboxes"),
                (Method::OPTIONS, "/"),
                (Method::GET, "/health"),
            ] {
                let request = Client::new().request(method.clone(), format!("{service}{path}")).bearer_auth(&key);
                let answer = send(request.header("origin", origin)).await;
                assert_eq!(answer.code(), "forbidden", "{method} {path} of {origin}");
                assert!(answer.header("access-control-allow-origin").is_none());
            }
        }
        let health = send(Client::new().get(format!("{service}/health")).header("origin", "https://elsewhere.test")).await;
        assert!(health.status.is_success() && health.header("access-control-allow-origin").is_none());
    })
    .await;
}
