//! A runtime that is replaced while commands run, and with it the Worker and every object, as by a deployment.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use cabana_protocol::{exec::Exec, line::LineOf};
use cabana_tests::{NDJSON, Socket, Transcript, drain, until};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    super::lifecycle::{Named, pause},
    assert_alone, runtime,
};

/// How many commands run in a sandbox for callers over HTTP, and as many over one socket.
const CALLERS: usize = 10;

/// Lines of each command.
const LINES: usize = 300;

/// Replaces the runtime, which wrangler starts again: nobody who waits is told anything, as when a deployment takes an object away.
async fn deploy() {
    let before = runtime();
    before.signal("KILL");
    until("the old runtime is gone", async || matches!(before.state(), None | Some('Z'))).await;
}

/// A command that runs for some seconds and cannot be run twice without a trace.
fn command(caller: usize) -> Value {
    json!({ "command": format!("echo run >> runs; for i in $(seq {LINES}); do echo {caller} $i; sleep 0.03; done; exit 3") })
}

/// Checks that nothing was lost.
fn check(caller: usize, heard: &Transcript) {
    let expected: String = (1..=LINES).map(|i| format!("{caller} {i}\n")).collect();
    assert_eq!(heard.text(), expected);
    assert_eq!(heard.exit().unwrap().code(), Some(3));
}

/// Runs a command over HTTP, however often the connection breaks. `started` counts those that run.
async fn over_http(sandbox: &Named, caller: usize, started: &AtomicUsize) {
    let mut heard = Transcript::default();
    let call = sandbox.request(Method::POST, "/exec").header("accept", NDJSON).json(&command(caller)).send().await.unwrap();
    assert_eq!(call.status().as_u16(), 200);
    let counted = AtomicUsize::new(0);
    heard
        .read(call, |heard| {
            if heard.process.is_some() && counted.swap(1, Ordering::Relaxed) == 0 {
                started.fetch_add(1, Ordering::Relaxed);
            }
            false
        })
        .await;
    while heard.result.is_none() {
        let attached = sandbox.request(Method::POST, "/process/attach").header("accept", NDJSON).json(&heard.attach());
        match attached.send().await {
            Ok(answer) if answer.status().as_u16() == 200 => heard.read(answer, |_| false).await,
            Ok(answer) => check_refusal(&answer.text().await.unwrap_or_default()),
            Err(_) => {}
        }
        pause(50).await;
    }
    check(caller, &heard);
}

/// Nobody is told that a process is not there, while it is only the service that is away.
fn check_refusal(said: &str) {
    let said: Value = serde_json::from_str(said).unwrap_or_default();
    let code = said["error"]["code"].as_str();
    assert!(matches!(code, None | Some("container_not_ready" | "interrupted")), "{said}");
}

/// Runs commands over a socket, however often it is closed.
async fn over_a_socket(sandbox: &Named, callers: std::ops::Range<usize>, started: &AtomicUsize) {
    let mut socket = sandbox.connect().await.unwrap();
    let mut all: Vec<_> = callers.clone().map(|_| Transcript::default()).collect();
    for caller in callers.clone() {
        socket.send("exec", &caller.to_string(), command(caller)).await;
    }
    while all.iter().any(|heard| heard.result.is_none()) {
        let Some(mut frame) = socket.try_next().await else {
            socket = reconnect(sandbox).await;
            for (caller, heard) in callers.clone().zip(&all).filter(|(_, heard)| heard.result.is_none()) {
                socket.send("process.attach", &caller.to_string(), heard.attach()).await;
            }
            continue;
        };
        let Some(caller) = frame["id"].as_str().map(|id| id.parse::<usize>().unwrap()) else { continue };
        let heard = &mut all[caller - callers.start];
        let mut payload = frame["payload"].take();
        match frame["type"].as_str() {
            Some("event") => {
                started.fetch_add(usize::from(heard.process.is_none()), Ordering::Relaxed);
            }
            Some("result") => payload["type"] = "result".into(),
            // The connection behind the object broke: the socket is good.
            _ => {
                assert_eq!(
                    (&payload["code"], &payload["details"]["reason"]),
                    (&json!("interrupted"), &json!("reconnect")),
                    "{payload}"
                );
                socket.send("process.attach", &caller.to_string(), heard.attach()).await;
                continue;
            }
        }
        heard.hear(LineOf::<Exec>::decode(payload.to_string().as_bytes()).unwrap());
    }
    for (caller, heard) in callers.zip(&all) {
        check(caller, heard);
    }
}

/// Connects again.
async fn reconnect(sandbox: &Named) -> Socket {
    let mut socket = None;
    until("a socket opens again", async || {
        socket = sandbox.connect().await.ok();
        socket.is_some()
    })
    .await;
    socket.unwrap()
}

#[tokio::test]
async fn a_hundred_commands_survive_deployments_and_say_every_byte_once() {
    assert_alone();
    let sandboxes = join_all((0..5).map(async |_| {
        let sandbox = Named::new("deploying", json!({})).await;
        sandbox.recover().await;
        sandbox
    }))
    .await;
    let started = AtomicUsize::new(0);
    let running = join_all(sandboxes.iter().map(async |sandbox| {
        let calls = join_all((0..CALLERS).map(|caller| over_http(sandbox, caller, &started)));
        tokio::join!(calls, over_a_socket(sandbox, CALLERS..2 * CALLERS, &started));
    }));
    let deploying = async {
        until("all run", async || started.load(Ordering::Relaxed) == sandboxes.len() * 2 * CALLERS).await;
        deploy().await;
        // Once more when some have come back.
        sandboxes[0].recover().await;
        pause(2_000).await;
        deploy().await;
    };
    tokio::join!(running, deploying);
    for sandbox in sandboxes {
        assert_eq!(sandbox.print("wc -l < runs").await.trim(), (2 * CALLERS).to_string(), "none is run twice");
        assert_eq!(sandbox.show().await["starts"], 1, "its container has outlived that");
        sandbox.end().await;
    }
}

/// Waits until nothing runs, for less time than a command goes on whose connection was lost.
async fn ended(what: &str, count: impl AsyncFn() -> u64) {
    let begun = Instant::now();
    until(&format!("{what}: it is ended"), async || count().await == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(25), "{what}: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_caller_that_hangs_up_ends_its_command_after_a_deployment_too() {
    assert_alone();
    let sandbox = Named::new("hanging-up", json!({})).await;
    sandbox.recover().await;
    for (number, deploys) in [true, false].into_iter().enumerate() {
        if deploys {
            deploy().await;
            sandbox.recover().await;
        }
        let mark = format!("36{}.{number}7", std::process::id());
        let count = &async || sandbox.count(&format!("^sleep {mark}")).await;
        for form in [NDJSON, "application/json"] {
            let call = sandbox.request(Method::POST, "/exec").header("accept", form).json(&json!({ "command": ["sleep", mark] }));
            let call = tokio::spawn(async move { drain(call.send().await.unwrap()).await });
            until("it runs", async || count().await == 1).await;
            call.abort();
            ended(form, count).await;
        }
        let mut socket = sandbox.connect().await.unwrap();
        socket.send("exec", "1", json!({ "command": ["sleep", mark] })).await;
        until("it runs", async || count().await == 1).await;
        drop(socket);
        ended("a socket", count).await;
    }
    sandbox.end().await;
}
