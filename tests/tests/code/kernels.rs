//! Code on real kernels: ipykernel, Deno's, and one in bash for which nothing was written.

mod agent_only;
mod cells;
mod ending;
mod interactive;
mod languages;
mod memory;
pub(crate) mod packages;

use cabana_protocol::{
    code::{Run, RunEvent, RunOutput, RunResult},
    line::LineOf,
};
use cabana_tests::{NDJSON, Sandbox};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// A cell in its JSON form, which must be admitted.
async fn run(sandbox: &Sandbox, request: Value) -> RunOutput {
    serde_json::from_slice(&sandbox.post("code.run", request).await.success()).unwrap()
}

/// A cell of the default context of Python.
async fn python(sandbox: &Sandbox, code: &str) -> RunOutput {
    run(sandbox, json!({ "code": code })).await
}

/// A cell as it streams: its events and its result.
async fn stream(sandbox: &Sandbox, code: &str) -> (Vec<RunEvent>, RunResult) {
    let mut lines = sandbox.listen(NDJSON, &Run { code: code.to_owned(), ..Run::default() }).await;
    let mut events = Vec::new();
    while let Some(line) = lines.next().await {
        match line {
            LineOf::<Run>::Event(event) => events.push(event),
            LineOf::<Run>::Result(result) => return (events, result),
            other => panic!("{other:?}"),
        }
    }
    panic!("the stream was interrupted");
}

/// The id of a new context.
async fn create(sandbox: &Sandbox, request: Value) -> String {
    let answer = sandbox.post("code.create", request).await;
    assert!(answer.status.is_success(), "{}", answer.json());
    answer.json()["context"].as_str().unwrap().to_owned()
}

/// What the kernel of a context does.
async fn state(sandbox: &Sandbox, context: &str) -> String {
    let list = sandbox.post("code.list", json!({})).await.json();
    let found = list["items"].as_array().unwrap().iter().find(|item| item["context"] == context);
    found.map(|item| item["state"].as_str().unwrap().to_owned()).unwrap_or_default()
}
