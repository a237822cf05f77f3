//! The output of a command, under load, in pieces, and after its end.

use cabana_protocol::{
    exec::{Exec, ExecEvent},
    line::LineOf,
    process::{Get, Remove, Until, Wait},
};
use cabana_tests::{NDJSON, SSE, gather, http1, in_agent, in_sandbox, until};
use futures_util::{StreamExt, future::join_all};
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{exited, mark};

#[tokio::test]
async fn a_gigabyte_is_counted_and_not_kept() {
    in_sandbox(async |sandbox| {
        let before = sandbox.peak_memory_kib().await;
        let command = "printf first; head -c 1000000000 /dev/zero | tr '\\0' x; printf last; echo error >&2; exit 7";
        let output = sandbox.exec(json!({ "command": command, "max_output_bytes": 1000 })).await;
        assert!(output.truncated);
        assert_eq!((output.stdout_bytes, output.stderr_bytes, output.result.exit), (1_000_000_009, 6, Some(exited(7))));
        let mark = "\n[999999009 bytes left out]\n";
        assert_eq!(output.stdout.0.len(), 1000 + mark.len());
        assert!(output.stdout.0.windows(mark.len()).any(|window| window == mark.as_bytes()), "it is marked where it was cut");
        assert!(output.stdout.0.starts_with(b"firstxxx") && output.stdout.0.ends_with(b"xxxlast"));
        assert_eq!(output.stderr.0, "error\n");
        let grown = sandbox.peak_memory_kib().await - before;
        assert!(grown < 32 << 10, "{grown} KiB for what is not kept");
    })
    .await;
}

#[tokio::test]
async fn the_raw_form_is_stdout_alone() {
    in_sandbox(async |sandbox| {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
        sandbox.put("bytes", bytes.clone()).await.success();
        let raw = |route: &str, body: &serde_json::Value| {
            sandbox.request(Method::POST, route).header("accept", "application/octet-stream").json(body)
        };
        let command = json!({ "command": "echo error >&2; cat bytes; exit 3" });
        let answer = sandbox.send(raw("/exec", &command)).await;
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        assert!(answer.success() == bytes);
        let detached =
            json!({ "command": "printf one; until [ -e go ]; do sleep 0.02; done; printf two; exit 4", "detach": true });
        let process = sandbox.exec(detached).await.result.process.to_string();
        let mut answer = raw("/process/attach", &json!({ "process": process })).send().await.unwrap();
        assert_eq!(answer.headers()["x-cabana-process"], process.as_str());
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "one");
        sandbox.put("go", "").await.success();
        assert_eq!(answer.text().await.unwrap(), "two");
        assert_eq!(sandbox.call(Get { process }).await.exit, Some(exited(4)), "the follow-up");
        let watch = raw("/git/clone", &json!({ "url": "http://127.0.0.1:1/x", "path": "x" }));
        assert_eq!(sandbox.send(watch).await.code(), "unprocessable", "an operation without a raw form answers JSON");
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn the_result_of_the_raw_form_is_a_trailer() {
        in_sandbox(async |sandbox| {
            let request =
                sandbox.request(Method::POST, "/exec").header("accept", "application/octet-stream").header("te", "trailers");
            let request = request.json(&json!({ "command": "printf out; exit 3" })).build().unwrap();
            let (head, body) = http1::spell(&request);
            let mut stream = http1::dial(&request).await;
            stream.write_all((head + &body).as_bytes()).await.unwrap();
            let text = http1::read_until(&mut stream, &["}\r\n\r\n"]).await.to_lowercase();
            assert!(text.contains("\r\ntrailer: x-cabana-result\r\n") && text.contains("\r\nx-cabana-process: "), "{text}");
            let (body, trailer) = text.split_once("\r\n0\r\nx-cabana-result: ").unwrap();
            assert!(body.ends_with("\r\nout"), "{text}");
            let result: serde_json::Value = serde_json::from_str(trailer).unwrap();
            assert_eq!(result["exit"], json!({ "type": "exited", "code": 3 }));
        })
        .await;
    }

    #[tokio::test]
    async fn the_raw_form_is_refused_where_output_is_missing() {
        in_agent(&[("CABANA_REPLAY_BYTES", "100000"), ("CABANA_REPLAY_DISK_BYTES", "1")], async |sandbox| {
            let printed = sandbox.exec(json!({ "command": "head -c 8388608 /dev/zero", "detach": true })).await;
            let process = printed.result.process.to_string();
            sandbox.call(Wait { process: process.clone(), until: Until::EXIT, from: None, timeout_ms: None }).await;
            let raw = sandbox.request(Method::POST, "/process/attach").header("accept", "application/octet-stream");
            assert_eq!(sandbox.send(raw.json(&json!({ "process": process }))).await.code(), "gone");
        })
        .await;
    }
}

/// What is written at once before the end, where the machine has more to do than it can.
#[tokio::test]
async fn the_last_bytes_arrive_on_a_busy_machine() {
    in_sandbox(async |sandbox| {
        let mark = mark();
        let busy = json!({ "command": format!("for i in 1 2 3; do while :; do : {mark}; done & done; wait"), "detach": true });
        sandbox.exec(busy).await;
        let rounds = (0..16).map(async |number: i32| {
            for round in 0..25 {
                let code = (number * 25 + round) % 256;
                let request = json!({ "command": ["sh", "-c", format!("printf x{round}; printf y >&2; exit {code}")] });
                let expected = (format!("x{round}").into_bytes(), b"y".to_vec(), Some(exited(code)));
                let (stdout, stderr, result) = match number % 4 {
                    0 => {
                        let output = sandbox.exec(request).await;
                        (output.stdout.0.to_vec(), output.stderr.0.to_vec(), output.result)
                    }
                    1 => gather(sandbox.stream(NDJSON, request).await).await,
                    2 => gather(sandbox.stream(SSE, request).await).await,
                    _ => {
                        let mut request = request;
                        request["detach"] = true.into();
                        let process = sandbox.exec(request).await.result.process;
                        let heard =
                            gather(sandbox.stream_of("process.attach", NDJSON, json!({ "process": process })).await).await;
                        sandbox.call(Remove::one(process.to_string())).await;
                        heard
                    }
                };
                assert_eq!((stdout, stderr, result.exit), expected, "{number} {round}");
            }
        });
        join_all(rounds).await;
    })
    .await;
}

#[tokio::test]
async fn a_partial_line_arrives_as_soon_as_it_is_printed() {
    in_sandbox(async |sandbox| {
        for accept in [NDJSON, SSE] {
            let command = "for i in 1 2 3; do printf $i; until [ -e go$i ]; do sleep 0.02; done; rm go$i; done";
            let mut lines = sandbox.stream(accept, json!({ "command": command })).await;
            assert!(matches!(lines.next().await, Some(LineOf::<Exec>::Event(ExecEvent::Started { .. }))));
            for (offset, piece) in ["1", "2", "3"].into_iter().enumerate() {
                let event = ExecEvent::Stdout { offset: offset as u64, bytes: piece.into() };
                assert_eq!(lines.next().await, Some(LineOf::<Exec>::Event(event)));
                sandbox.put(&format!("go{piece}"), "").await.success();
            }
            assert!(matches!(lines.next().await, Some(LineOf::<Exec>::Result(result)) if result.success()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_child_that_outlives_its_command_can_keep_printing() {
    in_sandbox(async |sandbox| {
        // More than any pipe holds, and it must neither wait for a reader nor die for want of one.
        let command = "(until [ -e go ]; do sleep 0.02; done; head -c 10000000 /dev/zero; echo $? >printed) & echo started";
        let output = sandbox.exec(json!({ "command": command })).await;
        assert_eq!((output.stdout, output.result.exit), ("started\n".into(), Some(exited(0))));
        sandbox.put("go", "").await.success();
        until("all is printed", async || sandbox.get("printed").await.bytes == b"0\n").await;
    })
    .await;
}

#[tokio::test]
async fn a_short_detached_command_is_recorded_whole() {
    in_sandbox(async |sandbox| {
        let runs = (0..8).map(async |number: i32| {
            for round in 0..25 {
                let code = (number * 25 + round) % 256;
                let command = json!(["sh", "-c", format!("echo {number} {round}; exit {code}")]);
                let output = sandbox.exec(json!({ "command": command, "detach": true })).await;
                let process = output.result.process.to_string();
                sandbox.call(Wait { process: process.clone(), until: Until::EXIT, from: None, timeout_ms: None }).await;
                let known = sandbox.call(Get { process: process.clone() }).await;
                assert!(known.pid > 1 && known.duration_ms.is_some() && known.usage.is_some(), "{known:?}");
                let printed = format!("{number} {round}\n");
                assert_eq!((known.exit, known.output_bytes), (Some(exited(code)), printed.len() as u64));
                let log = sandbox.post("process.logs", json!({ "process": process })).await.json();
                assert_eq!((&log["stdout"], &log["exit"]["code"]), (&json!(printed), &json!(code)));
                sandbox.call(Remove::one(process)).await;
            }
        });
        join_all(runs).await;
    })
    .await;
}
