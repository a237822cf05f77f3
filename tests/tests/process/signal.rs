//! Signals, and a thousand processes at once.

use cabana_protocol::{
    exec::Exit,
    process::{List, SendSignal, Until, Waited},
};
use cabana_tests::in_sandbox;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{detach, exited, wait};

#[tokio::test]
async fn the_requested_signal_is_sent() {
    in_sandbox(async |sandbox| {
        // Short sleeps: Python calls a handler only after the sleep, if the signal arrives just before it.
        let script = "import os, signal, sys, time\n\
                      for number in {*range(1, 32)} - {9, 17, 18, 19}: signal.signal(number, lambda number, _: os._exit(number))\n\
                      for number in range(34, 65): signal.signal(number, lambda number, _: os._exit(number))\n\
                      print('set', flush=True)\nwhile True: time.sleep(0.1)";
        for signal in ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGALRM", "SIGTERM", "SIGWINCH", "SIGSYS", "SIGRTMIN+0", "SIGRTMIN+30"]
        {
            let id = detach(sandbox, json!({ "command": ["python3", "-c", script] })).await;
            wait(sandbox, &id, Until::Log { log: "set".into() }).await;
            let signal: cabana_protocol::Signal = signal.parse().unwrap();
            sandbox.call(SendSignal { process: id.clone(), signal }).await;
            assert_eq!(wait(sandbox, &id, Until::EXIT).await, exited(signal.number()), "{signal}");
        }
    })
    .await;
}

/// More than the smallest container may have.
mod large {
    use super::*;

    #[tokio::test]
    async fn a_thousand_processes_run_at_once_and_are_killed() {
        const COUNT: usize = 1000;
        in_sandbox(async |sandbox| {
            let starts = stream::iter(0..COUNT).map(async |_| detach(sandbox, json!({ "command": ["sleep", "3708.5"] })).await);
            let ids: Vec<_> = starts.buffer_unordered(16).collect().await;
            assert_eq!(sandbox.call(List::default()).await.processes.len(), COUNT);
            assert_eq!(sandbox.count_processes("^sleep 3708.5").await, COUNT);
            assert_eq!(sandbox.shell("echo still quick").await, "still quick\n");
            sandbox.exec(json!({ "command": ["pkill", "--signal", "KILL", "--full", "^sleep 3708.5"] })).await;
            let killed = Waited::Exited { exit: Exit::Signalled { signal: "SIGKILL".parse().unwrap() } };
            // As many as are still known: those that ended last.
            for id in ids {
                let answer = sandbox.post("process.wait", json!({ "process": id, "until": "exit" })).await;
                assert!(answer.status == 404 || answer.json() == json!(killed), "{}", answer.json());
            }
            assert_eq!(sandbox.count_processes("^sleep 3708.5").await, 0);
        })
        .await;
    }
}
