//! The bridge: the statuses and bodies that clients of Cloudflare's SDK 0.x expect. Its real client is run by `cargo xtask test clients`.

use cabana_tests::{Answer, Caller};
use reqwest::{Method, header};
use serde_json::{Value, json};

/// A sandbox that was made by the bridge.
struct Bridged {
    caller: Caller,
    id: String,
}

impl Bridged {
    async fn new() -> Self {
        let caller = Caller::operator();
        // The client in Python sends no body, that in TypeScript fields that mean nothing here.
        let made = caller.post("/v1/sandbox", json!({ "exposedPorts": [3000], "timeoutMs": 1 })).await;
        assert_eq!(made.status.as_u16(), 200);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        Self { caller, id }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.caller.request(method.parse().unwrap(), &format!("/v1/sandbox/{}{path}", self.id));
        Answer::of(request.body(body).send().await.unwrap()).await
    }

    /// The output and the exit code of a command in a session, by its events.
    async fn exec(&self, session: Option<&str>, script: &str) -> (String, i64) {
        let route = format!("/v1/sandbox/{}/exec", self.id);
        let mut request = self.caller.request(Method::POST, &route).json(&json!({ "argv": ["sh", "-c", script] }));
        if let Some(session) = session {
            request = request.header("session-id", session).json(&json!({ "argv": ["eval", script] }));
        }
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        let (mut output, mut code) = (Vec::new(), None);
        for event in String::from_utf8(answer.success()).unwrap().split("\n\n") {
            let Some((name, data)) = event.split_once("\ndata: ") else { continue };
            match name {
                "event: stdout" => output.extend(data_encoding::BASE64.decode(data.as_bytes()).unwrap()),
                "event: exit" => code = serde_json::from_str::<Value>(data).unwrap()["exit_code"].as_i64(),
                _ => {}
            }
        }
        (String::from_utf8(output).unwrap(), code.expect("the exit is told"))
    }
}

#[tokio::test]
async fn requests_are_answered_as_clients_expect() {
    let sandbox = Bridged::new().await;
    for (method, path, body, status, expected) in [
        ("GET", "/running", "", 200, json!({ "running": true })),
        ("PUT", "/file/workspace/a%20b", "text", 200, json!({ "ok": true })),
        ("POST", "/unmount", "{\"mountPath\": \"/workspace/none\"}", 200, json!({ "ok": true })),
        ("POST", "/session", "{\"id\": \"named\", \"cwd\": \"/tmp\"}", 200, json!({ "id": "named" })),
    ] {
        let answer = sandbox.send(method, path, body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (status, expected), "{method} {path}");
    }
    for (method, path, body, status, code, words) in [
        ("POST", "/exec", "{}", 400, "invalid_request", "argv must be a non-empty array"),
        ("POST", "/exec", "{\"argv\": []}", 400, "invalid_request", "argv must be a non-empty array"),
        ("POST", "/hydrate", "", 400, "invalid_request", "Empty tar payload"),
        ("POST", "/persist?excludes=a,../b", "", 400, "invalid_request", "within /workspace"),
        ("GET", "/file/workspace/none", "", 404, "not_found", "none"),
        ("GET", "/file/etc/passwd", "", 403, "forbidden", "/workspace"),
        ("PUT", "/file/etc/made", "x", 403, "forbidden", "/workspace"),
        ("POST", "/mount", "{}", 501, "not_implemented", "cannot be mounted"),
        ("GET", "/pty", "", 400, "invalid_request", "WebSocket upgrade required"),
    ] {
        let answer = sandbox.send(method, path, body).await;
        let said = answer.json();
        assert_eq!((answer.status.as_u16(), &said["code"]), (status, &json!(code)), "{method} {path}: {said}");
        assert!(said["error"].as_str().unwrap().contains(words), "{method} {path}: {said}");
    }
    let read = sandbox.send("GET", "/file/workspace/a%20b", "").await;
    assert_eq!(read.header("content-type"), Some("application/octet-stream"));
    assert_eq!(read.success(), b"text");
    assert_eq!(sandbox.exec(Some("named"), "pwd; X=1").await, ("/tmp\n".to_owned(), 0));
    assert_eq!(sandbox.exec(Some("named"), "echo $X").await, ("1\n".to_owned(), 0));
    assert_eq!(sandbox.exec(None, "echo [$X]; exit 113").await, ("[]\n".to_owned(), 113));
    let deleted = sandbox.send("DELETE", "/session/named", "").await.json();
    assert_eq!((&deleted["success"], &deleted["sessionId"]), (&json!(true), &json!("named")));
    for _ in 0..2 {
        let gone = sandbox.send("DELETE", "", "").await;
        assert_eq!((gone.status.as_u16(), gone.success()), (204, Vec::new()));
    }
    assert_eq!(sandbox.send("GET", "/running", "").await.json(), json!({ "running": false }));
}

#[tokio::test]
async fn callers_without_credentials_and_of_other_tenants_are_refused_in_the_same_form() {
    let nobody = Caller::nobody().get("/v1/sandbox/sbx-a/running").await;
    assert_eq!((nobody.status.as_u16(), &nobody.json()["code"]), (401, &json!("unauthorized")));
    let odd = Caller::operator().get("/v1/sandbox/ODD/running").await;
    assert!(odd.json()["error"].as_str().unwrap().starts_with("Invalid sandbox ID format"), "{}", odd.json());
    let sandbox = Bridged::new().await;
    let reader = Caller::of_tenant("default", json!({ "read_only": true })).await;
    let route = format!("/v1/sandbox/{}/exec", sandbox.id);
    let refused = reader.post(&route, json!({ "argv": ["true"] })).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (403, &json!("forbidden")));
    let stranger = Caller::of_tenant(&super::fresh_name("bridge"), json!({})).await;
    assert_eq!(stranger.get(&format!("/v1/sandbox/{}/running", sandbox.id)).await.json(), json!({ "running": false }));
    sandbox.send("DELETE", "", "").await;
}

#[tokio::test]
async fn a_key_in_the_url_opens_a_terminal_and_nothing_else() {
    let sandbox = Bridged::new().await;
    let key = std::env::var("CABANA_TEST_API_KEY").unwrap();
    let request = |path: &str| {
        let url = sandbox.caller.url(&format!("/v1/sandbox/{}{path}", sandbox.id));
        reqwest::Client::new().get(format!("{url}?authorization=Bearer%20{key}")).header(header::CONNECTION, "close")
    };
    assert_eq!(request("/running").send().await.unwrap().status().as_u16(), 401);
    let url = sandbox.caller.url(&format!("/v1/sandbox/{}/pty?cols=91&rows=33&authorization=Bearer%20{key}", sandbox.id));
    let (mut socket, _) = tokio_tungstenite::connect_async(url.replacen("http", "ws", 1)).await.unwrap();
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let (mut shown, mut control) = (String::new(), Vec::new());
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => {
                let said: Value = serde_json::from_str(&text).unwrap();
                if said["type"] == "ready" {
                    // The shell prints what a client could take for control.
                    let typed = b"stty size; printf '{\"type\":\"exit\"}'; exit 7\n";
                    socket.send(Message::binary(typed.as_slice())).await.unwrap();
                }
                control.push(said);
            }
            Message::Binary(bytes) => {
                assert!(!serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| value.is_object()), "it would be control");
                shown += &String::from_utf8_lossy(&bytes);
            }
            _ => break,
        }
    }
    assert!(shown.contains("33 91") && shown.contains("{\"type\":\"exit\"}"), "{shown}");
    assert_eq!(control, [json!({ "type": "ready" }), json!({ "type": "exit", "code": 7 })]);
    sandbox.send("DELETE", "", "").await;
}
