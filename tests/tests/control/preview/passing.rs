//! Traffic between a visitor and a program passes unchanged, but for credentials and forwarded fields.

use cabana_tests::{Sandbox, until};
use data_encoding::HEXLOWER;
use futures_util::{SinkExt, StreamExt, stream};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use super::{Visitor, expose, ports, reached, send, with_program};

/// Connects a WebSocket to a preview; the error is the status of a refusal.
pub(super) async fn connect(
    visitor: &Visitor,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocketStream<TcpStream>, u16> {
    let mut request = format!("{}{path}", visitor.url).replacen("http", "ws", 1).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (service, _) = Sandbox::service();
    let stream = TcpStream::connect(service.split_once("://").unwrap().1).await.unwrap();
    match client_async(request, stream).await {
        Ok((socket, response)) => {
            let offered = headers.iter().find(|(name, _)| *name == "sec-websocket-protocol");
            let chosen = response.headers().get("sec-websocket-protocol").map(|chosen| chosen.to_str().unwrap());
            assert_eq!(chosen, offered.map(|(_, offered)| offered.split(',').next().unwrap()));
            Ok(socket)
        }
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// What the program says has reached it.
pub(super) async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Value {
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("the program says nothing") };
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn requests_reach_the_program_unchanged() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        for (method, target, body) in [
            ("GET", "/", ""),
            ("GET", "/a%2Fb/%20?c=d%26&token=theirs&&e", ""),
            ("GET", "/a?", ""),
            ("GET", "//169.254.169.254/latest", ""),
            ("GET", "/http://169.254.169.254/", ""),
            ("POST", "/v1/sandboxes", "{}"),
            ("PUT", "/health", "x"),
            ("PATCH", "/ports/49983", "x"),
            ("DELETE", "/sandbox", ""),
            ("OPTIONS", "/visit/", ""),
            ("PROPFIND", "/", ""),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = visitor.request(method.clone(), target).body(body);
            let said = send(request.header("authorization", "Basic dGhlaXJz").header("cookie", "a=b; c=\"d\"")).await.json();
            assert_eq!(
                (&said["method"], &said["target"], &said["size"]),
                (&json!(method.as_str()), &json!(target), &json!(body.len()))
            );
            assert_eq!(
                (reached(&said, "authorization"), reached(&said, "cookie")),
                (vec!["Basic dGhlaXJz"], vec!["a=b; c=\"d\""])
            );
            assert_eq!(reached(&said, "host"), [visitor.host()]);
        }
    })
    .await;
}

#[tokio::test]
async fn the_program_sees_forwarded_fields_and_no_credentials() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        let ours = [
            ("x-cabana-principal", r#"{"id":"evil","tenant":"default","operator":true}"#),
            ("x-cabana-visit", r#"{"port":1,"key":"public","host":"evil"}"#),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-prefix", "/evil"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("cookie", "a=b; __Host-cabana-preview=secret; CF_Authorization=secret"),
            ("cf-access-jwt-assertion", "secret"),
            ("proxy-authorization", "Basic secret"),
        ];
        let request = visitor.request(Method::GET, "/?token=cabt_secret&a=b").bearer_auth("cab_secret");
        let request = ours.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let said = send(request).await.json();
        let text = said.to_string();
        for leak in ["evil", "secret", "6.6.6.6", "x-cabana", "gopher"] {
            assert!(!text.contains(leak), "{leak}: {text}");
        }
        assert_eq!((reached(&said, "cookie"), &said["target"]), (vec!["a=b"], &json!("/?a=b")));
        assert_eq!(
            (reached(&said, "x-forwarded-host"), reached(&said, "x-forwarded-proto")),
            (vec![visitor.host()], vec!["http"])
        );
        assert!(reached(&said, "x-forwarded-prefix").is_empty());
    })
    .await;
}

#[tokio::test]
async fn answers_of_the_program_pass_unchanged() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        for status in
            [200, 201, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 409, 418, 429, 500, 502, 503, 504, 599]
        {
            let answer = visitor.get(&format!("/told/{status}?Location:+/next%3fa=b&X-A:%201&X-A:%202")).await;
            assert_eq!(answer.status, status);
            let location = answer.headers["location"].to_str().unwrap();
            assert_eq!(location.trim_start_matches('+'), "/next?a=b", "{status}: not followed, not changed");
            assert_eq!(
                answer.headers.get_all("x-a").iter().flat_map(|value| value.to_str().unwrap().split(", ")).collect::<Vec<_>>(),
                ["1", "2"]
            );
            assert_eq!(answer.bytes, if [204, 304].contains(&status) { &b""[..] } else { b"told\n" }, "{status}");
            assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("x-cabana")), "{:?}", answer.headers);
        }
        let elsewhere = visitor.get("/told/302?Location:%20http://169.254.169.254/").await;
        assert_eq!((elsewhere.status, elsewhere.header("location")), (StatusCode::FOUND, Some("http://169.254.169.254/")));
        let part = send(visitor.request(Method::GET, "/page").header("range", "bytes=5-9")).await;
        assert_eq!((part.status, part.bytes.as_slice()), (StatusCode::PARTIAL_CONTENT, &b"56789"[..]));
        assert_eq!((part.header("content-range"), part.header("etag")), (Some("bytes 5-9/100"), Some("\"page\"")));
        let head = send(visitor.request(Method::HEAD, "/page")).await;
        assert_eq!((head.status, head.bytes.len(), head.header("content-length")), (StatusCode::OK, 0, Some("100")));
        for coding in ["gzip", "br", "zstd"] {
            for media_type in ["text/plain", "application/octet-stream"] {
                let request = visitor.request(Method::GET, &format!("/packed/{coding}/{media_type}"));
                let packed = send(request.header("accept-encoding", coding)).await;
                assert_eq!(packed.header("content-encoding"), Some(coding), "{media_type}");
                let digest = HEXLOWER.encode(&Sha256::digest(&packed.bytes));
                assert_eq!(packed.header("x-digest"), Some(digest.as_str()), "{coding} {media_type}: {:?}", packed.bytes);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_program_is_asked_for_the_encodings_that_the_visitor_takes() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        for asked in [None, Some("gzip"), Some("br"), Some("zstd, br;q=0.5"), Some("zstd"), Some("identity")] {
            for request in [visitor.request(Method::GET, "/seen"), sandbox.request(Method::GET, "/ports/3000/proxy/seen")] {
                let request = asked.into_iter().fold(request, |request, asked| request.header("accept-encoding", asked));
                let said = send(request).await;
                assert_eq!(said.header("content-encoding"), None, "{asked:?}");
                assert_eq!(reached(&said.json(), "accept-encoding"), asked.into_iter().collect::<Vec<_>>());
            }
        }
        // What stands before a Worker compresses text that came as it is: Cloudflare's edge, and in its place Miniflare, by
        // `ensureAcceptableEncoding` of its entry Worker. Neither does so for other media types, nor for visitors that take none.
        for (asked, encoding) in [(Some("gzip"), Some("gzip")), (Some("identity"), None), (None, None)] {
            let request = visitor.request(Method::GET, "/told/200?Content-Type:%20text/plain");
            let told = send(asked.into_iter().fold(request, |request, asked| request.header("accept-encoding", asked))).await;
            assert_eq!((told.header("content-encoding"), told.bytes == b"told\n"), (encoding, encoding.is_none()), "{asked:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn cookies_of_a_program_are_confined_to_its_host() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        let host = visitor.host().split(':').next().unwrap().to_owned();
        let cookies = [
            ("a=b; Path=/; HttpOnly".to_owned(), Some("a=b; Path=/; HttpOnly".to_owned())),
            ("b=c; Domain=localhost; Secure".to_owned(), Some("b=c; Secure".to_owned())),
            (format!("c=d; Domain={host}"), Some(format!("c=d; Domain={host}"))),
            ("__Host-cabana-preview=fixed; Secure; Path=/".to_owned(), None),
        ];
        let query: Vec<_> = cookies.iter().map(|(set, _)| format!("Set-Cookie:%20{}", set.replace(' ', "%20"))).collect();
        let answer = visitor.get(&format!("/told/200?{}", query.join("&"))).await;
        let set: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        assert_eq!(set, cookies.into_iter().filter_map(|(_, kept)| kept).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn bodies_stream_in_both_directions() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        for route in ["preview", "path"] {
            let (sender, receiver) = mpsc::channel::<Result<String, std::io::Error>>(1);
            let body = Body::wrap_stream(stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))));
            let request = match route {
                "preview" => visitor.request(Method::POST, "/back"),
                _ => sandbox.request(Method::POST, "/ports/3000/proxy/back"),
            };
            // The first piece goes along, for an answer begins only when a request has come.
            sender.send(Ok("piece 0".to_owned())).await.unwrap();
            let mut response = request.body(body).send().await.unwrap();
            for number in 1.. {
                let piece = response.chunk().await.unwrap().unwrap();
                assert_eq!(piece, format!("piece {}", number - 1), "{route}");
                if number == 4 {
                    break;
                }
                sender.send(Ok(format!("piece {number}"))).await.unwrap();
            }
            drop(sender);
            assert_eq!(response.chunk().await.unwrap(), None, "{route}");
        }
    })
    .await;
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        const SIZE: usize = 48 << 20;
        let said = send(visitor.request(Method::PUT, "/").body(vec![7; SIZE])).await.json();
        assert_eq!(said["size"], SIZE);
        let mut got = 0;
        let mut response = visitor.request(Method::GET, &format!("/many/{SIZE}")).send().await.unwrap();
        assert_eq!(response.content_length(), Some(SIZE as u64));
        while let Some(chunk) = response.chunk().await.unwrap() {
            got += chunk.len();
        }
        assert_eq!(got, SIZE);
    })
    .await;
}

#[tokio::test]
async fn a_visitor_that_hangs_up_ends_the_programs_connection() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        let mut response = visitor.request(Method::GET, "/forever").send().await.unwrap();
        assert!(response.chunk().await.unwrap().unwrap().starts_with(b"data: 1\n\n"), "an event comes when it happens");
        drop((response, visitor));
        until("the program notices", async || sandbox.get("hung-up").await.status == StatusCode::OK).await;
    })
    .await;
}

#[tokio::test]
async fn a_program_that_does_not_speak_http_is_an_error() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        for path in ["/broken", "/odd"] {
            assert_eq!(visitor.get(path).await.code(), "agent_unavailable", "{path}");
        }
        assert_eq!(visitor.get("/told/200").await.bytes, b"told\n", "and nothing else suffers");
    })
    .await;
}

#[tokio::test]
async fn websockets_pass_with_their_subprotocols() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        for headers in [&[][..], &[("sec-websocket-protocol", "vite-hmr")], &[("sec-websocket-protocol", "graphql-ws, chat")]] {
            let mut socket = connect(&visitor, "/ws?token=theirs", headers).await.unwrap();
            let said = hear(&mut socket).await;
            assert_eq!((&said["target"], reached(&said, "host")), (&json!("/ws?token=theirs"), vec![visitor.host()]));
            for message in [Message::text("\u{e9}"), Message::binary(vec![0, 255, 10]), Message::binary(vec![1; 300_000])] {
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), message);
            }
            socket.close(None).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                assert!(message.is_close());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn any_port_is_reached_by_path_under_the_api() {
    with_program(async |sandbox| {
        let prefix = "/ports/3000/proxy";
        let request = sandbox.request(Method::POST, &format!("{prefix}/a%2Fb//c?d=e&token=theirs")).body("x");
        let said = send(request.header("cookie", "a=b").header("x-forwarded-prefix", "/evil")).await.json();
        assert_eq!(
            (&said["method"], &said["target"], &said["size"]),
            (&json!("POST"), &json!("/a%2Fb//c?d=e&token=theirs"), &json!(1))
        );
        let marked = send(sandbox.request(Method::GET, &format!("{prefix}/lab?token=cab_secret&x=1"))).await.json();
        assert_eq!(marked["target"], "/lab?x=1", "what is ours never reaches a program");
        let base = sandbox.url("");
        let (_, path) = base.split_at(base.find("/v1").unwrap());
        assert_eq!(reached(&said, "x-forwarded-prefix"), [format!("{path}{prefix}")]);
        let (_, key) = Sandbox::service();
        assert!(!said.to_string().contains(&key) && reached(&said, "cookie").is_empty(), "{said}");
        let told = ports(sandbox, Method::GET, "/3000/proxy/told/200?Set-Cookie:%20a=b", None).await;
        assert_eq!((told.header("set-cookie"), told.header("content-security-policy")), (None, Some("sandbox")));
        assert_eq!(send(sandbox.anonymous(Method::GET, &format!("{prefix}/"))).await.code(), "unauthorized");
        assert_eq!(ports(sandbox, Method::GET, "/3001/proxy/", None).await.code(), "container_not_ready");
        let by_path = Visitor { url: sandbox.url(prefix), ..Visitor::at("http://unused.test") };
        let mut socket = connect(&by_path, "/ws", &[("authorization", &format!("Bearer {key}"))]).await.unwrap();
        assert_eq!(hear(&mut socket).await["target"], "/ws");
        let mut own = connect(&by_path, "/ws?token=theirs", &[("authorization", &format!("Bearer {key}"))]).await.unwrap();
        assert_eq!(hear(&mut own).await["target"], "/ws?token=theirs");
        assert_eq!(connect(&by_path, "/ws", &[]).await.err(), Some(401));
        assert!(expose(sandbox, json!({ "port": 3000 })).await["path"].as_str().unwrap().ends_with(&format!("{prefix}/")));
    })
    .await;
}

#[tokio::test]
async fn other_sites_are_not_told_a_previews_url() {
    with_program(async |sandbox| {
        for access in ["token", "public", "private"] {
            let visitor = Visitor::of(sandbox, json!({ "port": 3000, "access": access })).await;
            let policy = async |target: &str| {
                let request = visitor.request(Method::GET, target).bearer_auth(Sandbox::service().1);
                send(request).await.header("referrer-policy").map(str::to_owned)
            };
            assert_eq!(policy("/").await.as_deref(), Some("same-origin"), "{access}");
            assert_eq!(policy("/told/204").await.as_deref(), Some("same-origin"), "{access}");
            assert_eq!(policy("/told/200?Referrer-Policy:%20origin").await.as_deref(), Some("origin"), "the program's own stays");
        }
    })
    .await;
}
