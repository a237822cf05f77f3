//! Running code: what is refused needs no kernel, and the rest runs on real ones.

pub(crate) mod kernels;

use cabana_tests::in_sandbox;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn malformed_runs_are_refused_and_change_nothing() {
    in_sandbox(async |sandbox| {
        for (name, request, code) in [
            ("code.run", json!({ "code": "1", "timeout_ms": 0 }), "invalid_request"),
            ("code.run", json!({ "code": "1", "timeout_ms": 86_400_001 }), "invalid_request"),
            ("code.run", json!({ "code": 1 }), "invalid_request"),
            ("code.run", json!({ "code": "1", "languge": "python" }), "invalid_request"),
            ("code.run", json!({ "code": "1", "language": "" }), "invalid_request"),
            ("code.run", json!({ "code": "1", "env": { "A=B": "x" } }), "invalid_request"),
            ("code.run", json!({ "code": "x".repeat((1 << 20) + 1) }), "payload_too_large"),
            ("code.run", json!({ "code": "1", "context": "nowhere" }), "not_found"),
            ("code.run", json!({ "code": "1", "context": "aaaaaa-c1" }), "gone"),
            ("code.complete", json!({ "code": "1", "context": "nowhere" }), "not_found"),
            ("code.create", json!({ "name": "no spaces" }), "invalid_request"),
            ("code.delete", json!({ "context": "nowhere" }), "not_found"),
        ] {
            let answer = sandbox.post(name, request.clone()).await;
            assert_eq!(answer.code(), code, "{name} {}: {}", request.to_string().get(..80).unwrap_or_default(), answer.json());
        }
        let lost = sandbox.post("code.restart", json!({ "context": "aaaaaa-c1" })).await;
        assert_eq!(lost.json()["error"]["details"]["reason"], "lost", "{}", lost.json());
        assert_eq!(sandbox.post("code.list", json!({})).await.json()["items"], json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_language_without_a_kernel_is_named_with_what_is_installed() {
    in_sandbox(async |sandbox| {
        for name in ["code.run", "code.create"] {
            let request = match name {
                "code.run" => json!({ "code": "1", "language": "cobol" }),
                _ => json!({ "language": "cobol" }),
            };
            let answer = sandbox.post(name, request).await;
            let error = answer.json()["error"].clone();
            assert_eq!((answer.status.as_u16(), error["code"].as_str()), (422, Some("unprocessable")), "{error}");
            assert_eq!(
                (error["details"]["reason"].as_str(), error["details"]["language"].as_str()),
                (Some("no_kernel"), Some("cobol"))
            );
            assert!(
                error["details"]["installed"].is_array() && error["message"].as_str().unwrap().contains("kernel.json"),
                "{error}"
            );
        }
        assert_eq!(sandbox.post("code.list", json!({})).await.json()["items"], json!([]));
    })
    .await;
}
