//! Services that are killed under everybody: the runtime of the Durable Objects, and the engine of the containers. Each is started again by
//! its own supervisor. These cases run alone, where `CABANA_TEST_OUTAGES` says so.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use cabana_tests::{PATIENCE, Sandbox, Socket, until};
use futures_util::{StreamExt, future::join_all, stream};
use reqwest::{Body, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::{
    lifecycle::{
        Named,
        host::{self, Process},
        pause,
    },
    logs,
};

/// Whether a service may be taken down.
fn alone() -> bool {
    std::env::var_os("CABANA_TEST_OUTAGES").is_some()
}

/// The runtime that holds the Durable Objects: the one beside that which listens for callers.
fn runtime() -> Process {
    let (url, _) = Sandbox::service();
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let entry = *host::find(&format!("entry=127.0.0.1:{port}")).iter().find(|process| process.name() == "workerd").unwrap();
    let beside = |process: &&Process| process.name() == "workerd" && process.parent() == entry.parent() && **process != entry;
    *host::find("workerd\0serve").iter().find(beside).unwrap()
}

async fn engine_of(sandbox: &Named) -> Process {
    let agent = host::agent_of(sandbox).await.unwrap();
    std::iter::successors(Some(agent), |process| process.parent()).find(|process| process.name() == "cabana-engine").unwrap()
}

/// A command whose service is killed when it has begun; what the caller is told of it. What it did is in `counter`.
async fn kill_in_an_exec(sandbox: &Named, service: Process) -> Option<Value> {
    let call = sandbox.request(Method::POST, "/exec").json(&json!({ "command": "echo once >> counter; sleep 600" })).send();
    let killing = async {
        while sandbox.run("cat counter").await.1["stdout"] != "once\n" {
            pause(20).await;
        }
        service.signal("KILL");
    };
    let (cut, ()) = tokio::join!(call, killing);
    said(cut).await
}

/// An upload whose service is killed in the middle; what the caller is told of it. What it was to make is `f`.
async fn kill_in_an_upload(sandbox: &Named, service: Process) -> Option<Value> {
    let pieces = stream::iter(0..200).then(move |number| async move {
        pause(20).await;
        if number == 50 {
            service.signal("KILL");
        }
        Ok::<_, std::io::Error>(vec![b'x'; 1 << 10])
    });
    said(sandbox.request(Method::PUT, "/files?path=f").body(Body::wrap_stream(pieces)).send().await).await
}

/// A socket whose service is killed while something runs on it. What that did is in `socket`.
async fn kill_under_a_socket(sandbox: &Named, service: Process) -> Socket {
    let mut socket = sandbox.connect().await.unwrap();
    socket.send("exec", "1", json!({ "command": "echo once >> socket; echo up; sleep 600" })).await;
    while socket.wait_for("event", "1").await["bytes"] != "up\n" {}
    service.signal("KILL");
    socket
}

/// The error that an answer carries; `None` where there was no answer, or none of ours.
async fn said(answer: reqwest::Result<Response>) -> Option<Value> {
    let answer: Value = answer.ok()?.json().await.ok()?;
    assert!(answer["error"].is_object(), "it did not run to its end: {answer}");
    Some(answer["error"]["code"].clone())
}

/// Uses the sandbox until that works again, and says how long it took.
async fn back(sandbox: &Named, what: &str) {
    let begun = Instant::now();
    loop {
        let call = sandbox.request(Method::POST, "/exec").json(&json!({ "command": "true" })).send().await;
        if call.is_ok_and(|answer| answer.status().is_success()) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "never back");
        pause(20).await;
    }
    eprintln!("{what}: back after {} ms", begun.elapsed().as_millis());
}

#[tokio::test]
async fn a_runtime_that_is_killed_loses_nothing() {
    if !alone() {
        return;
    }
    let sandbox = Named::new("runtime", json!({ "sleep_after_ms": 700_000, "env": { "A": "kept" } })).await;
    sandbox.print("echo file > kept").await;
    // The gateway is in the same runtime here, so that nobody is left to say anything.
    assert_eq!(kill_in_an_exec(&sandbox, runtime()).await, None);
    back(&sandbox, "the runtime, killed in an exec").await;
    assert_eq!(kill_in_an_upload(&sandbox, runtime()).await, None);
    back(&sandbox, "the runtime, killed in an upload").await;
    let mut socket = kill_under_a_socket(&sandbox, runtime()).await;
    assert_eq!(socket.closed().await, 1006, "it goes with the runtime");
    back(&sandbox, "the runtime, killed under a socket").await;
    let kept = sandbox.print("cat kept counter socket; echo $A; ls -A").await;
    assert_eq!(kept, "file\nonce\nonce\nkept\ncounter\nkept\nsocket\n", "nothing is lost, and nothing was done twice");
    let shown = sandbox.show().await;
    assert_eq!(
        (&shown["starts"], &shown["sleep_after_ms"]),
        (&json!(1), &json!(700_000)),
        "its container has outlived that: {shown}"
    );
    assert_eq!(sandbox.count("sleep 600").await, 0, "what nobody waits for any more has ended");
    sandbox.end().await;
}

/// Sends a request and kills the runtime so many milliseconds later.
async fn kill_after(milliseconds: u64, request: reqwest::RequestBuilder) {
    let killing = async {
        pause(milliseconds).await;
        runtime().signal("KILL");
    };
    let (_, ()) = tokio::join!(request.send(), killing);
}

/// Where the object is in a start or a destroy when it goes is left to chance here; every place there is, is gone through in
/// `lifecycle/tests/restarts.rs` of the library.
#[tokio::test]
async fn a_runtime_that_is_killed_in_a_start_or_a_destroy_leaves_no_container_and_does_nothing_twice() {
    if !alone() {
        return;
    }
    for (number, milliseconds) in [4, 15, 50].into_iter().enumerate() {
        let sandbox = Named::new("moment", json!({})).await;
        let mark = format!("8{}.{number}5", std::process::id());
        let first = json!({ "command": format!("echo once >> counter; (sleep {mark} > /dev/null 2>&1 &)") });
        kill_after(milliseconds, sandbox.request(Method::POST, "/exec").json(&first)).await;
        back(&sandbox, &format!("the runtime, killed {milliseconds} ms into a start")).await;
        let counter = sandbox.print("cat counter 2>/dev/null || echo nothing").await;
        assert!(["once\n", "nothing\n"].contains(&counter.as_str()), "{counter}");
        assert!(host::find(&format!("sleep\0{mark}")).len() <= 1, "in two containers");
        sandbox.print(&format!("(sleep {mark} > /dev/null 2>&1 &)")).await;

        kill_after(milliseconds, sandbox.request(Method::DELETE, "")).await;
        until("the runtime is back", async || sandbox.request(Method::GET, "").send().await.is_ok()).await;
        // It may not have been begun. Once it was, nobody needs to ask again.
        if sandbox.request(Method::GET, "").send().await.unwrap().status() != StatusCode::NOT_FOUND {
            assert_eq!(sandbox.print("echo whole").await, "whole\n");
            eprintln!("killed {milliseconds} ms into a destroy: it was not begun");
            sandbox.end().await;
        }
        host::until_gone(&mark).await;
    }
}

#[tokio::test]
async fn an_engine_that_is_killed_takes_containers_with_it_and_nothing_else() {
    if !alone() {
        return;
    }
    for what in ["an exec", "an upload", "a socket"] {
        let sandbox = Named::new("engine", json!({ "env": { "A": "kept" } })).await;
        let engine = engine_of(&sandbox).await;
        let mut socket = None;
        let cut = match what {
            "an exec" => kill_in_an_exec(&sandbox, engine).await,
            "an upload" => kill_in_an_upload(&sandbox, engine).await,
            _ => Some(socket.insert(kill_under_a_socket(&sandbox, engine).await).wait_for("error", "1").await["code"].clone()),
        };
        // The connection of an upload may break before the answer is read.
        assert!(cut.map_or(what == "an upload", |code| code == "interrupted"), "{what}");
        back(&sandbox, &format!("the engine, killed in {what}")).await;
        if let Some(mut socket) = socket {
            socket.send("exec", "1", json!({ "command": "echo again" })).await;
            assert_eq!(socket.output("1").await.0, "again\n", "it has outlived that");
        }
        assert_eq!(sandbox.print("echo $A; ls -A").await, "kept\n", "nothing was done twice");
        assert_eq!(sandbox.show().await["state"], "running");
        sandbox.end().await;
    }
}

/// Holds the lock of the deployment's database, so that nobody can write to it, until it is dropped.
struct Held(std::process::Child);

impl Held {
    fn database() -> Self {
        let state = logs::directory().expect("the stack is on this machine");
        let hold = "import glob, sqlite3, sys\n\
                    files = glob.glob(sys.argv[1] + '/**/*D1*/*.sqlite', recursive=True)\n\
                    held = [sqlite3.connect(path, isolation_level=None, timeout=30) for path in files]\n\
                    for database in held: database.execute('BEGIN EXCLUSIVE')\n\
                    print(len(held), flush=True); sys.stdin.read()";
        let mut child =
            Command::new("python3").args(["-c", hold]).arg(state).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.trim().parse::<u32>().unwrap() > 0, "there is a database");
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn what_all_sandboxes_share_is_on_nobodys_way() {
    if !alone() {
        return;
    }
    let sandboxes = join_all((0..30).map(async |_| Named::new("shared", json!({})).await)).await;
    join_all(sandboxes.iter().map(async |sandbox| sandbox.print("echo kept > f").await)).await;
    let held = Held::database();
    let named = super::fresh_name("unlisted");
    join_all(sandboxes.iter().map(async |sandbox| {
        for number in 0..3 {
            let call = sandbox.request(Method::POST, "/exec").json(&json!({ "command": format!("cat f; echo {number}") }));
            let answer = call.send().await.unwrap();
            assert_eq!(
                (answer.status(), answer.headers().get("server-timing")),
                (StatusCode::OK, None),
                "no query is waited for"
            );
            assert_eq!(answer.json::<Value>().await.unwrap()["stdout"], format!("kept\n{number}\n"));
        }
        sandbox.request(Method::PUT, "/files?path=g").body("x").send().await.unwrap().error_for_status().unwrap();
        let mut socket = sandbox.connect().await.unwrap();
        socket.send("exec", "1", json!({ "command": "echo over a socket" })).await;
        assert_eq!(socket.output("1").await.0, "over a socket\n");
    }))
    .await;
    // Lives begin, change and end meanwhile; the directory learns of it later.
    assert_eq!(super::create(json!({ "name": named })).await.0, StatusCode::CREATED);
    assert_eq!(super::exec(&format!("sbx-{named}"), "echo new").await.1["stdout"], "new\n");
    drop(held);
    join_all(sandboxes.into_iter().map(Named::end)).await;
    assert_eq!(super::destroy(&format!("sbx-{named}")).await, StatusCode::NO_CONTENT);
}
