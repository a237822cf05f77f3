//! The end of a session, and what ends with it.

use cabana_protocol::session::{Delete, Get, List};

use super::*;

#[tokio::test]
async fn a_session_ends_with_its_shell() {
    in_sandbox(async |sandbox| {
        for (command, stdout, code) in [
            ("echo last; exit 7; echo no", "last\n", 7),
            ("set -e; false; echo no", "", 1),
            ("trap 'echo bye >bye' EXIT; exit 3", "", 3),
            ("exec echo replaced", "replaced\n", 0),
            ("exec sh -c 'cat; exit 5'", "", 5),
        ] {
            for session in create_each(sandbox).await {
                let output = run(sandbox, &session, command).await;
                assert_eq!((output.stdout.0, output.result.exit), (stdout.into(), Some(Exit::Exited { code })), "{command}");
                assert!(output.result.session_ended, "{command}");
                let again = json!({ "command": "true", "session": session });
                assert_eq!(sandbox.post("exec", again).await.code(), "gone", "{command}");
                for operation in ["session.get", "session.delete"] {
                    assert_eq!(sandbox.post(operation, json!({ "session": session })).await.code(), "gone", "{command}");
                }
            }
        }
        assert!(sandbox.call(List {}).await.sessions.is_empty());
        let last = create(sandbox).await;
        let (incarnation, _) = last.rsplit_once("-s").unwrap();
        let (never, other) = (format!("{incarnation}-s99"), "zzzzzz-s1".to_owned());
        for (session, code) in [("nobody", "not_found"), ("", "not_found"), (&never, "not_found"), (&other, "gone")] {
            assert_eq!(sandbox.post("exec", json!({ "command": "true", "session": session })).await.code(), code, "{session}");
        }
    })
    .await;
}

#[tokio::test]
async fn errexit_of_one_command_ends_the_session_in_a_later_one() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            check(sandbox, &session, "set -e; trap 'echo bye' EXIT", "", "", 0).await;
            check(sandbox, &session, "if false; then :; fi; echo on", "on\n", "", 0).await;
            let output = run(sandbox, &session, "echo before; false; echo no").await;
            assert!(output.result.session_ended && output.result.exit == Some(Exit::Exited { code: 1 }), "{output:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_killed_shell_ends_its_session() {
    in_sandbox(async |sandbox| {
        for running in [None, Some("sleep 3724.1")] {
            let opened = sandbox.call(Create::default()).await;
            let session = &opened.session;
            check(sandbox, session, "true", "", "", 0).await;
            let stream = match running {
                None => None,
                Some(command) => {
                    let mut stream = sandbox.stream(NDJSON, json!({ "command": command, "session": session })).await;
                    stream.next().await.unwrap();
                    Some(stream)
                }
            };
            sandbox.shell(&format!("kill -KILL {}", opened.pid)).await;
            if let Some(stream) = stream {
                let (_, _, result) = gather(stream).await;
                let killed = Exit::Signalled { signal: "SIGKILL".parse().unwrap() };
                assert!(result.session_ended && result.exit == Some(killed), "{result:?}");
            }
            let gone = async || sandbox.post("session.get", json!({ "session": session })).await.status == 410;
            until("it is gone", gone).await;
            assert_eq!(sandbox.post("exec", json!({ "command": "true", "session": session })).await.code(), "gone");
        }
    })
    .await;
}

#[tokio::test]
async fn deleting_a_session_ends_all_its_processes() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            let detached = sandbox.exec(json!({ "command": "sleep 3725.1", "detach": true })).await;
            assert!(sandbox.call(List {}).await.sessions.iter().any(|listed| listed.session == session));
            assert_eq!(sandbox.call(Get { session: session.clone() }).await.session, session);
            let files = String::from_utf8(run(sandbox, &session, "trap").await.stdout.0.to_vec()).unwrap();
            let files = files.split_once(">>").unwrap().1.split_once("/traps").unwrap().0;
            check(sandbox, &session, "sleep 3725.2 & (setsid sleep 3725.2 &); trap '' HUP INT TERM", "", "", 0).await;
            let running =
                sandbox.stream(NDJSON, json!({ "command": "echo on; sleep 3725.2; echo no", "session": session })).await;
            until("it runs", async || sandbox.count_processes("^sleep 3725.2").await == 3).await;
            let mut socket = sandbox.connect().await;
            socket.send("exec", "waits", json!({ "command": "touch never", "session": session })).await;
            sandbox.call(Delete { session: session.clone() }).await;
            assert_eq!(sandbox.count_processes("^sleep 3725.2").await, 0);
            let (stdout, _, result) = gather(running).await;
            assert!(result.session_ended && result.exit == Some(Exit::Cancelled) && stdout == b"on\n", "{result:?}");
            assert_eq!(socket.wait_for("error", "waits").await["code"], "gone");
            assert_eq!(sandbox.post("session.delete", json!({ "session": session })).await.code(), "gone");
            assert_eq!(sandbox.shell(&format!("[ -e {files} ] || echo removed; ls never 2>&1 | wc -l")).await, "removed\n1\n");
            assert_eq!(sandbox.count_processes("^sleep 3725.1").await, 1);
            let signal = json!({ "process": detached.result.process, "signal": "SIGKILL" });
            sandbox.post("process.signal", signal).await.success();
        }
        assert!(sandbox.call(List {}).await.sessions.is_empty());
    })
    .await;
}
