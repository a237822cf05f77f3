//! Removing whole trees.

use cabana_tests::{in_either_confinement, in_sandbox};
use serde_json::json;

use super::make_deep_tree;

#[tokio::test]
async fn a_deep_tree_is_removed() {
    in_either_confinement(async |sandbox| {
        make_deep_tree(sandbox, "top", true).await;
        sandbox.post("file.remove", json!({ "path": "top", "recursive": true })).await.success();
        assert_eq!(sandbox.shell("ls -A").await, "");
    })
    .await;
}

#[tokio::test]
async fn concurrent_removals_of_one_tree_succeed() {
    in_sandbox(async |sandbox| {
        for _ in 0..10 {
            sandbox.shell("for i in $(seq 20); do mkdir -p tree/$i/a/b; touch tree/$i/a/b/f; done").await;
            let removals = (0..3).map(async |_| sandbox.post("file.remove", json!({ "path": "tree", "recursive": true })).await);
            for answer in futures_util::future::join_all(removals).await {
                assert!(answer.status.is_success() || answer.code() == "not_found", "{answer:?}");
            }
            assert_eq!(sandbox.shell("ls -A").await, "");
        }
    })
    .await;
}

#[tokio::test]
async fn a_path_with_a_trailing_slash_names_a_directory() {
    in_either_confinement(async |sandbox| {
        sandbox.shell("echo kept > file; mkdir directory; ln -s directory link").await;
        for (name, body) in [
            ("file.read", json!({ "path": "file/" })),
            ("file.stat", json!({ "path": "file/." })),
            ("file.list", json!({ "path": "file/" })),
            ("file.remove", json!({ "path": "file/" })),
            ("file.remove", json!({ "path": "link/", "recursive": true })),
            ("file.move", json!({ "from": "file/", "to": "x" })),
        ] {
            assert_eq!(sandbox.post(name, body.clone()).await.code(), "conflict", "{name} {body}");
        }
        assert_eq!(sandbox.get("file/").await.code(), "conflict");
        for path in ["file/", "directory/", "new/"] {
            assert_eq!(sandbox.put(path, "x").await.code(), "invalid_request", "{path}");
            let append = json!({ "path": path, "content": "x", "append": true });
            assert_eq!(sandbox.post("file.write", append).await.code(), "invalid_request", "{path}");
        }
        sandbox.post("file.list", json!({ "path": "link/" })).await.success();
        sandbox.post("file.mkdir", json!({ "path": "made/" })).await.success();
        sandbox.post("file.move", json!({ "from": "made/", "to": "moved/" })).await.success();
        sandbox.post("file.remove", json!({ "path": "moved/" })).await.success();
        assert_eq!(sandbox.shell("ls").await, "directory\nfile\nlink\n");
    })
    .await;
}
