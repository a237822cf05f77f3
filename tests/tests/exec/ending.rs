//! Commands that are ended.

use cabana_protocol::{
    exec::Exit,
    process::{Logs, Until, Wait, Waited},
};
use cabana_tests::{gather, in_agent, in_sandbox, until};
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;

use super::{NDJSON, SSE, mark};

#[tokio::test]
async fn a_timeout_holds_in_every_form() {
    in_sandbox(async |sandbox| {
        let mark = mark();
        let request = json!({ "command": format!("printf partial; sleep {mark} & sleep {mark}"), "timeout_ms": 500 });
        let with = |field: &str, value: serde_json::Value| {
            let mut request = request.clone();
            request[field] = value;
            request
        };
        for request in [request.clone(), with("tty", json!({})), with("stdin", json!({ "stream": true }))] {
            let output = sandbox.exec(request).await;
            assert_eq!((output.result.exit, output.stdout), (Some(Exit::TimedOut), "partial".into()));
        }
        for accept in [NDJSON, SSE] {
            let (stdout, _, result) = gather(sandbox.stream(accept, request.clone()).await).await;
            assert_eq!((result.exit, stdout), (Some(Exit::TimedOut), b"partial".to_vec()));
        }
        let mut socket = sandbox.connect().await;
        socket.send("exec", "late", request.clone()).await;
        assert_eq!(socket.wait_for("result", "late").await["exit"]["reason"], "timed_out");
        let process = sandbox.exec(with("detach", json!(true))).await.result.process.to_string();
        let ended = sandbox.call(Wait { process: process.clone(), until: Until::Exit {}, timeout_ms: None }).await;
        assert_eq!(ended, Waited::Exited { exit: Exit::TimedOut });
        assert_eq!(sandbox.call(Logs { process, from: None, max_bytes: None }).await.stdout, "partial".into());
        assert_eq!(sandbox.count_processes(&format!("^sleep {mark}")).await, 0);
    })
    .await;
}

/// Each process of the chain starts the next one and ends: whoever looks for it finds where it was.
#[tokio::test]
async fn a_chain_of_processes_is_caught_up_with() {
    in_sandbox(async |sandbox| {
        for each in ["pass", "os.setsid()"] {
            // By the clock it ends some time, whatever is wrong with those who end it.
            let chain = format!(
                "import os, time\nend = time.time() + 60\nbeat = os.open('beat', os.O_CREAT | os.O_APPEND | os.O_WRONLY)\nos.write(1, b'up\\n')\n\
                 while time.time() < end:\n  if os.fork(): os._exit(0)\n  os.write(beat, b'.')\n  {each}"
            );
            let command = json!(["sh", "-c", "python3 -c \"$0\" & wait; exec sleep 3707.5", chain]);
            let mut socket = sandbox.connect().await;
            socket.send("exec", "chain", json!({ "command": command })).await;
            while socket.wait_for("event", "chain").await["bytes"] != "up\n" {}
            until("it beats", async || sandbox.shell("wc -c <beat").await.trim().parse::<u32>().unwrap() > 50).await;
            socket.send("cancel", "chain", json!({})).await;
            assert_eq!(socket.wait_for("result", "chain").await["exit"]["reason"], "cancelled");
            let beats = sandbox.shell("wc -c <beat; sleep 0.2; wc -c <beat; rm beat").await;
            let (before, after) = beats.trim().split_once('\n').unwrap();
            assert_eq!(before, after, "{each}: it goes on");
        }
    })
    .await;
}

#[tokio::test]
async fn whenever_the_caller_has_heard_enough_everything_ends() {
    in_sandbox(async |sandbox| {
        let mark = mark();
        let command = format!("sleep {mark} & for i in 1 2 3 4 5 6; do echo $i; sleep 0.01; done; sleep {mark}");
        for heard in 0..=7 {
            let mut lines = sandbox.stream([NDJSON, SSE][heard % 2], json!({ "command": command })).await;
            for _ in 0..heard {
                lines.next().await.unwrap();
            }
            drop(lines);
            let mut socket = sandbox.connect().await;
            socket.send("exec", "enough", json!({ "command": command })).await;
            for _ in 0..heard {
                assert_eq!(socket.next().await["type"], "event");
            }
            socket.send("cancel", "enough", json!({})).await;
            assert_eq!(socket.wait_for("result", "enough").await["exit"]["reason"], "cancelled");
            // Nothing more comes under this id, and it is free again.
            socket.send("exec", "enough", json!({ "command": "exit 3" })).await;
            assert_eq!(socket.next().await["payload"]["type"], "started");
            assert_eq!(socket.next().await["payload"]["exit"]["code"], 3);
        }
        until("nothing is left", async || sandbox.count_processes(&format!("^sleep {mark}")).await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn no_end_is_made_up_for_what_was_interrupted() {
    for accept in [NDJSON, SSE, "application/json"] {
        in_agent(&[], async |sandbox| {
            let request = sandbox.request(Method::POST, "/exec").header("accept", accept);
            let answer = request.json(&json!({ "command": "echo up; kill -KILL $PPID; sleep 0.2" })).send().await;
            let mut body = Vec::new();
            if let Ok(mut answer) = answer {
                while let Ok(Some(piece)) = answer.chunk().await {
                    body.extend(piece);
                }
            }
            let text = String::from_utf8(body).unwrap();
            assert!(!text.contains("\"exit\"") && !text.contains("\"error\""), "{accept}: {text}");
        })
        .await;
    }
}
