//! A sandbox's life: sleeping and waking, starting and stopping, failing and coming back. Times are short here, and none is asserted.

mod failing;
mod history;
mod host;
mod sleeping;
mod stopping;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{create, destroy, fresh_name, request};

/// A sandbox of its own for a case.
struct Named {
    id: String,
}

impl Named {
    /// Made with these fields.
    async fn new(case: &str, mut fields: Value) -> Self {
        let name = fresh_name(case);
        fields["name"] = json!(name);
        let (status, made) = create(fields).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        Self { id: made["id"].as_str().unwrap().to_owned() }
    }

    async fn call(&self, method: Method, route: &str, body: Option<Value>) -> (StatusCode, Value) {
        request(method, &format!("/v1/sandboxes/{}{route}", self.id), body).await
    }

    async fn show(&self) -> Value {
        let (status, shown) = self.call(Method::GET, "", None).await;
        assert_eq!(status, StatusCode::OK, "{shown}");
        shown
    }

    async fn change(&self, fields: Value) -> Value {
        let (status, shown) = self.call(Method::PATCH, "", Some(fields)).await;
        assert_eq!(status, StatusCode::OK, "{shown}");
        shown
    }

    async fn run(&self, command: &str) -> (StatusCode, Value) {
        self.call(Method::POST, "/exec", Some(json!({ "command": command }))).await
    }

    /// What a script prints that must succeed.
    async fn print(&self, command: &str) -> String {
        let (status, output) = self.run(command).await;
        assert_eq!((status, &output["exit"]["code"]), (StatusCode::OK, &json!(0)), "{output}");
        output["stdout"].as_str().unwrap().to_owned()
    }

    /// Waits until it is in this state, looking now and then, which neither wakes it nor keeps it awake.
    async fn until(&self, state: &str) -> Value {
        loop {
            let shown = self.show().await;
            if shown["state"] == state {
                return shown;
            }
            pause(100).await;
        }
    }

    async fn end(self) {
        destroy(&self.id).await;
    }
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
