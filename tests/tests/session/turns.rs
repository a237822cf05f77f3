//! Commands that wait for their turn in a session.

use cabana_protocol::process::List;
use cabana_tests::{NDJSON, gather, in_sandbox};
use futures_util::{StreamExt, future::join_all};
use serde_json::json;

use super::{check, create};

#[tokio::test]
async fn commands_run_in_the_order_of_their_arrival() {
    in_sandbox(async |sandbox| {
        let session = create(sandbox).await;
        let mut socket = sandbox.connect().await;
        for number in 0..20 {
            let command = format!("begun={number}; sleep 0.01; [ $begun = {number} ] && done+=({number})");
            socket.send("exec", &number.to_string(), json!({ "command": command, "session": session })).await;
        }
        socket.wait_for("result", "19").await;
        let all = (0..20).map(|number| number.to_string()).collect::<Vec<_>>().join(" ") + "\n";
        check(sandbox, &session, "echo ${done[*]}", all, "", 0).await;
    })
    .await;
}

#[tokio::test]
async fn sixteen_clients_of_one_session_do_not_mix() {
    in_sandbox(async |sandbox| {
        let session = create(sandbox).await;
        let clients = (0..16).map(async |client| {
            for round in 0..10 {
                let text = format!("{client}/{round}");
                let script = format!("x={text}; sleep 0.002; echo $x; echo $x >&2; count=$((count + 1))");
                check(sandbox, &session, &script, format!("{text}\n"), format!("{text}\n"), 0).await;
            }
        });
        join_all(clients).await;
        check(sandbox, &session, "echo $count", "160\n", "", 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_queued_command_delays_nothing_else_and_can_be_cancelled() {
    in_sandbox(async |sandbox| {
        let session = create(sandbox).await;
        let script = json!({ "command": "until [ -e go ]; do sleep 0.01; done", "session": session });
        let mut blocked = sandbox.stream(NDJSON, script).await;
        blocked.next().await.unwrap();
        let mut socket = sandbox.connect().await;
        socket.send("exec", "waits", json!({ "command": "touch never", "session": session })).await;
        socket.send("file.list", "list", json!({ "path": "." })).await;
        socket.wait_for("result", "list").await;
        assert_eq!(sandbox.call(List::default()).await.processes.len(), 1, "what waits is no process yet");
        socket.send("cancel", "waits", json!({})).await;
        assert_eq!(socket.wait_for("result", "waits").await["exit"]["type"], "cancelled");
        let other = create(sandbox).await;
        check(sandbox, &other, "touch go", "", "", 0).await;
        assert!(gather(blocked).await.2.success());
        check(sandbox, &session, "[ -e never ]", "", "", 1).await;
    })
    .await;
}
