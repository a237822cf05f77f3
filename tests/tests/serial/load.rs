//! Whatever a command does to the sandbox, its agent still answers.

use cabana_protocol::{
    exec::{ExecEvent, Exit},
    line::Line,
    system::Info,
};
use cabana_tests::{Sandbox, in_sandbox, until};
use futures_util::StreamExt;
use serde_json::json;

/// Runs a command that says "up" when it does its worst and never ends by itself, uses the sandbox meanwhile, and hangs up.
async fn check(sandbox: &Sandbox, user: &str, mark: &str, command: &str) {
    let request = json!({ "command": command, "user": user });
    let mut lines = sandbox.stream("application/x-ndjson", request).await;
    loop {
        match lines.next().await {
            Some(Line::Event(ExecEvent::Stdout { bytes, .. })) if bytes.0 == "up\n" => break,
            Some(Line::Event(_)) => {}
            other => panic!("{command}: {other:?}"),
        }
    }
    for round in 0..5 {
        assert!(!sandbox.call(Info {}).await.kernel.is_empty());
        assert_eq!(sandbox.shell(&format!("echo {round}")).await, format!("{round}\n"));
    }
    assert!(sandbox.count_processes(mark).await > 0, "the load has ended by itself: {command}");
    drop(lines);
    until("the load is gone", async || sandbox.count_processes(mark).await == 0).await;
}

#[tokio::test]
async fn processors() {
    in_sandbox(async |sandbox| {
        let spin = "for i in $(seq 32); do bash -c 'while :; do :; done' 3701.5 & done; echo up; wait";
        check(sandbox, "root", "3701.5", spin).await;
    })
    .await;
}

/// Only a user without rights has a limit of processes.
#[tokio::test]
async fn a_fork_bomb() {
    in_sandbox(async |sandbox| {
        let bomb = "bomb() { bomb 2>/dev/null | bomb 2>/dev/null & }; bomb; echo up; exec sleep 1000";
        // The limit counts the user's processes everywhere; while others have used it up the bomb has no fuse.
        let bounded = format!("[ $(id -u) != 0 ] && while :; do (ulimit -u 60; exec bash -c '{bomb}' 3702.5); sleep 0.1; done");
        check(sandbox, "nobody", "3702.5", &bounded).await;
    })
    .await;
}

#[tokio::test]
async fn memory_and_descriptors() {
    in_sandbox(async |sandbox| {
        let hog = "import os,time\nheld = []\ntry:\n  while True: held.append(bytearray(1 << 20))\nexcept MemoryError: held.pop()\n\
                   try:\n  while True: os.pipe()\nexcept OSError: os.write(1, b'up\\n')\ntime.sleep(3703.5)";
        let request = format!("ulimit -v 150000; ulimit -n 500; exec python3 -c \"{hog}\"");
        check(sandbox, "root", "3703.5", &request).await;
    })
    .await;
}

#[tokio::test]
async fn one_that_is_ended_by_its_limits_says_how() {
    in_sandbox(async |sandbox| {
        let output = sandbox.exec(json!({ "command": "ulimit -f 100; head -c 1000000 /dev/zero > large" })).await;
        assert!(matches!(output.result.exit, Some(Exit::Exited { .. } | Exit::Signalled { .. })) && !output.result.success());
        let spin = "ulimit -St 1; exec bash -c 'while :; do :; done'";
        let exit = sandbox.exec(json!({ "command": spin })).await.result.exit;
        assert_eq!(exit, Some(Exit::Signalled { signal: "SIGXCPU".parse().unwrap() }));
    })
    .await;
}
