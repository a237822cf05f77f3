//! A sandbox's life: sleeping and waking, starting and stopping, failing and coming back. Times are short here, and none is asserted.

mod failing;
mod history;
pub(super) mod host;
mod keeping;
mod sleeping;
mod starting;
mod stopping;

use std::time::Duration;

use cabana_protocol::Data;
use cabana_tests::{Answer, Caller, PATIENCE, Sandbox, Socket, until};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{create, destroy, fresh_name, request};

/// A sandbox of its own for a case, whose life the case looks at.
pub(super) struct Named {
    pub(super) id: String,
    sandbox: Sandbox,
}

impl Named {
    /// Made with these fields.
    pub(in crate::control) async fn new(case: &str, mut fields: Value) -> Self {
        fields["name"] = json!(fresh_name(case));
        let (status, made) = create(fields).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        Self::of(made["id"].as_str().unwrap())
    }

    /// The one of this id.
    pub(in crate::control) fn of(id: &str) -> Self {
        Self { id: id.to_owned(), sandbox: Caller::operator().sandbox(id) }
    }

    pub(in crate::control) async fn call(&self, method: Method, route: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = self.request(method, route);
        let request = body.iter().fold(request, |request, body| request.json(body));
        self.sandbox.send(request).await.parts()
    }

    pub(in crate::control) async fn show(&self) -> Value {
        let (status, shown) = self.call(Method::GET, "", None).await;
        assert_eq!(status, StatusCode::OK, "{shown}");
        shown
    }

    pub(in crate::control) async fn change(&self, fields: Value) -> Value {
        let (status, shown) = self.call(Method::PATCH, "", Some(fields)).await;
        assert_eq!(status, StatusCode::OK, "{shown}");
        shown
    }

    pub(in crate::control) async fn run(&self, command: &str) -> (StatusCode, Value) {
        self.call(Method::POST, "/exec", Some(json!({ "command": command }))).await
    }

    /// What a script prints that must succeed.
    pub(in crate::control) async fn print(&self, command: &str) -> String {
        let (status, output) = self.run(command).await;
        assert_eq!((status, &output["exit"]["code"]), (StatusCode::OK, &json!(0)), "{output}");
        let stdout: Data = serde_json::from_value(output["stdout"].clone()).unwrap();
        String::from_utf8_lossy(&stdout.0).into_owned()
    }

    /// A request to a route of it.
    pub(in crate::control) fn request(&self, method: Method, route: &str) -> RequestBuilder {
        self.sandbox.request(method, route)
    }

    /// A socket, past its `ready` frame. Fails with the status of a refusal.
    pub(in crate::control) async fn connect(&self) -> Result<Socket, Option<u16>> {
        self.sandbox.connect_with("").await
    }

    /// How many processes have this text in their command line.
    pub(in crate::control) async fn count(&self, mark: &str) -> u64 {
        self.sandbox.count_processes(mark).await as u64
    }

    /// Waits until it is in this state, looking now and then, which neither wakes it nor keeps it awake.
    pub(in crate::control) async fn until(&self, state: &str) -> Value {
        let waiting = async {
            loop {
                let shown = self.show().await;
                if shown["state"] == state {
                    return shown;
                }
                pause(100).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it is never {state}"))
    }

    /// Uses it until that works again. Until then each answer says that the command was not or may not have been carried out, and where the
    /// gateway is down, there is none.
    pub(in crate::control) async fn recover(&self) {
        until("the sandbox works again", async || {
            let call = self.request(Method::POST, "/exec").json(&json!({ "command": "echo back" }));
            let Ok(answer) = call.send().await else { return false };
            let (status, answer) = Answer::of(answer).await.parts();
            if status == StatusCode::OK {
                assert_eq!(answer["stdout"], "back\n");
                return true;
            }
            let code = answer["error"]["code"].as_str();
            assert!(matches!(code, None | Some("container_not_ready" | "interrupted")), "{status} {answer}");
            false
        })
        .await;
    }

    pub(in crate::control) async fn end(self) {
        destroy(&self.id).await;
    }
}

pub(super) async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
