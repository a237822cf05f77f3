//! Cells that are stopped, and kernels that end.

use cabana_protocol::{
    code::{Run, RunEvent, RunStatus},
    exec::Exit,
    line::LineOf,
};
use cabana_tests::{NDJSON, Sandbox, in_sandbox, until};
use futures_util::StreamExt;
use serde_json::json;

use super::{create, python, run, state};

/// Ignores what interrupts it, and never ends.
const STUBBORN: &str = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('busy', flush=True)\nwhile True: pass";

async fn restart(sandbox: &Sandbox, context: &str) {
    sandbox.post("code.restart", json!({ "context": context })).await.success();
    assert_eq!(state(sandbox, context).await, "idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_interrupts_the_cell_and_keeps_variables() {
    in_sandbox(async |sandbox| {
        python(sandbox, "x = 7").await;
        let output = run(sandbox, json!({ "code": "import time\ntime.sleep(600)", "timeout_ms": 3_000 })).await;
        assert_eq!((output.result.status, output.result.state_kept), (RunStatus::TimedOut, true));
        assert_eq!(output.error.unwrap().name, "KeyboardInterrupt");
        assert_eq!(python(sandbox, "x").await.text.as_deref(), Some("7"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_cannot_be_interrupted_loses_its_variables_and_says_so() {
    in_sandbox(async |sandbox| {
        let context = create(sandbox, json!({})).await;
        let output = run(sandbox, json!({ "code": STUBBORN, "context": context, "timeout_ms": 3_000 })).await;
        assert_eq!((output.result.status, output.result.state_kept), (RunStatus::TimedOut, false));
        let refused = sandbox.post("code.run", json!({ "code": "1", "context": context })).await;
        let reason = refused.json()["error"]["details"]["reason"].clone();
        assert_eq!((refused.code().as_str(), reason), ("conflict", json!("kernel_ended")));
        restart(sandbox, &context).await;
        let again = run(sandbox, json!({ "code": "'back'", "context": context })).await;
        assert_eq!((again.text.as_deref(), again.result.execution_count), (Some("'back'"), Some(1)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_dies_is_reported_and_can_be_restarted() {
    in_sandbox(async |sandbox| {
        let context = create(sandbox, json!({})).await;
        let code = "import os\nprint('last', flush=True)\nos._exit(3)";
        let output = run(sandbox, json!({ "code": code, "context": context })).await;
        assert_eq!((output.result.status, output.result.state_kept), (RunStatus::KernelDied, false));
        assert_eq!(output.result.exit, Some(Exit::Exited { code: 3 }));
        assert_eq!(state(sandbox, &context).await, "ended");
        restart(sandbox, &context).await;
        // The language's own context begins anew by itself, and says so.
        python(sandbox, "import os; os._exit(0)").await;
        let (events, _) = super::stream(sandbox, "1").await;
        assert!(matches!(events[0], RunEvent::Started { created: true, .. }), "{events:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_cell_and_keeps_variables() {
    in_sandbox(async |sandbox| {
        let context = create(sandbox, json!({})).await;
        let idle = sandbox.post("code.interrupt", json!({ "context": context })).await.json();
        assert_eq!(idle["running"], false);
        let code = "x = 1\nopen('runs', 'w').close()\nimport time\ntime.sleep(600)";
        let cell = run(sandbox, json!({ "code": code, "context": context }));
        let interrupt = async {
            until("the cell runs", async || sandbox.get("runs").await.status.is_success()).await;
            sandbox.post("code.interrupt", json!({ "context": context })).await.success();
        };
        let (output, ()) = tokio::join!(cell, interrupt);
        assert_eq!((output.result.status, output.result.state_kept), (RunStatus::Interrupted, true), "{output:?}");
        assert_eq!(state(sandbox, &context).await, "idle");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_interrupts_its_cell() {
    in_sandbox(async |sandbox| {
        let context = create(sandbox, json!({})).await;
        let request = Run {
            code: "x = 1\nprint('on', flush=True)\nimport time\ntime.sleep(600)".to_owned(),
            context: Some(context.clone()),
            ..Run::default()
        };
        let mut lines = sandbox.listen(NDJSON, &request).await;
        while !matches!(lines.next().await, Some(LineOf::<Run>::Event(RunEvent::Stdout { .. }))) {}
        drop(lines);
        until("the cell has ended", async || state(sandbox, &context).await == "idle").await;
        assert_eq!(run(sandbox, json!({ "code": "x", "context": context })).await.text.as_deref(), Some("1"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_context_ends_its_cells_and_its_processes() {
    in_sandbox(async |sandbox| {
        let context = create(sandbox, json!({})).await;
        let code = "import subprocess\nsubprocess.Popen(['sleep', '98761'])\nimport time\ntime.sleep(600)";
        let cell = run(sandbox, json!({ "code": code, "context": context }));
        let delete = async {
            until("the child runs", async || sandbox.count_processes("sleep 98761").await > 0).await;
            sandbox.post("code.delete", json!({ "context": context })).await.success();
        };
        let (output, ()) = tokio::join!(cell, delete);
        assert_eq!((output.result.status, output.result.state_kept), (RunStatus::Cancelled, false));
        assert_eq!(sandbox.count_processes("sleep 98761").await, 0);
        for name in ["code.run", "code.delete", "code.restart", "code.export"] {
            let mut request = json!({ "context": context });
            if name == "code.run" {
                request["code"] = json!("1");
            }
            assert_eq!(sandbox.post(name, request).await.code(), "gone", "{name}");
        }
    })
    .await;
}
