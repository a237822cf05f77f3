//! What a sandbox's user may do to the sandbox: its agent lives, answers meanwhile, keeps timeouts, and everything works again afterwards.

use cabana_protocol::{
    exec::{Exec, ExecEvent, Exit},
    line::{Line, LineOf},
};
use cabana_tests::{NDJSON, Sandbox, Target, in_agent_by, in_sandbox, until};
use futures_util::{Stream, StreamExt, future::join_all};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::exec::cgroup::Cgroup;

/// What bounds an agent of the case's own: as many processes and as much memory as the smallest containers have.
const PIDS: u64 = 256;
const MEMORY_BYTES: u64 = 256 << 20;

/// What an attack uses up. Containers bound both; for the agent alone the case must.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    Processes,
    Memory,
}

/// Runs a case where this resource is bounded.
async fn in_bounded(resource: Resource, case: impl AsyncFnOnce(&Sandbox)) {
    if Target::get() != Target::Agent {
        return in_sandbox(case).await;
    }
    let group = match resource {
        Resource::Processes => Cgroup::with_pids(PIDS),
        Resource::Memory => Cgroup::with_memory(MEMORY_BYTES),
    };
    in_agent_by(&group.starter().each_ref().map(String::as_str), &[], case).await;
}

/// A Python program that says "up" when it does its worst.
fn python(script: &str) -> Value {
    json!(["python3", "-c", script])
}

/// Whether the command has said that it does its worst; false when it has ended before.
async fn is_up(lines: &mut (impl Stream<Item = LineOf<Exec>> + Unpin)) -> bool {
    loop {
        match lines.next().await {
            Some(Line::Event(ExecEvent::Stdout { bytes, .. })) if bytes.0 == "up\n" => return true,
            Some(Line::Event(_)) => {}
            Some(Line::Result(_)) => return false,
            other => panic!("{other:?}"),
        }
    }
}

/// Everything that needs no new process.
async fn check_files(sandbox: &Sandbox) {
    for round in 0..3 {
        let path = format!("round-{round}");
        sandbox.put(&path, "x".repeat(10_000)).await.success();
        assert_eq!(sandbox.get(&path).await.success().len(), 10_000);
        sandbox.post("file.remove", json!({ "path": path })).await.success();
    }
    check_health(sandbox).await;
}

/// The agent's health; the service answers for it by an operation.
async fn check_health(sandbox: &Sandbox) {
    if Target::get().is_direct() {
        let health = sandbox.anonymous(Method::GET, "/../health").send().await.unwrap();
        assert_eq!(health.status(), StatusCode::OK);
    } else {
        sandbox.post("system.info", json!({})).await.success();
    }
}

/// Commands run again, and what was there before still is.
async fn check_recovery(sandbox: &Sandbox) {
    until("commands run again", async || {
        let answer = sandbox.post("exec", json!({ "command": "echo again" })).await;
        answer.status == StatusCode::OK && answer.json()["stdout"] == "again\n"
    })
    .await;
    assert_eq!(sandbox.get("kept").await.success(), b"kept");
    check_files(sandbox).await;
}

/// Runs an attack that never ends by itself until its timeout, and uses the agent while the attack does its worst. On a busy machine it
/// gets more time to become that bad.
async fn withstand(sandbox: &Sandbox, attack: Value) {
    sandbox.put("kept", "kept").await.success();
    for timeout_ms in [4_000, 16_000, 64_000] {
        let request = json!({ "command": attack, "timeout_ms": timeout_ms });
        let mut lines = sandbox.stream(NDJSON, request).await;
        if is_up(&mut lines).await {
            check_files(sandbox).await;
            let ended = lines.filter_map(async |line| if let Line::Result(result) = line { Some(result.exit) } else { None });
            assert_eq!(ended.collect::<Vec<_>>().await, [Some(Exit::TimedOut)]);
            return check_recovery(sandbox).await;
        }
    }
    panic!("the attack never does its worst: {attack}");
}

#[tokio::test]
async fn a_fork_bomb_in_python_is_ended_by_its_timeout() {
    in_bounded(Resource::Processes, async |sandbox| {
        let bomb = "import os, time\nfull = False\nwhile True:\n  try:\n    if os.fork() == 0: time.sleep(1000)\n  except OSError:\n    \
                    if not full: os.write(1, b'up\\n')\n    full = True\n    time.sleep(0.01)";
        withstand(sandbox, python(bomb)).await;
    })
    .await;
}

#[tokio::test]
async fn threads_by_the_thousand_are_ended_by_their_timeout() {
    in_bounded(Resource::Processes, async |sandbox| {
        let threads = "import os, threading, time\nthreading.stack_size(65536)\ncount = 0\ntry:\n  while count < 4000:\n    \
                       threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n    count += 1\n\
                       except RuntimeError: pass\nos.write(1, b'up\\n')\ntime.sleep(1000)";
        withstand(sandbox, python(threads)).await;
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_descriptors_is_ended_by_its_timeout() {
    in_bounded(Resource::Memory, async |sandbox| {
        // Not as many as the machine has, which other sandboxes share.
        let flood = "import os, resource, time\nsoft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n\
                     resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\nheld = []\ntry:\n  \
                     while len(held) < 50000: held.append(os.open('/dev/null', os.O_RDONLY))\nexcept OSError: pass\n\
                     os.write(1, b'up\\n')\ntime.sleep(1000)";
        withstand(sandbox, python(flood)).await;
    })
    .await;
}

#[tokio::test]
async fn a_stopped_command_is_ended_by_its_timeout() {
    in_sandbox(async |sandbox| {
        sandbox.put("kept", "kept").await.success();
        let stopped = "(setsid sh -c 'kill -STOP $$' &); sleep 1000 & kill -STOP $!; echo up; kill -STOP $$";
        withstand(sandbox, json!(stopped)).await;
    })
    .await;
}

/// Runs a case where no process but the sandbox's own can be seen: the agent alone gets a process namespace.
async fn in_own_processes(case: impl AsyncFnOnce(&Sandbox)) {
    const STARTER: &str = "trap 'kill $!' TERM; (mount -t proc proc /proc && exec \"$0\") & wait $!; wait $!";
    match Target::get() {
        Target::Agent => in_agent_by(&["unshare", "--pid", "--mount", "sh", "-c", STARTER], &[], case).await,
        Target::Image | Target::Stack => in_sandbox(case).await,
    }
}

#[tokio::test]
async fn a_signal_to_every_process_leaves_the_agent() {
    in_own_processes(async |sandbox| {
        sandbox.put("kept", "kept").await.success();
        let bystander = sandbox.exec(json!({ "command": ["sleep", "1000"], "detach": true })).await.result.process;
        for user in [Value::Null, json!("root")] {
            let output = sandbox.exec(json!({ "command": "kill -9 -1; echo left", "user": user })).await;
            assert_eq!(output.stdout.0, "left\n", "{user}");
            let output =
                sandbox.exec(json!({ "command": "kill -9 1; kill -STOP 1; kill -TERM -1; echo left", "user": user })).await;
            assert_eq!(output.stdout.0, "left\n", "{user}");
        }
        let waited = sandbox.post("process.wait", json!({ "process": bystander, "until": "exit" })).await;
        assert_eq!(waited.json()["exit"]["signal"], "SIGKILL");
        check_recovery(sandbox).await;
    })
    .await;
}

/// Every one of its processes forks as fast as it can, and leaves its group.
async fn withstand_bomb_in_c() {
    in_bounded(Resource::Processes, async |sandbox| {
        let bomb = "#include <unistd.h>\n#include <string.h>\nint main(void) {\n  int full = 0;\n  for (;;) {\n    \
                    int child = fork();\n    if (child == 0) setsid();\n    \
                    if (child < 0 && !full) { full = 1; if (write(1, \"up\\n\", 3) < 0) return 1; close(1); }\n  }\n}\n";
        sandbox.put("bomb.c", bomb).await.success();
        sandbox.shell("gcc -o bomb bomb.c").await;
        withstand(sandbox, json!(["./bomb"])).await;
    })
    .await;
}

mod agent_only {
    use super::*;

    /// Not the first process, as an agent in a container of its own is, it may not stop all processes: it races with the bomb.
    #[tokio::test]
    async fn a_fork_bomb_in_c_is_ended_by_an_agent_that_is_not_the_first_process() {
        withstand_bomb_in_c().await;
    }
}

/// The local service gives its sandboxes more than a case should use up.
mod bounded {
    use super::*;

    #[tokio::test]
    async fn a_fork_bomb_in_c_is_ended_by_its_timeout() {
        withstand_bomb_in_c().await;
    }

    #[tokio::test]
    async fn a_hog_of_memory_is_killed_and_the_agent_lives() {
        in_bounded(Resource::Memory, async |sandbox| {
            sandbox.put("kept", "kept").await.success();
            let hog = "held = []\nwhile True: held.append(b'x' * (4 << 20))";
            let exits = join_all((0..3).map(|_| sandbox.exec(json!({ "command": python(hog), "timeout_ms": 60_000 })))).await;
            for output in exits {
                assert_eq!(output.result.exit, Some(Exit::OomKilled));
            }
            check_recovery(sandbox).await;
        })
        .await;
    }

    #[tokio::test]
    async fn many_hogs_of_one_command_are_killed_before_the_agent() {
        in_bounded(Resource::Memory, async |sandbox| {
            sandbox.put("kept", "kept").await.success();
            // Each is small, and all together are more than there is.
            let hogs = "import os, time\nfor _ in range(100):\n  if os.fork() == 0:\n    held = b'x' * (6 << 20)\n    time.sleep(1000)\n\
                        while True:\n  os.wait()";
            let output = sandbox.exec(json!({ "command": python(hogs), "timeout_ms": 10_000 })).await;
            assert!(!output.result.success(), "{output:?}");
            check_recovery(sandbox).await;
        })
        .await;
    }
}
