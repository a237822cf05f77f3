//! File systems that do not answer.

use cabana_tests::in_agent_by;
use serde_json::json;

/// Starts a program in whose root `dead` is a file system that never answers: see dead_mount.py.
const DEAD_MOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/dead_mount.py");

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn operations_on_a_dead_mount_fail_and_others_go_on() {
        let starter = ["unshare", "--mount", "--propagation=private", "python3", DEAD_MOUNT];
        in_agent_by(&starter, &[("CABANA_FILE_TIMEOUT_MS", "500")], async |sandbox| {
            sandbox.put("f", "alive").await.success();
            for (name, request) in [
                ("file.stat", json!({ "path": "dead/x" })),
                ("file.read", json!({ "path": "dead/x" })),
                ("file.list", json!({ "path": "dead" })),
                ("file.write", json!({ "path": "dead/x", "content": "x" })),
                ("file.write", json!({ "path": "dead/x", "content": "x", "append": true })),
                ("file.mkdir", json!({ "path": "dead/x" })),
                ("file.remove", json!({ "path": "dead/x" })),
                ("file.edit", json!({ "path": "dead/x", "edits": [{ "old": "a", "new": "b" }] })),
            ] {
                assert_eq!(sandbox.post(name, request).await.code(), "timeout", "{name}");
            }
            assert_eq!(sandbox.get("dead/x").await.code(), "timeout");
            assert_eq!(sandbox.put("dead/x", "x").await.code(), "timeout");
            assert_eq!(sandbox.get("f").await.success(), b"alive");
        })
        .await;
    }
}
