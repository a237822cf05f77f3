//! Languages beside Python.

use cabana_protocol::code::{RunOutput, RunStatus};
use cabana_tests::{Sandbox, Target, in_sandbox};
use serde_json::json;

use super::run;

async fn cell(sandbox: &Sandbox, language: &str, code: &str) -> RunOutput {
    run(sandbox, json!({ "code": code, "language": language })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_and_typescript_run_on_deno() {
    in_sandbox(async |sandbox| {
        let code = "const x = await Promise.resolve(41); console.log('printed'); x + 1";
        let first = cell(sandbox, "javascript", code).await;
        assert_eq!((first.text.as_deref(), first.logs.stdout.as_str()), (Some("42"), "printed\n"), "{first:?}");
        assert_eq!(cell(sandbox, "js", "x").await.text.as_deref(), Some("41"));
        let typed = cell(sandbox, "typescript", "interface A { n: number }\nconst a: A = { n: 6 };\na.n").await;
        assert_eq!(typed.text.as_deref(), Some("6"));
        assert_ne!(typed.result.context, first.result.context);
        let failed = cell(sandbox, "javascript", "throw new TypeError('no')").await;
        let error = failed.error.unwrap();
        assert!(failed.result.status == RunStatus::Error && error.value.contains("no"), "{error:?}");
        let syntax = cell(sandbox, "javascript", "const = ;").await;
        assert_eq!((syntax.result.status, syntax.error.is_some()), (RunStatus::Error, true));
        let html = cell(sandbox, "typescript", "Deno.jupyter.html`<b>h</b>`").await;
        assert!(html.results.iter().any(|output| output.data["text/html"] == "<b>h</b>"), "{html:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_trails_its_cell_is_waited_for() {
    in_sandbox(async |sandbox| {
        let many = cell(sandbox, "javascript", "for (let i = 0; i < 5000; i++) console.log(i)").await;
        assert_eq!((many.logs.stdout.lines().count(), many.logs.stdout.lines().last()), (5_000, Some("4999")));
        assert_eq!(cell(sandbox, "javascript", "console.log('own')").await.logs.stdout, "own\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_loop_in_javascript_is_interrupted() {
    in_sandbox(async |sandbox| {
        cell(sandbox, "javascript", "var x = 7").await;
        let request = json!({ "code": "while (true) {}", "language": "javascript", "timeout_ms": 3_000 });
        let output = run(sandbox, request).await;
        assert_eq!((output.result.status, output.result.state_kept), (RunStatus::TimedOut, true), "{output:?}");
        assert_eq!(cell(sandbox, "javascript", "x").await.text.as_deref(), Some("7"));
        // Deno does not interrupt what waits: the variables are lost, and the answer says so.
        let request = json!({ "code": "await new Promise(() => {})", "language": "javascript", "timeout_ms": 3_000 });
        let output = run(sandbox, request).await;
        assert_eq!((output.result.status, output.result.state_kept), (RunStatus::TimedOut, false), "{output:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_for_which_nothing_was_written_runs() {
    in_sandbox(async |sandbox| {
        let kernels = sandbox.post("code.list", json!({})).await.json()["kernels"].clone();
        let has_bash = kernels.as_array().unwrap().contains(&json!("bash"));
        assert!(has_bash || Target::get() == Target::Image, "{kernels}");
        if !has_bash {
            return;
        }
        let output = cell(sandbox, "bash", "X=41; echo $((X + 1))").await;
        assert_eq!((output.result.status, output.logs.stdout.trim()), (RunStatus::Ok, "42"), "{output:?}");
        assert_eq!(cell(sandbox, "bash", "echo $X").await.logs.stdout.trim(), "41");
        let settings = sandbox.post("code.run", json!({ "code": "echo", "language": "bash", "env": { "A": "1" } })).await;
        assert_eq!(settings.code(), "unprocessable", "{}", settings.json());
    })
    .await;
}
