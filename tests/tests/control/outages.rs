//! Services that are killed under all sandboxes: the runtime of the Durable Objects, and the engine of the containers. Each has a
//! supervisor that starts it again. These cases run alone and one after another, and `CABANA_TEST_OUTAGES` says so.

mod deploying;
mod long_bodies;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use cabana_tests::{Sandbox, Socket, until};
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

/// Checks that a service may be killed.
fn assert_alone() {
    assert!(std::env::var_os("CABANA_TEST_OUTAGES").is_some(), "these cases run alone: --skip control::outages");
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

#[tokio::test]
async fn a_killed_runtime_loses_nothing() {
    assert_alone();
    let sandbox = Named::new("runtime", json!({ "sleep_after_ms": 700_000, "env": { "A": "kept" } })).await;
    sandbox.print("echo file > kept").await;
    // The gateway is in the same runtime here, so that nobody is left to say anything.
    assert_eq!(kill_in_an_exec(&sandbox, runtime()).await, None);
    sandbox.recover().await;
    assert_eq!(kill_in_an_upload(&sandbox, runtime()).await, None);
    sandbox.recover().await;
    let mut socket = kill_under_a_socket(&sandbox, runtime()).await;
    assert_eq!(socket.closed().await, 1006, "it goes with the runtime");
    sandbox.recover().await;
    let kept = sandbox.print("cat kept counter socket; echo $A; ls -A").await;
    assert_eq!(kept, "file\nonce\nonce\nkept\ncounter\nkept\nsocket\n", "nothing is lost, and nothing was done twice");
    let shown = sandbox.show().await;
    assert_eq!(
        (&shown["starts"], &shown["sleep_after_ms"]),
        (&json!(1), &json!(700_000)),
        "its container has outlived that: {shown}"
    );
    assert_eq!(sandbox.count("^sleep 600").await, 2, "the callers may come back");
    sandbox.call(Method::POST, "/process/end", Some(json!({ "all": true }))).await;
    assert_eq!(sandbox.count("^sleep 600").await, 0);
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

/// The runtime is killed at different moments of a start and of a destroy, until each has been seen to be done and not to be done. The
/// moments in between are those of `sandbox/supervisor/tests.rs` of the library.
#[tokio::test]
async fn a_runtime_killed_in_a_start_or_a_destroy_leaves_no_container_and_does_nothing_twice() {
    assert_alone();
    let (mut started, mut destroyed) = (BTreeSet::new(), BTreeSet::new());
    for (number, milliseconds) in [4, 15, 50, 0, 150, 500, 1_500, 0, 3_000].into_iter().enumerate() {
        if number >= 3 && started.len() == 2 && destroyed.len() == 2 {
            break;
        }
        let sandbox = Named::new("moment", json!({})).await;
        let mark = format!("8{}.{number}5", std::process::id());
        let first = json!({ "command": format!("echo once >> counter; (sleep {mark} > /dev/null 2>&1 &)") });
        kill_after(milliseconds, sandbox.request(Method::POST, "/exec").json(&first)).await;
        sandbox.recover().await;
        let counter = sandbox.print("cat counter 2>/dev/null || echo nothing").await;
        assert!(["once\n", "nothing\n"].contains(&counter.as_str()), "{counter}");
        started.insert(counter);
        assert!(host::find(&format!("sleep\0{mark}")).len() <= 1, "in two containers");
        sandbox.print(&format!("(sleep {mark} > /dev/null 2>&1 &)")).await;

        kill_after(milliseconds, sandbox.request(Method::DELETE, "")).await;
        until("the runtime is back", async || sandbox.request(Method::GET, "").send().await.is_ok()).await;
        // Once it was begun, nobody needs to ask again.
        let gone = sandbox.request(Method::GET, "").send().await.unwrap().status() == StatusCode::NOT_FOUND;
        destroyed.insert(gone);
        if !gone {
            assert_eq!(sandbox.print("echo whole").await, "whole\n");
            sandbox.end().await;
        }
        host::until_gone(&mark).await;
    }
    assert_eq!((started.len(), destroyed.len()), (2, 2), "each outcome was seen: {started:?}, {destroyed:?}");
}

#[tokio::test]
async fn a_killed_engine_ends_containers_and_nothing_else() {
    assert_alone();
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
        sandbox.recover().await;
        if let Some(mut socket) = socket {
            socket.send("exec", "1", json!({ "command": "echo again" })).await;
            assert_eq!(socket.output("1").await.0, "again\n", "it has outlived that");
        }
        assert_eq!(sandbox.print("echo $A; ls -A").await, "kept\n", "nothing was done twice");
        assert_eq!(sandbox.show().await["state"], "running");
        sandbox.end().await;
    }
}

/// A writer of the object's storage can make its audit end earlier. Once the object has been loaded again, nothing in it knows better.
#[tokio::test]
async fn an_audit_whose_end_was_cut_off_does_not_verify() {
    assert_alone();
    let state = logs::directory().expect("the stack is on this machine");
    let sandbox = Named::new("cut", json!({})).await;
    let request = super::fresh_name("request");
    let call = sandbox.request(Method::POST, "/exec").header("x-request-id", &request).json(&json!({ "command": "true" }));
    call.send().await.unwrap().error_for_status().unwrap();
    let verify = async || sandbox.call(Method::GET, "/audit/verify", None).await.1;
    let mut verified = Value::Null;
    until("the audit's head is known to the database", async || {
        assert_eq!(sandbox.print("echo more").await, "more\n");
        assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
        verified = verify().await;
        verified["anchor"].as_u64() >= Some(2)
    })
    .await;
    assert!(verified["intact"] == true && verified["cursor"].is_null(), "{verified}");
    let anchor = verified["anchor"].as_u64().unwrap();
    runtime().signal("KILL");
    let cut = Command::new("python3")
        .args(["-c", include_str!("cut_audit.py")])
        .arg(&state)
        .args([&request, &anchor.to_string()])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&cut.stdout).trim().parse::<u64>().is_ok_and(|cut| cut > 0), "{cut:?}");
    until("the runtime is back", async || sandbox.request(Method::GET, "").send().await.is_ok()).await;
    let verified = verify().await;
    assert_eq!((&verified["intact"], &verified["anchor"]), (&json!(false), &Value::Null), "{verified}");
    assert!(verified["broken_at"].as_u64() <= Some(anchor), "{verified}");
    sandbox.end().await;
}

/// Holds the lock of the deployment's database, so that nobody can write to it, until it is dropped.
struct Held(std::process::Child);

impl Held {
    fn database() -> Self {
        let state = logs::directory().expect("the stack is on this machine");
        let mut child = Command::new("python3")
            .args(["-c", include_str!("lock_database.py")])
            .arg(state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
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
async fn sandboxes_work_while_the_directory_is_locked() {
    assert_alone();
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
