//! Detached commands whose end the answer waits for.

use cabana_protocol::{
    exec::{Exec, ExecEvent},
    line::LineOf,
};
use cabana_tests::{NDJSON, in_sandbox};
use futures_util::StreamExt;
use serde_json::json;

use super::exited;

/// Longer than a case takes.
const LONG: u64 = 600_000;

#[tokio::test]
async fn a_command_that_ends_within_its_wait_is_a_result_and_leaves_no_record() {
    in_sandbox(async |sandbox| {
        let request = json!({ "command": "echo out; echo err >&2; exit 3", "detach": true, "wait_ms": LONG });
        let output = sandbox.exec(request).await;
        assert_eq!((output.stdout.0.as_ref(), output.stderr.0.as_ref()), (b"out\n".as_slice(), b"err\n".as_slice()));
        assert_eq!(output.result.exit, Some(exited(3)));
        let record = sandbox.post("process.get", json!({ "process": output.result.process })).await;
        assert_eq!(record.code(), "not_found");
        let named = json!({ "command": "echo once", "detach": true, "wait_ms": LONG, "name": "kept" });
        let (first, second) = (sandbox.exec(named.clone()).await, sandbox.exec(named).await);
        assert_eq!((&first.result.process, first.result.exit), (&second.result.process, Some(exited(0))));
        assert_eq!(second.stdout.0, "once\n", "a second caller reads it from its first byte");
        assert_eq!(sandbox.post("process.get", json!({ "process": "kept" })).await.json()["exit"]["code"], 0);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_outlasts_its_wait_runs_on_and_its_output_goes_on_from_the_counts() {
    in_sandbox(async |sandbox| {
        let command = "echo up; echo err >&2; until [ -e go ]; do sleep 0.02; done; echo end; exit 4";
        for (number, wait) in [0, 1, 700].into_iter().enumerate() {
            let request = json!({ "command": command, "detach": true, "wait_ms": wait });
            let begun = sandbox.exec(request).await;
            assert_eq!((begun.result.exit, begun.result.pid.is_some()), (None, true), "{wait}");
            sandbox.put("go", "").await.success();
            let from = begun.stdout_bytes + begun.stderr_bytes;
            let attach = json!({ "process": begun.result.process, "from": from });
            let (mut stdout, mut stderr) = (begun.stdout.0.to_vec(), begun.stderr.0.to_vec());
            let mut rest = sandbox.stream_of("process.attach", NDJSON, attach).await;
            while let Some(line) = rest.next().await {
                match line {
                    LineOf::<Exec>::Event(ExecEvent::Stdout { bytes, .. }) => stdout.extend_from_slice(&bytes.0),
                    LineOf::<Exec>::Event(ExecEvent::Stderr { bytes, .. }) => stderr.extend_from_slice(&bytes.0),
                    LineOf::<Exec>::Result(result) => assert_eq!(result.exit, Some(exited(4)), "{wait}"),
                    _ => {}
                }
            }
            assert_eq!((stdout, stderr), (b"up\nend\n".to_vec(), b"err\n".to_vec()), "{wait}");
            let listed = sandbox.post("process.list", json!({ "state": "ended" })).await.json()["items"].take();
            assert_eq!(listed.as_array().map(Vec::len), Some(number + 1), "its end is remembered: {listed}");
            sandbox.shell("rm go").await;
        }
    })
    .await;
}

#[tokio::test]
async fn waits_of_other_commands_and_waits_that_are_too_long_are_refused() {
    in_sandbox(async |sandbox| {
        for (request, reason) in [
            (json!({ "command": "true", "wait_ms": 1 }), "excluded_field"),
            (json!({ "command": "true", "detach": true, "wait_ms": 86_400_001 }), "invalid_field"),
        ] {
            let refused = sandbox.post("exec", request.clone()).await;
            assert_eq!(
                (refused.code().as_str(), &refused.json()["error"]["details"]["reason"]),
                ("invalid_request", &json!(reason)),
                "{request}"
            );
        }
    })
    .await;
}
