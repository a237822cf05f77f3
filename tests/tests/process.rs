//! Processes that outlive the request that started them.

mod input;
mod replay;
mod signal;

use cabana_protocol::{
    exec::{ExecEvent, Exit},
    line::Line,
    process::{Get, Http, Input, List, Log, Logs, Pattern, Remove, SendSignal, Until, Wait, Waited},
};
use cabana_tests::{NDJSON, Sandbox, in_sandbox, until};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// A web server of the cases: see web_server.py.
const WEB_SERVER: &str = include_str!("process/web_server.py");

/// Starts a detached process and gives its id.
async fn detach(sandbox: &Sandbox, mut request: Value) -> String {
    request["detach"] = true.into();
    let output = sandbox.exec(request).await;
    assert_eq!(output.result.exit, None, "it runs on");
    output.result.process.to_string()
}

/// Starts that server, and gives its process and its port.
async fn serve(sandbox: &Sandbox) -> (String, u16) {
    let id = detach(sandbox, json!({ "command": ["python3", "-c", WEB_SERVER] })).await;
    let pattern = Until::Log(Pattern::Regex("^listening on \\d+$".to_owned()));
    let Waited::Logged { line } = wait(sandbox, &id, pattern).await else { panic!("no line") };
    let port = std::str::from_utf8(&line.0).unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
    (id, port)
}

async fn wait(sandbox: &Sandbox, process: &str, until: Until) -> Waited {
    sandbox.call(Wait { process: process.to_owned(), until, timeout_ms: Some(30_000) }).await
}

fn exited(code: i32) -> Waited {
    Waited::Exited { exit: Exit::Exited { code } }
}

async fn logs(sandbox: &Sandbox, process: &str, from: Option<u64>) -> Log {
    sandbox.call(Logs { process: process.to_owned(), from, max_bytes: None }).await
}

#[tokio::test]
async fn a_detached_process_is_recorded_beyond_its_end() {
    in_sandbox(async |sandbox| {
        let id = detach(
            sandbox,
            json!({ "command": "echo out; echo err >&2; until [ -e go ]; do sleep 0.02; done; echo end; exit 3" }),
        )
        .await;
        wait(sandbox, &id, Until::Log(Pattern::Text("out".to_owned()))).await;
        let listed = sandbox.call(List {}).await.processes;
        let known = listed.iter().find(|process| process.process.as_str() == id).unwrap();
        assert_eq!((known.exit, known.name.as_deref()), (None, None));
        sandbox.put("go", "").await.success();
        assert_eq!(wait(sandbox, &id, Until::Exit {}).await, exited(3));
        let known = sandbox.call(Get { process: id.clone() }).await;
        assert_eq!((known.exit, known.output_bytes), (Some(Exit::Exited { code: 3 }), 12));
        let log = logs(sandbox, &id, None).await;
        assert_eq!((log.stdout, log.stderr, log.from, log.to), ("out\nend\n".into(), "err\n".into(), 0, 12));
        assert_eq!(log.exit, Some(Exit::Exited { code: 3 }));
        sandbox.call(Remove { process: id.clone() }).await;
        assert_eq!(sandbox.post("process.get", json!({ "process": id })).await.code(), "not_found");
    })
    .await;
}

#[tokio::test]
async fn launching_the_same_name_again_finds_the_process() {
    in_sandbox(async |sandbox| {
        let request = json!({ "command": "echo $$; sleep 3594.5", "name": "server" });
        let launches = (0..8).map(async |_| detach(sandbox, request.clone()).await);
        let ids = futures_util::future::join_all(launches).await;
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(sandbox.count_processes("^sleep 3594.5").await, 1);
        let other = json!({ "command": "sleep 1", "name": "server", "detach": true });
        assert_eq!(sandbox.post("exec", other.clone()).await.code(), "conflict");
        assert_eq!(sandbox.post("process.remove", json!({ "process": "server" })).await.code(), "conflict");
        sandbox.call(SendSignal { process: "server".into(), signal: "SIGKILL".parse().unwrap() }).await;
        let killed = Waited::Exited { exit: Exit::Signalled { signal: "SIGKILL".parse().unwrap() } };
        assert_eq!(wait(sandbox, "server", Until::Exit {}).await, killed);
        sandbox.call(Remove { process: "server".into() }).await;
        assert_eq!(sandbox.post("exec", other).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_signal_reaches_the_whole_tree() {
    in_sandbox(async |sandbox| {
        let mark = "3593.5";
        let script =
            format!("sleep {mark} & setsid sleep {mark} & (setsid sh -c 'sleep {mark} & sleep {mark}' &); echo up; wait");
        let id = detach(sandbox, json!({ "command": script })).await;
        until("all run", async || sandbox.count_processes(&format!("^sleep {mark}")).await == 4).await;
        sandbox.call(SendSignal { process: id.clone(), signal: "SIGTERM".parse().unwrap() }).await;
        wait(sandbox, &id, Until::Exit {}).await;
        until("all are gone", async || sandbox.count_processes(mark).await == 0).await;
        assert_eq!(sandbox.post("process.signal", json!({ "process": id, "signal": "SIGTERM" })).await.code(), "conflict");
    })
    .await;
}

#[tokio::test]
async fn later_requests_write_to_a_running_process() {
    in_sandbox(async |sandbox| {
        let id = detach(sandbox, json!({ "command": "cat; echo end", "stdin": { "stream": true } })).await;
        for text in ["one\n", "two\n"] {
            sandbox.call(Input { process: id.clone(), data: Some(text.into()), eof: false }).await;
            let line = text.trim().into();
            let pattern = Until::Log(Pattern::Text(text.trim().to_owned()));
            assert_eq!(wait(sandbox, &id, pattern).await, Waited::Logged { line });
        }
        sandbox.call(Input { process: id.clone(), data: None, eof: true }).await;
        assert_eq!(wait(sandbox, &id, Until::Exit {}).await, exited(0));
        assert_eq!(logs(sandbox, &id, None).await.stdout, "one\ntwo\nend\n".into());
        let input = json!({ "process": id, "data": "late" });
        assert_eq!(sandbox.post("process.input", input).await.code(), "conflict");
        let deaf = detach(sandbox, json!({ "command": "sleep 3592.5" })).await;
        assert_eq!(sandbox.post("process.input", json!({ "process": deaf, "data": "x" })).await.code(), "conflict");
    })
    .await;
}

#[tokio::test]
async fn a_wait_ends_with_the_first_event() {
    in_sandbox(async |sandbox| {
        let (id, port) = serve(sandbox).await;
        assert_eq!(wait(sandbox, &id, Until::Port { port, http: None }).await, Waited::Listening { port, status: None });
        let slow = json!({ "process": id, "until": { "exit": {} }, "timeout_ms": 50 });
        assert_eq!(sandbox.post("process.wait", slow).await.code(), "timeout");
        let short = detach(sandbox, json!({ "command": "echo last words; exit 9" })).await;
        assert_eq!(wait(sandbox, &short, Until::Port { port: 1, http: None }).await, exited(9));
        assert_eq!(wait(sandbox, &short, Until::Log(Pattern::Text("never".to_owned()))).await, exited(9));
        for until in [json!({ "log": { "regex": "[" } }), json!({ "nothing": {} }), json!({ "port": { "port": 70_000 } })] {
            let answer = sandbox.post("process.wait", json!({ "process": id, "until": until })).await;
            assert_eq!(answer.code(), "invalid_request", "{until}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_http_ends_with_the_expected_status() {
    in_sandbox(async |sandbox| {
        let (id, port) = serve(sandbox).await;
        let until = |http| json!({ "process": id, "until": { "port": { "port": port, "http": http } }, "timeout_ms": 100 });
        assert_eq!(sandbox.post("process.wait", until(json!({}))).await.code(), "timeout");
        assert_eq!(sandbox.post("process.wait", until(json!({ "path": "/mute" }))).await.code(), "timeout");
        assert_eq!(sandbox.post("process.wait", until(json!({ "path": "no" }))).await.code(), "invalid_request");
        let busy = Http { path: Some("/ready?x=1".into()), status: Some([500, 599]) };
        assert_eq!(
            wait(sandbox, &id, Until::Port { port, http: Some(busy) }).await,
            Waited::Listening { port, status: Some(503) }
        );
        let ready = wait(sandbox, &id, Until::Port { port, http: Some(Http::default()) });
        let (ready, _) = tokio::join!(ready, sandbox.put("go", ""));
        assert_eq!(ready, Waited::Listening { port, status: Some(200) });
    })
    .await;
}

#[tokio::test]
async fn unknown_processes_are_refused() {
    in_sandbox(async |sandbox| {
        let id = detach(sandbox, json!({ "command": "sleep 3591.5" })).await;
        let other = format!("zzzzzz-{}", id.rsplit_once('-').unwrap().1);
        let unknown = format!("{}-999", id.rsplit_once('-').unwrap().0);
        for (process, code) in [("nobody", "not_found"), (&unknown, "not_found"), (&other, "gone"), ("", "not_found")] {
            for (name, mut body) in [
                ("process.get", json!({})),
                ("process.attach", json!({})),
                ("process.logs", json!({})),
                ("process.remove", json!({})),
                ("process.input", json!({ "eof": true })),
                ("process.signal", json!({ "signal": "SIGTERM" })),
                ("process.wait", json!({ "until": { "exit": {} } })),
            ] {
                body["process"] = process.into();
                assert_eq!(sandbox.post(name, body).await.code(), code, "{name} {process:?}");
            }
        }
        for body in [
            json!({ "command": "true", "name": "x" }),
            json!({ "command": "true", "detach": true, "name": "" }),
            json!({ "command": "true", "detach": true, "name": "a b" }),
        ] {
            assert_eq!(sandbox.post("exec", body.clone()).await.code(), "invalid_request", "{body}");
        }
        assert_eq!(sandbox.call(List {}).await.processes.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_foreground_process_is_listed_while_it_runs() {
    in_sandbox(async |sandbox| {
        let mut lines = sandbox.stream(NDJSON, json!({ "command": "echo up; sleep 3590.5" })).await;
        let Some(Line::Event(ExecEvent::Started { process, pid })) = lines.next().await else { panic!("not started") };
        let known = sandbox.call(Get { process: process.to_string() }).await;
        assert_eq!((known.pid, known.exit), (pid, None));
        let mut listener = sandbox.stream_of("process.attach", NDJSON, json!({ "process": process })).await;
        assert!(matches!(listener.next().await, Some(Line::Event(ExecEvent::Started { .. }))));
        drop(lines);
        until(
            "its end is heard",
            async || matches!(listener.next().await, Some(Line::Result(result)) if result.exit == Some(Exit::Cancelled)),
        )
        .await;
        until("it is forgotten", async || sandbox.call(List {}).await.processes.is_empty()).await;
    })
    .await;
}
