//! A wall clock that jumps: whatever is timed goes by the monotonic clock.

use std::{fs, os::unix::fs::FileExt, path::Path, process::Command};

use cabana_protocol::{exec::Exit, process::Get};
use cabana_tests::{NDJSON, Sandbox, gather, in_agent};
use futures_util::StreamExt;
use serde_json::json;

use crate::exec::exited;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Builds the library that moves the clock.
fn build_library(directory: &Path) -> String {
    let library = directory.join("clock.so").to_str().unwrap().to_owned();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exec/agent_only/clock.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o", &library, source, "-ldl"]).status();
    assert!(built.expect("there is a C compiler").success());
    library
}

/// The date on which the agent believes that a new process was started.
async fn day(sandbox: &Sandbox) -> String {
    let started = sandbox.exec(json!({ "command": "true", "detach": true })).await.result.process;
    let started_at = sandbox.call(Get { process: started.to_string() }).await.started_at;
    started_at.split_once('T').unwrap().0.to_owned()
}

/// The kernel lets nobody set the clock of a sandbox alone, so the agent is started with a library that moves it.
#[tokio::test]
async fn timeouts_hold_while_the_wall_clock_jumps() {
    let directory = tempfile::tempdir().unwrap();
    let offset = directory.path().join("offset");
    fs::write(&offset, 0_i64.to_ne_bytes()).unwrap();
    let jump = |days: i64| {
        let file = fs::File::options().write(true).open(&offset).unwrap();
        file.write_all_at(&(days * DAY_SECONDS).to_ne_bytes(), 0).unwrap();
    };
    let library = build_library(directory.path());
    let variables = [("LD_PRELOAD", library.as_str()), ("CLOCK_OFFSET", offset.to_str().unwrap())];
    in_agent(&variables, async |sandbox| {
        let today = day(sandbox).await;
        let start =
            |timeout_ms: u64, detach: bool| json!({ "command": ["sleep", "1000"], "timeout_ms": timeout_ms, "detach": detach });
        let patient = sandbox.exec(start(3_600_000, true)).await.result.process.to_string();
        for days in [3, -3, 400] {
            let mut due = sandbox.stream(NDJSON, start(1_500, false)).await;
            due.next().await.unwrap();
            let session = sandbox.post("session.create", json!({})).await.json()["session"].as_str().unwrap().to_owned();
            jump(days);
            assert_ne!(day(sandbox).await, today, "the agent sees the jump");
            assert_eq!(gather(due).await.2.exit, Some(Exit::TimedOut), "it ends, {days} days off");
            let begun_later = sandbox.exec(start(300, false)).await;
            assert_eq!(begun_later.result.exit, Some(Exit::TimedOut), "{days} days off");
            let wait = json!({ "process": patient, "until": "exit", "timeout_ms": 300 });
            assert_eq!(sandbox.post("process.wait", wait).await.code(), "timeout", "{days} days off");
            let in_session = json!({ "command": "sleep 1000", "session": session, "timeout_ms": 300 });
            assert_eq!(sandbox.exec(in_session).await.result.exit, Some(Exit::TimedOut), "{days} days off");
            let quick = json!({ "command": "exit 3", "timeout_ms": 60_000 });
            assert_eq!(sandbox.exec(quick).await.result.exit, Some(exited(3)), "nothing ends too soon");
            assert_eq!(sandbox.call(Get { process: patient.clone() }).await.exit, None, "nothing ends too soon");
        }
    })
    .await;
}
