//! Replay of a process's output for listeners that come late, reconnect, or do not keep up.

use cabana_protocol::{
    exec::{ExecEvent, ExecResult, Exit},
    line::Line,
    process::{Get, Logs, SendSignal, Until},
};
use cabana_tests::{Dice, NDJSON, SSE, gather, in_sandbox};
use futures_util::StreamExt;
use reqwest::{Method, header};
use serde_json::json;

use super::{detach, exited, wait};

#[tokio::test]
async fn a_reconnecting_listener_reads_each_byte_once() {
    in_sandbox(async |sandbox| {
        let script = "for i in $(seq 1 300); do echo line $i; echo error $i >&2; seq $i; sleep 0.002; done";
        let id = detach(sandbox, json!({ "command": script })).await;
        let (mut listener, mut dice, mut from, mut patience) = (Listener::default(), Dice::new(40), 0, 1_000);
        for connection in 0.. {
            // Each breaks off after some bytes: in the middle of a line, an event, a character.
            let accept = [NDJSON, SSE][connection % 2];
            let request = sandbox.request(Method::POST, "/process/attach").header(header::ACCEPT, accept);
            let request = match accept {
                SSE if from > 0 => request.header("last-event-id", from).json(&json!({ "process": id })),
                _ => request.json(&json!({ "process": id, "from": from })),
            };
            let mut response = request.send().await.unwrap();
            let (mut body, most) = (Vec::new(), dice.roll(patience));
            while let (true, Some(piece)) = (body.len() < most, response.chunk().await.unwrap()) {
                body.extend(piece);
            }
            body.truncate(most);
            let before = from;
            if listener.receive(&body, &mut from) {
                assert!(connection > 50, "{connection} connections prove little");
                break;
            }
            patience = if from > before { 1_000 } else { 2 * patience };
        }
        let numbers = |last: u32| (1..=last).map(|number| format!("{number}\n")).collect::<String>();
        let stdout: String = (1..=300).map(|number| format!("line {number}\n{}", numbers(number))).collect();
        let stderr: String = (1..=300).map(|number| format!("error {number}\n")).collect();
        assert!(listener.stdout == stdout.as_bytes() && listener.stderr == stderr.as_bytes());
        let (again, errors, _) = gather(sandbox.stream_of("process.attach", NDJSON, json!({ "process": id })).await).await;
        assert!(again == stdout.as_bytes() && errors == stderr.as_bytes(), "kept output is replayed from the beginning");
    })
    .await;
}

/// The output received over many connections.
#[derive(Default)]
struct Listener {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Listener {
    /// Takes the whole lines that came over one connection, which must begin at `from` and have no gap; true at the end.
    fn receive(&mut self, body: &[u8], from: &mut u64) -> bool {
        let lines = body.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let mut id = None;
        for line in lines.map(|line| line.trim_ascii()) {
            let data = line.strip_prefix(b"data: ").unwrap_or(line);
            if let Some(next) = line.strip_prefix(b"id: ") {
                id = Some(std::str::from_utf8(next).unwrap().parse::<u64>().unwrap());
                continue;
            }
            if data.is_empty() || data.starts_with(b":") {
                continue;
            }
            let (received, offset, bytes) = match Line::decode(data).unwrap() {
                Line::Event(ExecEvent::Started { .. }) => continue,
                Line::Event(ExecEvent::Stdout { offset, bytes }) => (&mut self.stdout, offset, bytes.0),
                Line::Event(ExecEvent::Stderr { offset, bytes }) => (&mut self.stderr, offset, bytes.0),
                Line::Result(result) => {
                    assert!(ExecResult::success(&result));
                    return true;
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(offset, *from);
            *from += bytes.len() as u64;
            received.extend(bytes);
            assert!(id.take().is_none_or(|id| id == *from), "an event's id is where to go on");
        }
        false
    }
}

#[tokio::test]
async fn logs_are_read_in_pages() {
    in_sandbox(async |sandbox| {
        let script = "printf '\\360\\237\\214\\212%.0s' $(seq 1000); seq 1 1000 >&2; until [ -e go ]; do sleep 0.02; done";
        let id = detach(sandbox, json!({ "command": script })).await;
        wait(sandbox, &id, Until::Log { log: "1000".to_owned() }).await;
        let page = async |from, max_bytes| sandbox.call(Logs { process: id.clone(), from: Some(from), max_bytes }).await;
        let (mut stdout, mut stderr, mut at, mut pages) = (String::new(), String::new(), 0, 0);
        while at < 7_893 {
            let log = page(at, Some(1_001)).await;
            assert!(log.from == at && at < log.to && log.to - log.from <= 1_001, "{log:?}");
            assert_eq!((log.output_bytes, log.exit), (7_893, None));
            // Whole characters: bytes that are no text would be found out here.
            stdout += std::str::from_utf8(&log.stdout.0).unwrap();
            stderr += std::str::from_utf8(&log.stderr.0).unwrap();
            (at, pages) = (log.to, pages + 1);
        }
        assert_eq!((stdout, pages), ("\u{1f30a}".repeat(1_000), 8));
        assert!(stderr.starts_with("1\n2\n") && stderr.ends_with("\n1000\n"));
        let (nothing, last) = (page(5, Some(0)).await, page(7_893, None).await);
        assert_eq!((nothing.from, nothing.to, last.from, last.to), (5, 5, 7_893, 7_893));
        sandbox.put("go", "").await.success();
        assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited(0));
        let whole = page(0, None).await;
        assert_eq!((whole.to, whole.output_bytes, whole.exit), (7_893, 7_893, Some(Exit::Exited { code: 0 })));
        for (name, body) in [
            ("process.logs", json!({ "max_bytes": (16 << 20) + 1 })),
            ("process.logs", json!({ "from": 7_894 })),
            ("process.attach", json!({ "from": 7_894 })),
        ] {
            let mut body = body;
            body["process"] = id.clone().into();
            let answer = sandbox.post(name, body.clone()).await;
            assert_eq!(answer.code(), "invalid_request", "{name} {body}");
            if body["from"].is_number() {
                assert_eq!(answer.json()["error"]["details"]["output_bytes"], 7_893);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn only_idempotent_requests_are_resumed_after_a_lost_connection() {
    in_sandbox(async |sandbox| {
        let id = detach(sandbox, json!({ "command": "echo once" })).await;
        wait(sandbox, &id, Until::EXIT).await;
        for (route, body, last, code) in [
            ("/exec", json!({ "command": "echo again >> twice" }), "5", "invalid_request"),
            ("/process/attach", json!({ "process": id }), "6", "invalid_request"),
            ("/process/attach", json!({ "process": id }), "nonsense", "invalid_request"),
        ] {
            let request = sandbox.request(Method::POST, route).header(header::ACCEPT, SSE).header("last-event-id", last);
            let answer = sandbox.send(request.json(&body)).await;
            let refused = answer.bytes.windows(code.len()).any(|part| part == code.as_bytes());
            assert!(refused, "{route} {last}: {}", String::from_utf8_lossy(&answer.bytes));
        }
        assert_eq!(sandbox.shell("ls").await, "");
    })
    .await;
}

#[tokio::test]
async fn output_beyond_memory_is_replayed_from_disk_after_the_end() {
    in_sandbox(async |sandbox| {
        let script = "echo first; seq 1 1000000; echo err >&2; until [ -e go ]; do sleep 0.02; done; echo last";
        let id = detach(sandbox, json!({ "command": script })).await;
        let expected: String = (1..=1_000_000).map(|number| format!("{number}\n")).collect();
        let expected = format!("first\n{expected}last\n");
        wait(sandbox, &id, Until::Log { log: "err".to_owned() }).await;
        let listener = sandbox.stream_of("process.attach", NDJSON, json!({ "process": id })).await;
        sandbox.put("go", "").await.success();
        assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited(0));
        let late = sandbox.stream_of("process.attach", NDJSON, json!({ "process": id })).await;
        for listener in [listener, late] {
            let (stdout, stderr, result) = gather(listener).await;
            assert!(stdout == expected.as_bytes() && stderr == b"err\n" && result.success());
        }
        let line = wait(sandbox, &id, Until::Regex { regex: "^fir".to_owned() }).await;
        assert_eq!(super::line(line).0, "first");
    })
    .await;
}

#[tokio::test]
async fn forgotten_output_is_reported_as_a_gap() {
    in_sandbox(async |sandbox| {
        let id = detach(sandbox, json!({ "command": "head -c 100000000 /dev/zero | tr '\\0' x; echo end" })).await;
        assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited(0));
        let mut lines = sandbox.stream_of("process.attach", NDJSON, json!({ "process": id, "from": 0 })).await;
        assert!(matches!(lines.next().await, Some(Line::Event(ExecEvent::Started { .. }))));
        let Some(Line::Event(ExecEvent::Gap { from: 0, to })) = lines.next().await else { panic!("no gap") };
        let mut next = to;
        while let Some(Line::Event(ExecEvent::Stdout { offset, bytes })) = lines.next().await {
            assert_eq!(offset, next);
            next += bytes.0.len() as u64;
        }
        assert_eq!(next, 100_000_004);
        assert!((64 << 20..66 << 20).contains(&(next - to)), "{} bytes are kept", next - to);
        let answer = sandbox.post("process.attach", json!({ "process": id, "from": next + 1 })).await;
        assert_eq!(answer.code(), "invalid_request");
    })
    .await;
}

#[tokio::test]
async fn many_listeners_do_not_delay_each_other() {
    in_sandbox(async |sandbox| {
        let id =
            detach(sandbox, json!({ "command": "until [ -e go ]; do sleep 0.02; done; seq 1 40000", "name": "talker" })).await;
        let stalled = sandbox.stream_of("process.attach", NDJSON, json!({ "process": id })).await;
        let listeners = (0..4).map(async |_| {
            let (stdout, _, result) =
                gather(sandbox.stream_of("process.attach", NDJSON, json!({ "process": "talker" })).await).await;
            assert!(result.success() && stdout.ends_with(b"\n40000\n") && stdout.len() == 228_894, "{}", stdout.len());
        });
        let go = async { sandbox.put("go", "").await.success() };
        tokio::join!(futures_util::future::join_all(listeners), go);
        drop(stalled);
    })
    .await;
}

#[tokio::test]
async fn a_slow_listener_gets_gaps_and_delays_nobody() {
    in_sandbox(async |sandbox| {
        // More than the agent keeps of one process and the way to a listener holds.
        const MUCH: u64 = 200_000_000;
        let id = detach(sandbox, json!({ "command": ["yes", "3571.5"] })).await;
        let attach = async || sandbox.stream_of("process.attach", NDJSON, json!({ "process": id })).await;
        let (mut stalled, mut live) = (attach().await, attach().await);
        let Some(Line::Event(ExecEvent::Started { .. })) = stalled.next().await else { panic!("not started") };
        let mut heard = 0;
        while heard < MUCH {
            let Some(Line::Event(event)) = live.next().await else { panic!("it says yes for ever") };
            heard = event.end().unwrap_or(heard);
        }
        assert_eq!(sandbox.shell("echo quick").await, "quick\n");
        sandbox.call(SendSignal { process: id.clone(), signal: "SIGKILL".parse().unwrap() }).await;
        let (mut next, mut gaps) = (0, Vec::new());
        let result = loop {
            match stalled.next().await.expect("a result") {
                Line::Event(ExecEvent::Stdout { offset, bytes }) => {
                    assert_eq!(offset, next);
                    next += bytes.0.len() as u64;
                }
                Line::Event(ExecEvent::Gap { from, to }) => {
                    assert!(from == next && to > from);
                    gaps.push((from, to));
                    next = to;
                }
                Line::Result(result) => break result,
                other => panic!("{other:?}"),
            }
        };
        assert!(!gaps.is_empty(), "{next} bytes were received without a gap");
        assert_eq!(sandbox.call(Get { process: id }).await.output_bytes, next);
        assert_eq!(result.exit, Some(Exit::Signalled { signal: "SIGKILL".parse().unwrap() }));
    })
    .await;
}
