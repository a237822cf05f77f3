//! Timeouts, signals and disconnects end a command and keep its session.

use super::*;

/// Scripts that go on for ever, and would print if they went on after having been ended.
const ENDLESS: [&str; 18] = [
    "sleep 3726.1; echo no",
    "x=$(sleep 3726.1; sleep 3726.1); echo no",
    "while :; do :; done; while :; do :; done; echo no",
    "f; echo no",
    "eval 'while :; do :; done; echo no'; echo no",
    "(sleep 3726.1; echo no); echo no",
    "sleep 3726.1 | cat; echo no",
    "sleep 3726.1 & wait; echo no",
    "sleep 3726.1 &\nsleep 3726.1 && echo no || echo no\necho no",
    "while sleep 0.01; do :; done; echo no",
    "until sleep 3726.1; do echo no; done",
    "if sleep 3726.1; then echo no; else echo no; fi",
    "kill -STOP $$; echo no",
    "mkfifo fifo 2>/dev/null; read x <fifo; echo no",
    "trap 'echo no' EXIT; (trap 'sleep 3726.1' TERM; while :; do sleep 3726.1; done); echo no",
    "trap - EXIT; { sleep 3726.1; echo no; } | { cat; echo no; }; echo no",
    "sh -c 'trap : INT TERM; while :; do sleep 3726.1; done'; echo no",
    "setsid sleep 3726.1 & (setsid sleep 3726.1 &); wait; sleep 3726.1; echo no",
];

#[tokio::test]
async fn a_timeout_ends_the_command_and_keeps_the_session() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            check(sandbox, &session, "state=kept; f() { while :; do :; done; echo no; }; g() { echo g; }", "", "", 0).await;
            check(sandbox, &session, "sleep 3726.2 & job=$!; (while sleep 3726.2; do :; done) & :", "", "", 0).await;
            for command in ENDLESS {
                let output = sandbox.exec(json!({ "command": command, "session": session, "timeout_ms": 60 })).await;
                assert_eq!((output.result.exit, output.result.session_ended), (Some(Exit::TimedOut), false), "{command}");
                assert_eq!(output.stdout.0, "", "{command}");
                check(sandbox, &session, "echo $state; false; echo on; g", "kept\non\ng\n", "", 0).await;
                assert_eq!(sandbox.count_processes("^sleep 3726.1").await, 0, "{command}");
                assert_eq!(sandbox.count_processes("^sleep 3726.2").await, 2, "jobs of earlier commands live on: {command}");
            }
            let waits =
                json!({ "command": "read x; echo no", "session": session, "stdin": { "stream": true }, "timeout_ms": 60 });
            let mut socket = sandbox.connect().await;
            socket.send("exec", "a", waits).await;
            assert_eq!(socket.wait_for("result", "a").await["exit"]["type"], "timed_out");
            check(sandbox, &session, "echo $state; kill $job", "kept\n", "", 0).await;
            sandbox.post("session.delete", json!({ "session": session })).await.success();
            assert_eq!(sandbox.count_processes("^sleep 3726").await, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn traps_do_not_prevent_a_timeout_and_are_kept() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            for action in ["echo interrupted", ""] {
                check(sandbox, &session, &format!("trap '{action}' INT"), "", "", 0).await;
                for command in ["sleep 3727.1; echo no", "while :; do :; done; echo no", "read x; echo no"] {
                    let stdin = json!({ "stream": true });
                    let request = json!({ "command": command, "session": session, "stdin": stdin, "timeout_ms": 60 });
                    let mut socket = sandbox.connect().await;
                    socket.send("exec", "a", request).await;
                    let result = socket.wait_for("result", "a").await;
                    assert_eq!(
                        (&result["exit"]["type"], &result["session_ended"]),
                        (&json!("timed_out"), &json!(null)),
                        "{command}"
                    );
                    let trap = run(sandbox, &session, "trap").await.stdout.0;
                    assert!(String::from_utf8_lossy(&trap).contains(&format!("'{action}'")), "{command}: {trap:?}");
                }
            }
        }
        let session = create(sandbox).await;
        check(sandbox, &session, "trap 'echo debug >>debugged' DEBUG; set -T", "", "", 0).await;
        let slow = json!({ "command": "sleep 3727.2; echo no", "session": session, "timeout_ms": 60 });
        assert_eq!(sandbox.exec(slow).await.result.exit, Some(Exit::TimedOut));
        check(sandbox, &session, "trap -p DEBUG", "trap -- 'echo debug >>debugged' DEBUG\n", "", 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_shell_that_stays_stuck_ends_with_its_command() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            let slow = json!({ "command": "exec sh -c \"trap '' INT TERM 39; while :; do sleep 3728.1; done\"", "session": session, "timeout_ms": 60 });
            let output = sandbox.exec(slow).await;
            assert_eq!((output.result.exit, output.result.session_ended), (Some(Exit::TimedOut), true));
            assert_eq!(sandbox.post("exec", json!({ "command": "true", "session": session })).await.code(), "gone");
            assert_eq!(sandbox.count_processes("^sleep 3728.1").await, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_disconnect_or_cancel_ends_the_command_and_keeps_the_session() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            let request = json!({ "command": "kept=1; echo on; sleep 3729.1; echo no >gone", "session": session });
            let mut lines = sandbox.stream(NDJSON, request.clone()).await;
            assert!(matches!(lines.next().await, Some(Line::Event(ExecEvent::Started { .. }))));
            assert!(matches!(lines.next().await, Some(Line::Event(ExecEvent::Stdout { .. }))));
            drop(lines);
            check(sandbox, &session, "echo $kept; [ -e gone ]", "1\n", "", 1).await;
            assert_eq!(sandbox.count_processes("^sleep 3729.1").await, 0);
            let mut socket = sandbox.connect().await;
            socket.send("exec", "a", request).await;
            assert_eq!(socket.wait_for("event", "a").await["type"], "started");
            assert_eq!(socket.wait_for("event", "a").await["type"], "stdout");
            socket.send("cancel", "a", json!({})).await;
            assert_eq!(socket.wait_for("result", "a").await["exit"]["type"], "cancelled");
            check(sandbox, &session, "echo $kept; [ -e gone ]", "1\n", "", 1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_signal_reaches_the_command_and_not_the_shell() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            check(sandbox, &session, "sleep 3730.2 & :", "", "", 0).await;
            for (command, signal, code) in [
                ("sleep 3730.1; [ $? = 143 ]", "SIGTERM", 0),
                ("sleep 3730.1; exit 9", "SIGINT", 130),
                ("sleep 3730.1 & while :; do :; done; exit 9", "SIGINT", 130),
            ] {
                let mut socket = sandbox.connect().await;
                socket.send("exec", "a", json!({ "command": command, "session": session })).await;
                until("it runs", async || sandbox.count_processes("^sleep 3730.1").await == 1).await;
                let process = sandbox.call(List::default()).await.processes[0].process.clone();
                sandbox.post("process.signal", json!({ "process": process, "signal": signal })).await.success();
                let result = socket.wait_for("result", "a").await;
                assert_eq!(result["exit"], json!({ "type": "exited", "code": code }), "{command}");
                check(sandbox, &session, "echo on", "on\n", "", 0).await;
                sandbox.shell("pkill -KILL -f '^sleep 3730.1' || true").await;
            }
            assert_eq!(sandbox.count_processes("^sleep 3730.2").await, 1);
            sandbox.post("session.delete", json!({ "session": session })).await.success();
        }
    })
    .await;
}
