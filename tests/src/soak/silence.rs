//! Connections on which nothing is said for long, and a container that is stopped while they wait.

use std::time::{Duration, Instant};

use cabana_protocol::{
    Code,
    exec::{Exec, ExecEvent, Exit},
    line::{Line, LineOf},
};
use futures_util::{FutureExt, Stream, StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::budget::Budget;
use crate::{Sandbox, Socket, gather, until};

const FORMS: [&str; 2] = ["application/x-ndjson", "text/event-stream"];
/// What of the row's time is for everything but the silence.
const REST: Duration = Duration::from_secs(15);

pub(super) async fn run(budget: &Budget) -> String {
    let sandbox = Sandbox::create().await;
    let silence = listen(&sandbox, budget).await;
    let ends = stop(&sandbox).await;
    sandbox.destroy().await;
    format!("{} s without a byte of output, nothing lost; ends at the stop: {}", silence.as_secs(), ends.join(", "))
}

/// Listens to a command that says nothing until it is told to, in all forms at once, and keeps one socket on which nothing runs.
async fn listen(sandbox: &Sandbox, budget: &Budget) -> Duration {
    let command = json!({ "command": "until [ -e go ]; do sleep 0.1; done; echo late; exit 4" });
    let mut detached = command.clone();
    detached["detach"] = true.into();
    let process = sandbox.exec(detached).await.result.process;
    let mut idle = sandbox.connect().await;
    let started = Instant::now();
    let streams = FORMS.map(async |accept| {
        let exec = gather(sandbox.stream(accept, command.clone()).await);
        let attach = gather(sandbox.stream_of("process.attach", accept, json!({ "process": process })).await);
        for (stdout, _, result) in join_all([exec.boxed_local(), attach.boxed_local()]).await {
            assert_eq!((stdout, result.exit), (b"late\n".to_vec(), Some(Exit::Exited { code: 4 })), "{accept}");
        }
    });
    let json = async {
        let output = sandbox.exec(command.clone()).await;
        assert_eq!((output.stdout.0.as_ref(), output.result.exit), (b"late\n".as_slice(), Some(Exit::Exited { code: 4 })));
    };
    let socket = async {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "silent", command.clone()).await;
        let (output, result) = socket.output("silent").await;
        assert_eq!((output.as_str(), &result["exit"]["code"]), ("late\n", &json!(4)));
    };
    let wait = async {
        while budget.done() < budget.full() && budget.time_left() > REST {
            sleep(Duration::from_secs(1)).await;
            budget.count_seconds(started);
        }
        let silence = started.elapsed();
        sandbox.put("go", "").await.success();
        silence
    };
    let (_, (), (), silence) = tokio::join!(join_all(streams), json, socket, wait);
    idle.send("exec", "after", json!({ "command": "echo after" })).await;
    assert_eq!(idle.output("after").await.0, "after\n", "a socket on which nothing ran is open");
    silence
}

/// Stops the container under commands that are heard in all forms. Each is told of it by an error, or by an exit that is not its own.
/// Returns what they were told.
async fn stop(sandbox: &Sandbox) -> Vec<String> {
    let command = json!({ "command": "echo up; sleep 3000" });
    let detached = json!({ "command": ["sleep", "3000"], "detach": true, "name": "detached" });
    let process = sandbox.exec(detached).await.result.process;
    let mut streams = Vec::new();
    for accept in FORMS {
        let mut lines = sandbox.stream(accept, command.clone()).await;
        while !matches!(lines.next().await, Some(Line::Event(ExecEvent::Stdout { .. }))) {}
        streams.push(lines);
    }
    let mut socket = sandbox.connect().await;
    socket.send("exec", "stopped", command).await;
    while socket.wait_for("event", "stopped").await["bytes"] != "up\n" {}
    sandbox.post("stop", json!({})).await.success();
    let mut ends = join_all(streams.into_iter().map(end_of_stream)).await;
    ends.push(end_on_socket(&mut socket).await);
    until("the sandbox is back", async || sandbox.post("exec", json!({ "command": "true" })).await.status == 200).await;
    let attach = sandbox.post("process.attach", json!({ "process": process })).await;
    assert_eq!(attach.code(), "gone", "a process of the container before");
    socket.send("exec", "again", json!({ "command": "echo again" })).await;
    assert_eq!(socket.output("again").await.0, "again\n", "the socket outlives the container");
    ends
}

async fn end_of_stream(mut lines: impl Stream<Item = LineOf<Exec>> + Unpin) -> String {
    loop {
        match lines.next().await.expect("the stream ends with a result or an error") {
            Line::Event(_) => {}
            Line::Result(result) => return reason(&json!(result)),
            Line::Error(error) => {
                assert_eq!(error.code, Code::Interrupted, "{error:?}");
                return "interrupted".to_owned();
            }
        }
    }
}

async fn end_on_socket(socket: &mut Socket) -> String {
    loop {
        let frame = socket.next().await;
        match frame["type"].as_str() {
            Some("result") => return reason(&frame["payload"]),
            Some("error") => {
                assert_eq!(frame["payload"]["code"], "interrupted", "{frame}");
                return "interrupted".to_owned();
            }
            _ => {}
        }
    }
}

/// Why a command ended that did not end by itself.
fn reason(result: &Value) -> String {
    let reason = result["exit"]["type"].as_str().unwrap_or_else(|| panic!("no exit: {result}"));
    assert_ne!(reason, "exited", "{result}");
    reason.to_owned()
}
