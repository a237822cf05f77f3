//! A command that uses up every process that the sandbox may have.

use cabana_protocol::{exec::ExecEvent, line::Line};
use cabana_tests::{NDJSON, Sandbox, Target, in_agent_by, in_sandbox, until};
use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::exec::{cgroup::Cgroup, mark, time_out};

/// Processes and threads of an agent of the case's own: what container engines often allow is a few hundred.
const PIDS: u64 = 200;

/// Runs a case in a sandbox with a limit of processes: on the stack the engine's.
async fn with_pid_limit(case: impl AsyncFn(&Sandbox)) {
    match Target::get() {
        Target::Agent => {
            let group = Cgroup::with_pids(PIDS);
            in_agent_by(&group.starter().each_ref().map(String::as_str), &[], &case).await;
        }
        Target::Image | Target::Stack => in_sandbox(&case).await,
    }
}

/// Forks until there is no room for another process, says "full", and takes whatever becomes free. Without a limit it gives up.
fn fork_loop(mark: &str) -> serde_json::Value {
    let script = "import os, time\nforks, full = 0, False\nwhile forks < 10_000:\n  try:\n    if os.fork() == 0: time.sleep(1000)\n    \
                  forks += 1\n  except OSError:\n    if not full: os.write(1, b'full\\n')\n    full = True\n    time.sleep(0.02)\n\
                  os.write(1, b'no limit\\n')";
    json!(["python3", "-c", script, mark])
}

async fn wait_until_full(
    lines: &mut (impl StreamExt<Item = cabana_protocol::line::LineOf<cabana_protocol::exec::Exec>> + Unpin),
) {
    loop {
        match lines.next().await {
            Some(Line::Event(ExecEvent::Stdout { bytes, .. })) => break assert_eq!(bytes.0, "full\n"),
            Some(Line::Event(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Uses everything that needs no process of its own.
async fn use_files(sandbox: &Sandbox) {
    for round in 0..3 {
        let (path, content) = (format!("file-{round}"), "x".repeat(100_000));
        sandbox.put(&path, content.clone()).await.success();
        assert!(sandbox.get(&path).await.success() == content.as_bytes());
        assert_eq!(sandbox.post("file.stat", json!({ "path": path })).await.json()["size_bytes"], 100_000);
        let found = sandbox.post("file.search", json!({ "pattern": "kept", "path": "kept" })).await;
        assert_eq!(found.status, StatusCode::OK, "{}", found.json());
        let archive = sandbox.request(Method::GET, "/archive").query(&[("path", path.as_str())]);
        assert!(sandbox.send(archive).await.success().len() > content.len());
        sandbox.post("file.remove", json!({ "path": path })).await.success();
    }
    let files = (0..40).map(|_| sandbox.get("kept"));
    for answer in futures_util::future::join_all(files).await {
        assert_eq!(answer.success(), b"kept");
    }
    assert_eq!(sandbox.post("system.info", json!({})).await.status, StatusCode::OK);
}

#[tokio::test]
async fn files_work_while_no_process_can_be_made() {
    with_pid_limit(async |sandbox| {
        let mark = mark();
        // By a command: file operations would leave threads behind, and with them it is another case.
        sandbox.shell("printf kept > kept").await;
        let mut lines = sandbox.stream(NDJSON, json!({ "command": fork_loop(&mark) })).await;
        wait_until_full(&mut lines).await;
        use_files(sandbox).await;
        let refused = sandbox.post("exec", json!({ "command": "true" })).await;
        assert_eq!(refused.code(), "too_many_requests");
        // The service does not show the health of its agents.
        if Target::get().is_direct() {
            let health = sandbox.anonymous(Method::GET, "/../health").send().await.unwrap();
            assert_eq!(health.status(), StatusCode::OK);
        }
        drop(lines);
        until("the loop has ended", async || sandbox.post("exec", json!({ "command": "true" })).await.status == 200).await;
        until("nothing is left of it", async || sandbox.count_processes(&mark).await == 0).await;
        assert_eq!(sandbox.get("kept").await.success(), b"kept");
    })
    .await;
}

#[tokio::test]
async fn a_timeout_ends_a_fork_loop_and_the_agent_lives() {
    with_pid_limit(async |sandbox| {
        let mark = mark();
        // By a command: file operations would leave threads behind, and with them it is another case.
        sandbox.shell("printf kept > kept").await;
        time_out(sandbox, fork_loop(&mark), "full\n").await;
        assert_eq!(sandbox.count_processes(&mark).await, 0);
        assert_eq!(sandbox.get("kept").await.success(), b"kept");
        use_files(sandbox).await;
    })
    .await;
}
