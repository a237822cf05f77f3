//! Commands that take all there is: memory, threads, descriptors. The agent lives on, and so do its timeouts.

use cabana_protocol::exec::Exit;
use cabana_tests::{Sandbox, Target, in_agent_by, in_sandbox, until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::exec::{cgroup::Cgroup, mark, time_out};

/// Runs a case on an agent of its own within this group, or in a sandbox of the stack.
async fn within(group: impl FnOnce() -> Cgroup, case: impl AsyncFn(&Sandbox)) {
    if Target::get() == Target::Agent {
        let group = group();
        in_agent_by(&group.starter().each_ref().map(String::as_str), &[], &case).await;
    } else {
        in_sandbox(&case).await;
    }
}

/// A Python program, with a mark by which its processes are found.
fn python(script: &str, mark: &str) -> Value {
    json!(["python3", "-c", script, mark])
}

/// The agent answers, and files and commands work.
async fn check_alive(sandbox: &Sandbox) {
    if Target::get() == Target::Agent {
        let health = sandbox.anonymous(Method::GET, "/../health").send().await.unwrap();
        assert_eq!(health.status(), StatusCode::OK);
    }
    sandbox.put("file", "content").await.success();
    assert_eq!(sandbox.get("file").await.success(), b"content");
}

async fn check_recovered(sandbox: &Sandbox, mark: &str) {
    check_alive(sandbox).await;
    until("commands run again", async || sandbox.post("exec", json!({ "command": "true" })).await.status == 200).await;
    until("nothing is left of it", async || sandbox.count_processes(mark).await == 0).await;
}

#[tokio::test]
async fn threads_by_the_thousand_end_at_their_timeout() {
    within(|| Cgroup::with_pids(200), async |sandbox| {
        let mark = mark();
        let script = "import threading, time, os\nthreading.stack_size(65536)\nmade = 0\nwhile made < 5000:\n  try:\n    \
                      threading.Thread(target=time.sleep, args=(1000,)).start()\n    made += 1\n  except RuntimeError:\n    break\n\
                      os.write(1, b'full\\n')\ntime.sleep(1000)";
        time_out(sandbox, python(script, &mark), "full\n").await;
        check_recovered(sandbox, &mark).await;
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_descriptors_ends_at_its_timeout() {
    within(|| Cgroup::with_pids(200), async |sandbox| {
        let mark = mark();
        let script = "import os, socket, time\nheld = []\nfor child in range(20):\n  if os.fork() == 0: break\ntry:\n  while True: \
                      held.append(os.open('/dev/null', os.O_RDONLY))\nexcept OSError: pass\nos.write(1, b'x')\ntime.sleep(1000)";
        time_out(sandbox, python(script, &mark), &"x".repeat(21)).await;
        check_recovered(sandbox, &mark).await;
    })
    .await;
}

/// Small commands, whose memory nobody counts one by one.
#[tokio::test]
async fn many_memory_hogs_do_not_end_the_agent() {
    within(
        || Cgroup::with_memory(256 << 20),
        async |sandbox| {
            if Target::get() == Target::Stack {
                return;
            }
            let mark = mark();
            let hog = "held = []\nwhile True: held.append(b'x' * (1 << 20))";
            for _ in 0..3 {
                let hogs = (0..8).map(async |_| {
                    let request = json!({ "command": python(hog, &mark), "timeout_ms": 20_000 });
                    let exit = sandbox.exec(request).await.result.exit.unwrap();
                    assert!(matches!(exit, Exit::OomKilled | Exit::TimedOut | Exit::Exited { code: 1 }), "{exit:?}");
                });
                futures_util::future::join_all(hogs).await;
                check_alive(sandbox).await;
            }
            check_recovered(sandbox, &mark).await;
        },
    )
    .await;
}
