//! Processes that are started again in the next container.

use super::*;

impl Named {
    /// Launches a process that is started again.
    async fn launch(&self, name: &str, fields: Value) -> (StatusCode, Value) {
        let mut request = json!({ "name": name, "detach": true, "restart": true });
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.call(Method::POST, "/exec", Some(request)).await
    }

    async fn process(&self, name: &str) -> (StatusCode, Value) {
        self.call(Method::POST, "/process/get", Some(json!({ "process": name }))).await
    }

    async fn wait_for(&self, process: &str, until: Value) {
        let (status, waited) =
            self.call(Method::POST, "/process/wait", Some(json!({ "process": process, "until": until }))).await;
        assert_eq!(status, StatusCode::OK, "{waited}");
    }
}

/// Says where it is and what it has, and stays.
const SAY: &str = "echo $PWD $WORD >> /workspace/said; echo up; exec sleep 1000";

#[tokio::test]
async fn processes_are_started_again_before_the_first_request_passes() {
    let sandbox = Named::new("restarts", json!({})).await;
    sandbox.print("mkdir sub").await;
    let fields = json!({ "command": SAY, "cwd": "sub", "env": { "WORD": "hello" } });
    let (status, first) = sandbox.launch("server", fields).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    sandbox.wait_for("server", json!({ "log": "up" })).await;
    assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
    let (status, again) = sandbox.process("server").await;
    assert_eq!((status, &again["restart"], &again["exit"]), (StatusCode::OK, &json!(true), &Value::Null), "{again}");
    assert_ne!(again["process"], first["process"]);
    sandbox.wait_for("server", json!({ "log": "up" })).await;
    assert_eq!(sandbox.print("cat said").await, "/workspace/sub hello\n".repeat(2));
    let (_, made) = sandbox.call(Method::POST, "/fork", Some(json!({}))).await;
    let fork = Named::of(made["items"][0]["id"].as_str().unwrap());
    assert_eq!(fork.process("server").await.1["exit"], Value::Null, "a fork has it, too");
    fork.end().await;
    sandbox.end().await;
}

#[tokio::test]
async fn processes_that_have_ended_are_not_started_again() {
    let sandbox = Named::new("restartends", json!({})).await;
    for (name, command) in [("short", "true"), ("ended", "exec sleep 1000"), ("signalled", "exec sleep 1000"), ("stays", SAY)] {
        assert_eq!(sandbox.launch(name, json!({ "command": command })).await.0, StatusCode::OK);
    }
    sandbox.wait_for("short", json!("exit")).await;
    for (route, body) in [
        ("/process/end", json!({ "process": "ended" })),
        ("/process/signal", json!({ "process": "signalled", "signal": "SIGKILL" })),
    ] {
        assert_eq!(sandbox.call(Method::POST, route, Some(body)).await.0, StatusCode::OK);
    }
    sandbox.wait_for("signalled", json!("exit")).await;
    until("only one is written down", async || sandbox.print("ls /var/lib/cabana/restart").await == "stays.json\n").await;
    assert_eq!(sandbox.call(Method::POST, "/restart", None).await.0, StatusCode::OK);
    for name in ["short", "ended", "signalled"] {
        assert_eq!(sandbox.process(name).await.0, StatusCode::NOT_FOUND, "{name}");
    }
    assert_eq!(sandbox.process("stays").await.0, StatusCode::OK);
    for fields in [json!({ "detach": false }), json!({ "name": null }), json!({ "session": "s" })] {
        let mut fields = fields;
        fields["command"] = json!("true");
        let (status, refused) = sandbox.launch("refused", fields).await;
        assert_eq!((status, code(&refused)), (StatusCode::BAD_REQUEST, "invalid_request"), "{refused}");
    }
    sandbox.end().await;
}
