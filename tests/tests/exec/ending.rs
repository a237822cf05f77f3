//! Commands that end by timeout, cancel, disconnect or a killed agent.

use cabana_protocol::{
    exec::{ExecEvent, Exit},
    line::Line,
    process::{Logs, Until, Wait, Waited},
};
use cabana_tests::{NDJSON, SSE, Sandbox, Target, gather, http1, in_sandbox, process::Process, require, until};
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::mark;

#[tokio::test]
async fn a_timeout_ends_the_command_in_every_form() {
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
        assert_eq!(socket.wait_for("result", "late").await["exit"]["type"], "timed_out");
        let process = sandbox.exec(with("detach", json!(true))).await.result.process.to_string();
        let ended = sandbox.call(Wait { process: process.clone(), until: Until::EXIT, from: None, timeout_ms: None }).await;
        assert_eq!(ended, Waited::Exited { exit: Exit::TimedOut });
        assert_eq!(sandbox.call(Logs { process, from: None, max_bytes: None }).await.stdout, "partial".into());
        assert_eq!(sandbox.count_processes(&format!("^sleep {mark}")).await, 0);
    })
    .await;
}

/// Each process of the chain starts the next one and ends, so that a look at the processes finds one that is already gone.
#[tokio::test]
async fn a_chain_of_forking_processes_is_killed() {
    in_sandbox(async |sandbox| {
        for each in ["pass", "os.setsid()"] {
            // The deadline ends the chain even where nobody else does.
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
            assert_eq!(socket.wait_for("result", "chain").await["exit"]["type"], "cancelled");
            let beats = sandbox.shell("wc -c <beat; sleep 0.2; wc -c <beat; rm beat").await;
            let (before, after) = beats.trim().split_once('\n').unwrap();
            assert_eq!(before, after, "{each}: it goes on");
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_stops_listening_ends_the_whole_tree() {
    in_sandbox(async |sandbox| {
        let mark = mark();
        let command = format!("sleep {mark} & for i in 1 2 3 4 5 6; do echo $i; sleep 0.01; done; sleep {mark}");
        for heard in 0..=7 {
            let mut lines = sandbox.stream([NDJSON, SSE][heard % 2], json!({ "command": command })).await;
            // One event may hold several lines, so they are counted by their bytes; the first event says that the command runs.
            let lines_heard = heard.saturating_sub(1);
            let mut text = Vec::new();
            if heard > 0 {
                assert!(matches!(lines.next().await, Some(Line::Event(ExecEvent::Started { .. }))));
            }
            while text.len() < "1\n".len() * lines_heard {
                if let Line::Event(ExecEvent::Stdout { bytes, .. }) = lines.next().await.unwrap() {
                    text.extend(bytes.0);
                }
            }
            drop(lines);
            let mut socket = sandbox.connect().await;
            socket.send("exec", "enough", json!({ "command": command })).await;
            if heard > 0 {
                assert_eq!(socket.wait_for("event", "enough").await["type"], "started");
            }
            let mut bytes = 0;
            while bytes < "1\n".len() * lines_heard {
                bytes += socket.wait_for("event", "enough").await["bytes"].as_str().map_or(0, str::len);
            }
            socket.send("cancel", "enough", json!({})).await;
            assert_eq!(socket.wait_for("result", "enough").await["exit"]["type"], "cancelled");
            // Nothing more comes under this id, and it is free again.
            socket.send("exec", "enough", json!({ "command": "exit 3" })).await;
            assert_eq!(socket.next().await["payload"]["type"], "started");
            assert_eq!(socket.next().await["payload"]["exit"]["code"], 3);
        }
        until("nothing is left", async || sandbox.count_processes(&format!("^sleep {mark}")).await == 0).await;
    })
    .await;
}

mod agent_only {
    use std::time::Instant;

    use super::*;

    /// A connection is written to after 5 s of silence for the first time; by then its command is long gone.
    #[tokio::test]
    async fn a_caller_that_hangs_up_ends_a_silent_command_before_a_heartbeat() {
        in_sandbox(async |sandbox| {
            for accept in [NDJSON, SSE, "application/json", "application/octet-stream"] {
                let mark = mark();
                let request = sandbox.request(Method::POST, "/exec").header("accept", accept);
                let request = request.json(&json!({ "command": ["sleep", mark] })).build().unwrap();
                let (head, body) = http1::spell(&request);
                let mut stream = http1::dial(&request).await;
                stream.write_all((head + &body).as_bytes()).await.unwrap();
                until("it runs", async || !Process::find(&format!("sleep\0{mark}")).is_empty()).await;
                let hung_up = Instant::now();
                drop(stream);
                until("it has ended", async || Process::find(&format!("sleep\0{mark}")).is_empty()).await;
                assert!(hung_up.elapsed().as_secs() < 4, "{accept}: {:?}", hung_up.elapsed());
            }
        })
        .await;
    }
}

/// The agent whose command this `sleep` is, on this machine.
fn agent_of(mark: &str) -> Option<Process> {
    let sleep = Process::find(&format!("sleep\0{mark}")).first().copied()?;
    sleep.ancestors().find(|process| ["agent", "cabana-agent"].contains(&process.name().as_str()))
}

#[tokio::test]
async fn an_interrupted_command_has_no_exit() {
    let is_here = Target::get().is_direct() || Sandbox::service().0.starts_with("http://127.0.0.1:");
    if require("engine", is_here.then_some(()), "the stack runs elsewhere").is_none() {
        return;
    }
    for accept in [NDJSON, SSE, "application/json"] {
        in_sandbox(async |sandbox| {
            let mark = mark();
            let request = sandbox.request(Method::POST, "/exec").header("accept", accept);
            let request = request.json(&json!({ "command": format!("echo up; exec sleep {mark}") }));
            let calling = async {
                let mut text = String::new();
                if let Ok(mut answer) = request.send().await {
                    while let Ok(Some(piece)) = answer.chunk().await {
                        text += std::str::from_utf8(&piece).unwrap();
                    }
                }
                text
            };
            let killing = async {
                until("it runs", async || agent_of(&mark).is_some()).await;
                // Another command's whole way is longer than what is left of the way of the output.
                sandbox.shell("true").await;
                agent_of(&mark).unwrap().signal("KILL");
            };
            let (text, ()) = tokio::join!(calling, killing);
            let printed = text.contains(r#""up\n""#);
            assert!(printed == (accept != "application/json") && !text.contains("\"exit\""), "{accept}: {text}");
            // The object answers for an agent whose answer has not begun. A stream that has begun ends without a result.
            let told = text.contains(r#""code":"interrupted""#);
            assert_eq!(told, Target::get() == Target::Stack && accept == "application/json", "{accept}: {text}");
        })
        .await;
    }
}
