//! Processes that the kernel kills because the sandbox is out of memory.

use cabana_protocol::exec::Exit;
use cabana_tests::in_agent_by;
use serde_json::json;

use crate::exec::{cgroup::Cgroup, exited};

/// Takes memory until it is killed.
const HOG: &str = "held = []\nwhile True: held.append(b'x' * (8 << 20))";

/// Only where the case starts the agent itself can it have a small memory.
#[tokio::test]
async fn a_process_that_the_kernel_kills_for_memory_is_told_from_others() {
    let group = Cgroup::with_memory(256 << 20);
    in_agent_by(&group.starter().each_ref().map(String::as_str), &[], async |sandbox| {
        sandbox.put("kept", "kept").await.success();
        let bystander = sandbox.exec(json!({ "command": ["sleep", "1000"], "detach": true })).await.result.process;
        let exit = async |request| sandbox.exec(request).await.result.exit;
        let killed = Some(Exit::Signalled { signal: "SIGKILL".parse().unwrap() });
        for _ in 0..3 {
            assert_eq!(exit(json!({ "command": ["python3", "-c", HOG] })).await, Some(Exit::OomKilled));
            assert_eq!(exit(json!({ "command": "kill -KILL $$" })).await, killed, "the kernel has killed nobody since");
        }
        let detached = json!({ "command": ["python3", "-c", HOG], "detach": true });
        let detached = sandbox.exec(detached).await.result.process;
        let waited = sandbox.post("process.wait", json!({ "process": detached, "until": "exit" })).await;
        assert_eq!(waited.json()["exit"], json!(Exit::OomKilled));
        // A shell outlives its child, and tells of its end as shells do.
        let shell = json!({ "command": ["sh", "-c", "python3 -c \"$0\"; exit $?", HOG] });
        assert_eq!(exit(shell).await, Some(exited(137)));
        assert_eq!(exit(json!({ "command": "kill -KILL $$" })).await, killed, "the kernel's victim was the shell's child");

        let bystander = sandbox.post("process.get", json!({ "process": bystander })).await;
        assert_eq!(bystander.json().get("exit"), None, "it runs on");
        assert_eq!(sandbox.get("kept").await.success(), b"kept");
    })
    .await;
}
