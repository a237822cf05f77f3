//! Kernels of agents that are configured for the case.

use std::{env, fs, os::unix::fs::PermissionsExt};

use cabana_tests::{in_agent, until};
use serde_json::json;

use super::{create, python, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_waits_is_handed_out_and_replaced() {
    in_agent(&[("CABANA_WARM_KERNELS", "python")], async |sandbox| {
        // The agent is the parent of its kernels, and of the shell that looks.
        let waiting =
            async || sandbox.shell("pgrep --parent $PPID --full '[i]pykernel_launcher' || true").await.trim().to_owned();
        until("a kernel waits", async || !waiting().await.is_empty()).await;
        let pid = waiting().await;
        let context = create(sandbox, json!({})).await;
        let list = sandbox.post("code.list", json!({})).await.json();
        assert_eq!((list["items"][0]["context"].clone(), list["items"][0]["pid"].to_string()), (json!(context), pid));
        until("another one waits", async || waiting().await.lines().count() == 2).await;
        let output = run(sandbox, json!({ "code": "1 + 1", "context": context })).await;
        assert_eq!((output.text.as_deref(), output.result.execution_count), (Some("2"), Some(1)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_nobody_uses_is_ended() {
    in_agent(&[("CABANA_CONTEXT_IDLE_MS", "500")], async |sandbox| {
        let context = create(sandbox, json!({})).await;
        until("it has ended", async || sandbox.post("code.list", json!({})).await.json()["items"] == json!([])).await;
        let refused = sandbox.post("code.run", json!({ "code": "1", "context": context })).await;
        assert_eq!(refused.code(), "gone", "{}", refused.json());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_are_limited_in_number() {
    in_agent(&[("CABANA_MAX_CONTEXTS", "1")], async |sandbox| {
        let context = create(sandbox, json!({})).await;
        assert_eq!(sandbox.post("code.create", json!({})).await.code(), "too_many_requests");
        sandbox.post("code.delete", json!({ "context": context })).await.success();
        create(sandbox, json!({})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_names_its_python_runs_where_only_python3_is_installed() {
    let directory = tempfile::tempdir().unwrap();
    let (kernel, bin) = (directory.path().join("kernels/python3"), directory.path().join("programs"));
    fs::create_dir_all(&kernel).unwrap();
    fs::create_dir(&bin).unwrap();
    let argv = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"];
    fs::write(kernel.join("kernel.json"), json!({ "argv": argv, "language": "python" }).to_string()).unwrap();
    let kernels = env::var("CABANA_TEST_KERNELS").expect("CABANA_TEST_KERNELS names the kernels of the cases");
    let program = bin.join("python3");
    fs::write(&program, format!("#!/bin/sh\nexec {kernels}/bin/python3 \"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let variables = [("JUPYTER_PATH", directory.path().to_str().unwrap()), ("PATH", bin.to_str().unwrap())];
    in_agent(&variables, async |sandbox| {
        assert_eq!(python(sandbox, "6 * 7").await.text.as_deref(), Some("42"));
    })
    .await;
}
