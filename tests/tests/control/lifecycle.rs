//! A sandbox's life: sleeping and waking, starting and stopping, failing and coming back. Times are short here, and none is asserted.

mod failing;
mod history;
pub(super) mod host;
mod sleeping;
mod starting;
mod stopping;

use std::time::Duration;

use cabana_tests::{Sandbox, Socket};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{create, destroy, fresh_name, request};

/// A sandbox of its own for a case.
pub(super) struct Named {
    pub(super) id: String,
}

impl Named {
    /// Made with these fields.
    pub(in crate::control) async fn new(case: &str, mut fields: Value) -> Self {
        let name = fresh_name(case);
        fields["name"] = json!(name);
        let (status, made) = create(fields).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        Self { id: made["id"].as_str().unwrap().to_owned() }
    }

    pub(in crate::control) async fn call(&self, method: Method, route: &str, body: Option<Value>) -> (StatusCode, Value) {
        request(method, &format!("/v1/sandboxes/{}{route}", self.id), body).await
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
        output["stdout"].as_str().unwrap().to_owned()
    }

    /// A request to a route of it.
    pub(in crate::control) fn request(&self, method: Method, route: &str) -> RequestBuilder {
        let (url, key) = Sandbox::service();
        Client::new().request(method, format!("{url}/v1/sandboxes/{}{route}", self.id)).bearer_auth(key)
    }

    /// A socket, past its `ready` frame. Fails with the status of a refusal.
    pub(in crate::control) async fn connect(&self) -> Result<Socket, Option<u16>> {
        let (url, key) = Sandbox::service();
        let key = ("authorization", format!("Bearer {key}"));
        let mut socket = Socket::open(&format!("{url}/v1/sandboxes/{}/connect", self.id), &[key]).await?;
        assert_eq!(socket.next().await["type"], "ready");
        Ok(socket)
    }

    /// How many processes have this text in their command line.
    pub(in crate::control) async fn count(&self, mark: &str) -> u64 {
        let (_, output) =
            self.call(Method::POST, "/exec", Some(json!({ "command": ["pgrep", "--count", "--full", mark] }))).await;
        output["stdout"].as_str().unwrap().trim().parse().unwrap()
    }

    /// Waits until it is in this state, looking now and then, which neither wakes it nor keeps it awake.
    pub(in crate::control) async fn until(&self, state: &str) -> Value {
        loop {
            let shown = self.show().await;
            if shown["state"] == state {
                return shown;
            }
            pause(100).await;
        }
    }

    pub(in crate::control) async fn end(self) {
        destroy(&self.id).await;
    }
}

pub(super) async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
