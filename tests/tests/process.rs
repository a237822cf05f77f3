//! Processes that outlive the request that started them.

mod input;
mod replay;
mod signal;

use cabana_protocol::{
    Data,
    exec::{ExecEvent, Exit},
    line::Line,
    process::{Get, Http, Input, List, Log, Logs, Remove, SendSignal, Until, Wait, Waited},
};
use cabana_tests::{NDJSON, Sandbox, in_sandbox, until};
use futures_util::StreamExt;
use reqwest::Method;
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
    let pattern = Until::Regex { regex: "^listening on \\d+$".to_owned() };
    let Waited::Logged { line, .. } = wait(sandbox, &id, pattern).await else { panic!("no line") };
    let port = std::str::from_utf8(&line.0).unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
    (id, port)
}

async fn wait(sandbox: &Sandbox, process: &str, until: Until) -> Waited {
    sandbox.call(Wait { process: process.to_owned(), until, from: None, timeout_ms: Some(30_000) }).await
}

fn exited(code: i32) -> Waited {
    Waited::Exited { exit: Exit::Exited { code } }
}

/// The line that a wait has found.
fn line(waited: Waited) -> Data {
    match waited {
        Waited::Logged { line, .. } => line,
        other => panic!("{other:?}"),
    }
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
        wait(sandbox, &id, Until::Log { log: "out".to_owned() }).await;
        let listed = sandbox.call(List::default()).await.processes;
        let known = listed.iter().find(|process| process.process.as_str() == id).unwrap();
        assert_eq!((known.exit, known.name.as_deref()), (None, None));
        sandbox.put("go", "").await.success();
        assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited(3));
        let known = sandbox.call(Get { process: id.clone() }).await;
        assert_eq!((known.exit, known.output_bytes), (Some(Exit::Exited { code: 3 }), 12));
        let log = logs(sandbox, &id, None).await;
        assert_eq!((log.stdout, log.stderr, log.from, log.to), ("out\nend\n".into(), "err\n".into(), 0, 12));
        assert_eq!(log.exit, Some(Exit::Exited { code: 3 }));
        sandbox.call(Remove::one(id.clone())).await;
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
        until("the one process sleeps", async || sandbox.count_processes("^sleep 3594.5").await == 1).await;
        let other = json!({ "command": "sleep 1", "name": "server", "detach": true });
        assert_eq!(sandbox.post("exec", other.clone()).await.code(), "conflict");
        assert_eq!(sandbox.post("process.remove", json!({ "process": "server" })).await.code(), "conflict");
        sandbox.call(SendSignal { process: "server".into(), signal: "SIGKILL".parse().unwrap() }).await;
        let killed = Waited::Exited { exit: Exit::Signalled { signal: "SIGKILL".parse().unwrap() } };
        assert_eq!(wait(sandbox, "server", Until::EXIT).await, killed);
        sandbox.call(Remove::one("server")).await;
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
        wait(sandbox, &id, Until::EXIT).await;
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
            let pattern = Until::Log { log: text.trim().to_owned() };
            assert_eq!(line(wait(sandbox, &id, pattern).await).0, text.trim());
        }
        sandbox.call(Input { process: id.clone(), data: None, eof: true }).await;
        assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited(0));
        assert_eq!(logs(sandbox, &id, None).await.stdout, "one\ntwo\nend\n".into());
        let input = json!({ "process": id, "data": "late" });
        assert_eq!(sandbox.post("process.input", input).await.code(), "conflict");
        let deaf = detach(sandbox, json!({ "command": "sleep 3592.5" })).await;
        assert_eq!(sandbox.post("process.input", json!({ "process": deaf, "data": "x" })).await.code(), "conflict");
    })
    .await;
}

#[tokio::test]
async fn a_failure_after_the_first_heartbeat_is_coded() {
    in_sandbox(async |sandbox| {
        let id = detach(sandbox, json!({ "command": "sleep 3583.5" })).await;
        let slow = json!({ "process": id, "until": "exit", "timeout_ms": 6_000 });
        let answer = sandbox.request(Method::POST, "/process/wait").json(&slow).send().await.unwrap();
        assert_eq!(answer.status(), 200, "the head goes out with the first blank");
        let body = answer.text().await.unwrap();
        assert!(body.starts_with(' '), "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["code"], "timeout", "{body}");
        assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
        assert_eq!(sandbox.post("process.wait", slow).await.code(), "timeout", "as a client reads it");
    })
    .await;
}

#[tokio::test]
async fn a_wait_ends_with_the_first_event() {
    in_sandbox(async |sandbox| {
        let (id, port) = serve(sandbox).await;
        assert_eq!(wait(sandbox, &id, Until::Port { port, http: None }).await, Waited::Listening { port, status: None });
        let slow = json!({ "process": id, "until": "exit", "timeout_ms": 50 });
        assert_eq!(sandbox.post("process.wait", slow).await.code(), "timeout");
        let short = detach(sandbox, json!({ "command": "echo last words; exit 9" })).await;
        assert_eq!(wait(sandbox, &short, Until::Port { port: 1, http: None }).await, exited(9));
        assert_eq!(wait(sandbox, &short, Until::Log { log: "never".to_owned() }).await, exited(9));
        for until in [
            json!({ "regex": "[" }),
            json!({ "nothing": {} }),
            json!({ "port": 70_000 }),
            json!("start"),
            json!({ "log": "a", "port": 1 }),
        ] {
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
        let until = |http| json!({ "process": id, "until": { "port": port, "http": http }, "timeout_ms": 100 });
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
                ("process.wait", json!({ "until": "exit" })),
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
        assert_eq!(sandbox.call(List::default()).await.processes.len(), 1);
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
        until("it is forgotten", async || sandbox.call(List::default()).await.processes.is_empty()).await;
    })
    .await;
}

#[tokio::test]
async fn a_wait_sees_a_prompt_without_a_line_break() {
    in_sandbox(async |sandbox| {
        for stream in ["", " >&2"] {
            let command = format!("printf 'Password: '{stream}; read -r answer; echo got $answer");
            let id = detach(sandbox, json!({ "command": command, "stdin": { "stream": true } })).await;
            let prompt = wait(sandbox, &id, Until::Log { log: "Password:".to_owned() }).await;
            assert_eq!(prompt, Waited::Logged { line: "Password: ".into(), to: 10, groups: vec![] });
            sandbox.call(Input { process: id.clone(), data: Some("secret\n".into()), eof: true }).await;
            assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited(0));
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_from_an_offset_sees_only_later_output() {
    in_sandbox(async |sandbox| {
        let command = "while read -r line; do echo $line; printf '>>> '; done";
        let id = detach(sandbox, json!({ "command": command, "stdin": { "stream": true } })).await;
        let mut from = None;
        for round in 0..3_u64 {
            sandbox.call(Input { process: id.clone(), data: Some("x\n".into()), eof: false }).await;
            let until = Until::Regex { regex: "^>>> $".to_owned() };
            let found = sandbox.call(Wait { process: id.clone(), until, from, timeout_ms: Some(30_000) }).await;
            let Waited::Logged { to, .. } = found else { panic!("{found:?}") };
            assert_eq!(to, (round + 1) * 6);
            from = Some(to);
        }
        let late = json!({ "process": id, "until": { "log": ">>>" }, "from": 18, "timeout_ms": 300 });
        let late = sandbox.post("process.wait", late).await;
        assert_eq!(
            (late.code().as_str(), &late.json()["error"]["details"]["output"]),
            ("timeout", &json!("x\n>>> x\n>>> x\n>>> "))
        );
        let beyond = json!({ "process": id, "until": "exit", "from": 19 });
        assert_eq!(sandbox.post("process.wait", beyond).await.code(), "invalid_request");
    })
    .await;
}

#[tokio::test]
async fn a_wait_finds_a_port_on_any_loopback_address() {
    in_sandbox(async |sandbox| {
        for address in ["127.0.0.1", "::1", "127.0.0.53"] {
            let server = "import http.server, socket, sys\n\
                          class Server(http.server.HTTPServer): address_family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n\
                          server = Server((sys.argv[1], 0), http.server.SimpleHTTPRequestHandler)\n\
                          print(f'port {server.server_address[1]}', flush=True)\nserver.serve_forever()";
            let id = detach(sandbox, json!({ "command": ["python3", "-c", server, address] })).await;
            let line = line(wait(sandbox, &id, Until::Regex { regex: "^port \\d+$".to_owned() }).await);
            let port: u16 = std::str::from_utf8(&line.0).unwrap()[5..].parse().unwrap();
            let found = wait(sandbox, &id, Until::Port { port, http: None }).await;
            assert_eq!(found, Waited::Listening { port, status: None }, "{address}");
            let found = wait(sandbox, &id, Until::Port { port, http: Some(Http::default()) }).await;
            assert_eq!(found, Waited::Listening { port, status: Some(200) }, "{address}");
            sandbox.call(SendSignal { process: id, signal: "SIGKILL".parse().unwrap() }).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_tells_what_groups_have_matched() {
    in_sandbox(async |sandbox| {
        let id = detach(sandbox, json!({ "command": "echo port 3000 of web; sleep 60" })).await;
        let until = json!({ "regex": "port (\\d+)( tls)? of (?<name>\\w+)" });
        let found = sandbox.post("process.wait", json!({ "process": id, "until": until })).await.json();
        assert_eq!((&found["type"], &found["groups"]), (&json!("logged"), &json!(["3000", null, "web"])), "{found}");
    })
    .await;
}

#[tokio::test]
async fn processes_are_ended_with_all_they_started() {
    in_sandbox(async |sandbox| {
        let end = async |body: Value| sandbox.post("process.end", body).await;
        let started = sandbox.post("exec", json!({ "command": "sleep 600 & sleep 600", "detach": true })).await.json();
        assert!(started["pid"].as_u64().is_some() && started["stdout"].is_null() && started["truncated"].is_null(), "{started}");
        let ended = end(json!({ "process": started["process"] })).await.json();
        let exit = json!({ "type": "cancelled", "code": 143 });
        assert_eq!((&ended["items"][0]["process"], &ended["items"][0]["exit"]), (&started["process"], &exit));
        let stubborn = detach(sandbox, json!({ "command": "trap '' TERM; echo up; sleep 600; sleep 600" })).await;
        wait(sandbox, &stubborn, Until::Log { log: "up".to_owned() }).await;
        assert_eq!(end(json!({ "process": stubborn, "grace_ms": 50 })).await.json()["items"][0]["exit"], exit);
        assert_eq!(end(json!({ "process": stubborn })).await.json()["items"][0]["exit"], exit, "again is harmless");
        for _ in 0..2 {
            detach(sandbox, json!({ "command": "sleep 600" })).await;
        }
        let states = async |state: &str| {
            let listed = sandbox.post("process.list", json!({ "state": state })).await.json();
            listed["items"].as_array().unwrap().len()
        };
        assert_eq!((states("running").await, states("ended").await), (2, 2));
        assert_eq!(end(json!({ "all": true })).await.json()["items"].as_array().unwrap().len(), 2);
        assert_eq!((states("running").await, states("ended").await), (0, 4));
        assert_eq!(sandbox.post("process.remove", json!({ "ended": true })).await.json(), json!({ "removed": 4 }));
        assert_eq!(states("ended").await, 0);
        for (name, body) in
            [("process.end", json!({})), ("process.end", json!({ "process": "a", "all": true })), ("process.remove", json!({}))]
        {
            assert_eq!(sandbox.post(name, body).await.code(), "invalid_request", "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_tells_the_size_of_its_terminal() {
    in_sandbox(async |sandbox| {
        let id = detach(sandbox, json!({ "command": "sleep 600", "tty": { "cols": 100, "rows": 30 } })).await;
        let size = async || sandbox.post("process.get", json!({ "process": id })).await.json()["tty"].clone();
        assert_eq!(size().await, json!({ "cols": 100, "rows": 30 }));
        sandbox.post("process.resize", json!({ "process": id, "cols": 120, "rows": 40 })).await.success();
        until("the new size is told", async || size().await == json!({ "cols": 120, "rows": 40 })).await;
    })
    .await;
}
