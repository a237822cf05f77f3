//! Kernels that the machine's kernel kills because the sandbox is out of memory.

use cabana_protocol::{code::RunStatus, exec::Exit};
use cabana_tests::Sandbox;
use serde_json::json;

use super::{create, python, run, state};

/// Takes memory until it is killed.
const HOG: &str = "held = []\nwhile True: held.append(b'x' * (8 << 20))";

async fn check_hogs(sandbox: &Sandbox) {
    let (hog, bystander) = (create(sandbox, json!({})).await, create(sandbox, json!({})).await);
    run(sandbox, json!({ "code": "x = 7", "context": bystander })).await;
    let process = sandbox.exec(json!({ "command": ["sleep", "1000"], "detach": true })).await.result.process;
    for _ in 0..2 {
        let code = format!("print('last', flush=True)\n{HOG}");
        let output = run(sandbox, json!({ "code": code, "context": hog })).await;
        let result = &output.result;
        assert_eq!(
            (result.status, result.state_kept, result.exit),
            (RunStatus::KernelDied, false, Some(Exit::OomKilled)),
            "{output:?}"
        );
        assert_eq!(output.logs.stdout, "last\n", "what came before is told");
        assert_eq!(state(sandbox, &hog).await, "ended");
        let refused = sandbox.post("code.run", json!({ "code": "1", "context": hog })).await;
        let reason = refused.json()["error"]["details"]["reason"].clone();
        assert_eq!((refused.code().as_str(), reason), ("conflict", json!("kernel_ended")));
        sandbox.post("code.restart", json!({ "context": hog })).await.success();
        let again = run(sandbox, json!({ "code": "'held' in globals()", "context": hog })).await;
        assert_eq!((again.text.as_deref(), again.result.execution_count), (Some("False"), Some(1)));
    }
    let kept = run(sandbox, json!({ "code": "x", "context": bystander })).await;
    assert_eq!((kept.text.as_deref(), kept.result.execution_count), (Some("7"), Some(2)), "the other kernel lives");
    // The kernel of a child that is killed lives: that is a result of the cell's.
    let code = format!("import subprocess, sys\nsubprocess.run([sys.executable, '-c', {HOG:?}]).returncode");
    let child = run(sandbox, json!({ "code": code, "context": bystander })).await;
    assert_eq!((child.text.as_deref(), child.result.state_kept), (Some("-9"), true), "{child:?}");
    // The language's own context begins anew by itself.
    assert_eq!(python(sandbox, HOG).await.result.exit, Some(Exit::OomKilled));
    assert_eq!(python(sandbox, "'anew'").await.text.as_deref(), Some("'anew'"));
    let process = sandbox.post("process.get", json!({ "process": process })).await.json();
    assert!(process.get("exit").is_none() && process.get("error").is_none(), "it runs on: {process}");
}

/// Only where the case starts the agent itself can it have a small memory.
mod agent_only {
    use cabana_tests::in_agent_by;

    use super::check_hogs;
    use crate::exec::cgroup::Cgroup;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_kernel_that_is_out_of_memory_is_reported_and_can_be_restarted() {
        let group = Cgroup::with_memory(512 << 20);
        in_agent_by(&group.starter().each_ref().map(String::as_str), &[], check_hogs).await;
    }
}

/// The local service gives its sandboxes more than a case should use up.
mod bounded {
    use cabana_tests::in_sandbox;

    use super::check_hogs;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_kernel_that_is_out_of_memory_is_reported_and_can_be_restarted() {
        in_sandbox(check_hogs).await;
    }
}
