//! Sockets, and the credentials that opened them.

use cabana_protocol::frame::close;
use cabana_tests::{Caller, Sandbox, Socket, until};
use serde_json::{Value, json};

use super::super::fresh_name;

/// A sandbox of a fresh tenant.
struct Owned {
    tenant: String,
    owner: Caller,
    route: String,
}

impl Owned {
    async fn new(kind: &str) -> Self {
        let tenant = fresh_name("sockets");
        let owner = Caller::of_tenant(&tenant, json!({})).await;
        let made = owner.post("/v1/sandboxes", json!({ "kind": kind })).await.json();
        Self { tenant, owner, route: format!("/v1/sandboxes/{}", made["id"].as_str().unwrap()) }
    }

    /// A caller with a token of the owner's.
    async fn guest(&self, token: Value) -> Caller {
        let made = self.owner.post(&format!("{}/tokens", self.route), token).await.json();
        Caller::with(made["token"].as_str().unwrap())
    }

    async fn connect(&self, caller: &Caller) -> Socket {
        let headers =
            [("authorization", format!("Bearer {}", caller.token.as_ref().unwrap())), ("x-cabana-tenant", self.tenant.clone())];
        let mut socket = Socket::open(&format!("{}{}/connect", Sandbox::service().0, self.route), &headers).await.unwrap();
        assert_eq!(socket.next().await["type"], "ready");
        socket
    }

    /// How many processes have this text in their command line.
    async fn count(&self, mark: &str) -> String {
        let command = json!({ "command": ["pgrep", "--count", "--full", mark] });
        let answer = Caller::operator_for(&self.tenant).post(&format!("{}/exec", self.route), command).await.json();
        answer["stdout"].as_str().unwrap().trim().to_owned()
    }

    async fn end(self) {
        Caller::operator_for(&self.tenant).delete(&self.route).await;
    }
}

#[tokio::test]
async fn sockets_close_when_their_key_is_revoked() {
    for kind in ["sbx", "python"] {
        let sandbox = Owned::new(kind).await;
        let guest = sandbox.guest(json!({})).await;
        let (mut own, mut guests) = (sandbox.connect(&sandbox.owner).await, sandbox.connect(&guest).await);
        let mut operators = sandbox.connect(&Caller::operator()).await;
        own.send("exec", "a", json!({ "command": "echo up; sleep 3590.25" })).await;
        while own.wait_for("event", "a").await["bytes"] != "up\n" {}
        Caller::operator().delete(&format!("/v1/keys/{}", sandbox.owner.key_id())).await;
        assert_eq!((own.closed().await, guests.closed().await), (close::UNAUTHORIZED, close::UNAUTHORIZED), "{kind}");
        operators.send("exec", "b", json!({ "command": "echo still here" })).await;
        assert_eq!(operators.output("b").await.0, "still here\n");
        until("what ran for it has ended", async || sandbox.count("sleep 3590.25").await == "0").await;
        sandbox.end().await;
    }
}

#[tokio::test]
async fn a_socket_closes_when_its_token_expires() {
    let sandbox = Owned::new("sbx").await;
    let guest = sandbox.guest(json!({ "expires_in_ms": 2_000 })).await;
    let (mut idle, mut busy) = (sandbox.connect(&guest).await, sandbox.connect(&guest).await);
    busy.send("exec", "1", json!({ "command": "sleep 3590.5" })).await;
    assert_eq!((idle.closed().await, busy.closed().await), (close::UNAUTHORIZED, close::UNAUTHORIZED));
    until("what ran for it has ended", async || sandbox.count("sleep 3590.5").await == "0").await;
    sandbox.end().await;
}

#[tokio::test]
async fn each_frame_is_checked_against_the_scopes() {
    let sandbox = Owned::new("sbx").await;
    let reader = sandbox.guest(json!({ "operations": ["file", "process"], "read_only": true })).await;
    let mut socket = sandbox.connect(&reader).await;
    for (kind, request, expected) in [
        ("exec", json!({ "command": "true" }), "forbidden"),
        ("file.write", json!({ "path": ".", "content": "" }), "forbidden"),
        ("system.stats", json!({}), "forbidden"),
        ("file.stat", json!({ "path": "." }), "result"),
        ("process.list", json!({}), "result"),
    ] {
        socket.send(kind, "1", request).await;
        let frame = socket.next().await;
        let said = frame["payload"]["code"].as_str().or(frame["type"].as_str());
        assert_eq!((said, &frame["id"]), (Some(expected), &json!("1")), "{kind}");
    }
    let detached = json!({ "command": "sleep 600", "detach": true, "name": "p", "stdin": { "stream": true } });
    sandbox.owner.post(&format!("{}/exec", sandbox.route), detached).await;
    socket.send("process.attach", "2", json!({ "process": "p" })).await;
    socket.wait_for("event", "2").await;
    socket.send("input", "2", json!({ "type": "eof" })).await;
    assert_eq!(socket.next().await["payload"]["code"], "forbidden", "to listen is not to speak");
    sandbox.end().await;
}
