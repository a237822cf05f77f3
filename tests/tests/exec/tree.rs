//! A command's process tree ends with the command, and a daemon that survives it delays nothing.

use cabana_protocol::{
    exec::{Exec, ExecEvent, Exit},
    line::LineOf,
};
use cabana_tests::{NDJSON, SSE, in_sandbox, until};
use futures_util::StreamExt;
use serde_json::json;

use super::mark;

/// Starts every kind of process that might escape: children, another process group, another session, a daemon with another environment, and one
/// that ignores SIGTERM.
fn escapees(mark: &str) -> String {
    format!(
        "sleep {mark} & setsid sleep {mark} & (setsid sh -c 'sleep {mark} & sleep {mark}' &) ; \
         (trap '' TERM; env -i sleep {mark} & sleep {mark}) & echo ready; wait; sleep {mark}"
    )
}

#[tokio::test]
async fn a_timeout_ends_the_whole_tree() {
    in_sandbox(async |sandbox| {
        let mark = mark();
        let output = sandbox.exec(json!({ "command": escapees(&mark), "timeout_ms": 300 })).await;
        assert_eq!(output.result.exit, Some(Exit::TimedOut));
        assert_eq!(output.stdout.0, "ready\n");
        assert_eq!(sandbox.count_processes(&mark).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_disconnect_ends_the_whole_tree() {
    in_sandbox(async |sandbox| {
        for accept in [NDJSON, SSE] {
            let mark = mark();
            let mut lines = sandbox.stream(accept, json!({ "command": escapees(&mark) })).await;
            lines.next().await.unwrap();
            assert!(matches!(lines.next().await, Some(LineOf::<Exec>::Event(ExecEvent::Stdout { .. }))));
            assert_ne!(sandbox.count_processes(&mark).await, 0);
            drop(lines);
            until("the tree is gone", async || sandbox.count_processes(&mark).await == 0).await;
        }
        let mark = mark();
        let fold = sandbox.request(reqwest::Method::POST, "/exec").json(&json!({ "command": escapees(&mark) })).send();
        tokio::select! {
            answer = fold => panic!("{answer:?}"),
            () = until("it runs", async || sandbox.count_processes(&mark).await > 5) => {}
        }
        until("the tree is gone", async || sandbox.count_processes(&mark).await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_process_with_a_name_that_is_not_utf_8_is_killed() {
    in_sandbox(async |sandbox| {
        // The kernel keeps 15 bytes of a name, here half a character at the end.
        let name = "aaaaaaaaaaaaaa\u{e9}";
        sandbox.shell(&format!("cp /bin/sleep {name}")).await;
        for command in [json!([format!("./{name}"), "3595.5"]), json!(format!("./{name} 3595.5 & sleep 3595.5"))] {
            let output = sandbox.exec(json!({ "command": command, "timeout_ms": 200 })).await;
            assert_eq!(output.result.exit, Some(Exit::TimedOut));
            assert_eq!(sandbox.count_processes("3595.5").await, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_timeout_ends_a_stopped_process() {
    in_sandbox(async |sandbox| {
        let output = sandbox.exec(json!({ "command": "kill -STOP $$", "timeout_ms": 200 })).await;
        assert_eq!(output.result.exit, Some(Exit::TimedOut));
    })
    .await;
}

#[tokio::test]
async fn a_daemon_survives_its_command_and_does_not_delay_the_result() {
    in_sandbox(async |sandbox| {
        let mark = mark();
        let daemon = format!("(while sleep 0.05; do echo still here; done) & sleep {mark} & echo started");
        let output = sandbox.exec(json!({ "command": daemon })).await;
        assert!(output.result.success());
        assert!(output.stdout.0.starts_with(b"started\n"));
        assert_eq!(sandbox.count_processes(&format!("^sleep {mark}")).await, 1);
        sandbox.exec(json!({ "command": ["pkill", "--full", mark] })).await;
    })
    .await;
}
