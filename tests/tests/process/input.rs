//! Input that later requests bring.

use cabana_protocol::{
    Data,
    process::{Input, Logs, Until, Wait},
};
use cabana_tests::{Sandbox, in_sandbox, until};
use serde_json::{Value, json};

use super::{detach, exited, wait};

async fn say(sandbox: &Sandbox, process: &str, data: impl Into<Data>) {
    sandbox.call(Input { process: process.to_owned(), data: Some(data.into()), eof: false }).await;
}

async fn end(sandbox: &Sandbox, process: &str) {
    sandbox.call(Input { process: process.to_owned(), data: None, eof: true }).await;
}

/// A server that speaks JSON-RPC on its stdin and stdout, as tools of assistants do.
#[tokio::test]
async fn a_server_on_stdio_is_used_through_input_and_logs() {
    in_sandbox(async |sandbox| {
        let request = json!({ "command": ["python3", "-c", include_str!("adding_server.py")], "stdin": { "stream": true }, "name": "server" });
        let id = detach(sandbox, request).await;
        wait(sandbox, &id, Until::Log { log: "ready".to_owned() }).await;
        let (mut from, mut total) = (0, 0);
        for number in 1..=50 {
            let call = json!({ "jsonrpc": "2.0", "id": number, "method": "add", "params": { "n": number } }).to_string();
            // However the line is cut into requests.
            let (first, second) = call.split_at(number % call.len());
            say(sandbox, &id, first).await;
            say(sandbox, "server", format!("{second}\n").into_bytes()).await;
            total += number;
            wait(sandbox, &id, Until::Log { log: format!("\"id\": {number},") }).await;
            let log = sandbox.call(Logs { process: id.clone(), from: Some(from), max_bytes: None }).await;
            from = log.to;
            let answer: Value = serde_json::from_slice(&log.stdout.0).unwrap();
            assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": number, "result": total }));
        }
        end(sandbox, &id).await;
        assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited((50 * 51 / 2) % 256));
    })
    .await;
}

#[tokio::test]
async fn a_process_that_does_not_read_blocks_its_writer() {
    const PIECES: usize = 64;
    const PIECE: usize = 1 << 20;
    in_sandbox(async |sandbox| {
        let id = detach(sandbox, json!({ "command": ["python3", "-c", include_str!("late_reader.py")], "stdin": { "stream": true } })).await;
        let piece = |number: usize| vec![b'@' + u8::try_from(number).unwrap(); PIECE];
        let taken = std::cell::Cell::new(0);
        let writes = async {
            for number in 0..PIECES {
                say(sandbox, &id, piece(number)).await;
                taken.set(number + 1);
            }
            end(sandbox, &id).await;
        };
        let looks = async {
            until("the first is taken", async || taken.get() > 0).await;
            for _ in 0..50 {
                sandbox.shell("true").await;
                // One waits in the agent, and some of it in the pipe.
                assert!(taken.get() <= 2, "{} MiB are taken from the caller and read by nobody", taken.get());
            }
            sandbox.put("go", "").await.success();
        };
        tokio::join!(writes, looks);
        assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited(0));
        let whole = sandbox.shell("python3 -c \"import sys, hashlib; print(hashlib.sha256(b''.join(bytes([64 + n]) * (1 << 20) for n in range(64))).hexdigest())\"");
        assert_eq!(sandbox.call(Logs { process: id, from: None, max_bytes: None }).await.stdout, whole.await.as_str().into());
    })
    .await;
}

#[tokio::test]
async fn input_to_a_closed_stdin_is_refused_and_harmless() {
    in_sandbox(async |sandbox| {
        // It closes its stdin and lives on: what is written then is lost, as in a pipe.
        let id = detach(
            sandbox,
            json!({ "command": "exec <&-; echo closed; until [ -e go ]; do sleep 0.02; done; exit 3", "stdin": { "stream": true } }),
        )
        .await;
        wait(sandbox, &id, Until::Log { log: "closed".to_owned() }).await;
        for _ in 0..20 {
            sandbox.post("process.input", json!({ "process": id, "data": "x".repeat(100_000) })).await;
        }
        sandbox.put("go", "").await.success();
        assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited(3));
        let late = json!({ "process": id, "data": "late" });
        assert_eq!(sandbox.post("process.input", late).await.code(), "conflict");
        let mut socket = sandbox.connect().await;
        socket.send("exec", "short", json!({ "command": "read line; exit 4", "stdin": { "stream": true } })).await;
        socket.wait_for("event", "short").await;
        socket.send("input", "short", json!({ "type": "stdin", "bytes": "one\ntwo\n" })).await;
        assert_eq!(socket.wait_for("result", "short").await["exit"]["code"], 4);
        socket.send("input", "short", json!({ "type": "stdin", "bytes": "late" })).await;
        let refused = socket.next().await;
        assert_eq!((&refused["payload"]["code"], &refused["payload"]["details"]["id"]), (&json!("not_found"), &json!("short")));
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_a_line_finds_it_across_writes() {
    in_sandbox(async |sandbox| {
        for (script, line) in [
            ("printf rea; sleep 0.05; printf 'dy on 1\\n'", "ready on 1"),
            ("printf rea; printf noise >&2; sleep 0.02; printf more >&2; printf 'dy on 2\\n'", "ready on 2"),
            ("printf 'one\\r\\nready on 3\\r\\n'", "ready on 3"),
            ("echo ready on 4 >&2", "ready on 4"),
            ("printf 'ready on 5'; exec sleep 0.05", "ready on 5"),
            ("head -c 60000 /dev/zero; printf '\\nready on 6\\n'", "ready on 6"),
            ("head -c 100000 /dev/zero | tr '\\0' '\\n'; sleep 0.02; echo ready on 7; seq 1000", "ready on 7"),
        ] {
            let id = detach(sandbox, json!({ "command": script })).await;
            let found = Data::from(line);
            let until = || Until::Regex { regex: "^ready on \\d$".to_owned() };
            let early = super::line(wait(sandbox, &id, until()).await);
            sandbox.call(Wait { process: id.clone(), until: Until::EXIT, from: None, timeout_ms: None }).await;
            // A later wait finds the same line.
            assert_eq!((early, super::line(wait(sandbox, &id, until()).await)), (found.clone(), found), "{script}");
        }
    })
    .await;
}
