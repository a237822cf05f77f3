//! The kernel gives the number of a process that has ended to another one.

use cabana_protocol::{
    Data,
    process::{Get, Input, SendSignal, Until, Wait, Waited},
};
use cabana_tests::{Sandbox, in_agent_by};
use serde_json::{Value, json};

use crate::exec::exited;

/// Runs a case on an agent whose processes have numbers of their own: the kernel can be told which one comes next, and nobody else
/// takes it. The first child of what `unshare` starts is the first process of the namespace. In a sandbox of the stack this is not
/// allowed, and to use up 32,768 numbers takes minutes on a busy machine.
async fn with_own_pids(case: impl AsyncFnOnce(&Sandbox)) {
    const STARTER: &str = "trap 'kill $!' TERM; (mount -t proc proc /proc && exec \"$0\") & wait $!; wait $!";
    in_agent_by(&["unshare", "--pid", "--mount", "sh", "-c", STARTER], &[("CABANA_KEEP_CAPABILITIES", "all")], case).await;
}

/// The number of both processes.
const PID: u32 = 1_000;

/// Starts a process with that number. A thread that the agent makes at this moment may take it first.
async fn start(sandbox: &Sandbox, request: Value) -> String {
    for _ in 0..10 {
        sandbox.shell(&format!("echo {} > /proc/sys/kernel/ns_last_pid", PID - 1)).await;
        let process = sandbox.exec(request.clone()).await.result.process.to_string();
        if sandbox.call(Get { process: process.clone() }).await.pid == PID {
            return process;
        }
        sandbox.call(SendSignal { process, signal: "SIGKILL".parse().unwrap() }).await;
    }
    panic!("no process gets the number {PID}");
}

#[tokio::test]
async fn an_ended_process_is_not_taken_for_another_with_its_number() {
    with_own_pids(async |sandbox| {
        let request = json!({ "command": "read line; exit 7", "detach": true, "stdin": { "stream": true } });
        let ended = start(sandbox, request).await;
        sandbox.call(Input { process: ended.clone(), data: Some(Data::from("go\n")), eof: false }).await;
        let wait = async || sandbox.call(Wait { process: ended.clone(), until: Until::EXIT, from: None, timeout_ms: None }).await;
        assert_eq!(wait().await, Waited::Exited { exit: exited(7) });

        let other = start(sandbox, json!({ "command": ["sleep", "1000"], "detach": true })).await;
        for (operation, request) in [
            ("process.signal", json!({ "process": ended, "signal": "SIGKILL" })),
            ("process.signal", json!({ "process": ended, "signal": "SIGSTOP" })),
            ("process.input", json!({ "process": ended, "data": "more\n" })),
            ("process.input", json!({ "process": ended, "eof": true })),
        ] {
            assert_eq!(sandbox.post(operation, request.clone()).await.code(), "conflict", "{operation} {request}");
        }
        assert_eq!(wait().await, Waited::Exited { exit: exited(7) }, "the end of the first is its own");
        let (first, second) = (sandbox.call(Get { process: ended }).await, sandbox.call(Get { process: other.clone() }).await);
        assert_eq!((first.pid, first.exit, second.pid, second.exit), (PID, Some(exited(7)), PID, None));
        let state = sandbox.shell(&format!("grep ^State: /proc/{PID}/status")).await;
        assert!(state.contains("sleeping"), "the other has neither been ended nor stopped: {state}");
        sandbox.call(SendSignal { process: other.clone(), signal: "SIGTERM".parse().unwrap() }).await;
        let waited = sandbox.call(Wait { process: other, until: Until::EXIT, from: None, timeout_ms: None }).await;
        assert!(matches!(waited, Waited::Exited { .. }), "its own id reaches it");
    })
    .await;
}
