//! Where file operations reach: the roots of a sandbox.

use cabana_tests::in_sandbox_with;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{create, fresh_name, lifecycle::Named};

#[tokio::test]
async fn a_sandbox_chooses_its_roots_and_may_only_read_some() {
    let roots = json!(["/workspace", "/tmp/data", { "path": "/tmp/given", "read_only": true }]);
    in_sandbox_with(json!({ "roots": roots }), async |sandbox| {
        let shown = sandbox.send(sandbox.request(Method::GET, "")).await.json();
        assert_eq!(shown["roots"], roots);
        sandbox.shell("echo given > /tmp/given/f; mkdir /tmp/given/d; git init -q /tmp/given/d").await;
        assert_eq!(sandbox.shell("pwd").await, "/workspace\n");
        for path in ["a", "/workspace/b", "/tmp/data/c"] {
            sandbox.put(path, path.to_owned()).await.success();
            assert_eq!(sandbox.get(path).await.success(), path.as_bytes());
        }
        assert_eq!(sandbox.get("/tmp/given/f").await.success(), b"given\n");
        assert_eq!(sandbox.post("file.list", json!({ "path": "/tmp/given" })).await.json()["items"].as_array().unwrap().len(), 2);
        sandbox.post("git.status", json!({ "path": "/tmp/given/d" })).await.success();
        let move_out = json!({ "from": "/tmp/given/f", "to": "a2" });
        let patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-given\n+taken\n";
        for (operation, request) in [
            ("file.write", json!({ "path": "/tmp/given/f", "content": "x" })),
            ("file.write", json!({ "path": "/tmp/given/f", "content": "x", "append": true })),
            ("file.write", json!({ "path": "/tmp/given/new", "content": "x" })),
            ("file.mkdir", json!({ "path": "/tmp/given/new" })),
            ("file.remove", json!({ "path": "/tmp/given/f" })),
            ("file.move", move_out),
            ("file.move", json!({ "from": "a", "to": "/tmp/given/a" })),
            ("file.copy", json!({ "from": "a", "to": "/tmp/given/a" })),
            ("file.symlink", json!({ "path": "/tmp/given/l", "target": "f" })),
            ("file.chmod", json!({ "path": "/tmp/given/f", "mode": "0600" })),
            ("file.edit", json!({ "path": "/tmp/given/f", "edits": [{ "old": "given", "new": "x" }] })),
            ("file.patch", json!({ "path": "/tmp/given", "patch": patch })),
            ("git.commit", json!({ "path": "/tmp/given/d", "message": "x", "allow_empty": true })),
            ("git.branch", json!({ "path": "/tmp/given/d", "action": { "type": "create", "name": "x" } })),
        ] {
            let refused = sandbox.post(operation, request.clone()).await;
            let reason = &refused.json()["error"]["details"]["reason"];
            assert_eq!((refused.code().as_str(), reason), ("forbidden", &json!("read_only")), "{operation} {request}");
        }
        assert_eq!(sandbox.put("/tmp/given/f", "x").await.code(), "forbidden");
        let deleted = sandbox.send(sandbox.file(Method::DELETE, "/tmp/given/f")).await;
        assert_eq!(deleted.code(), "forbidden");
        let archive = sandbox.request(Method::PUT, "/archive?path=/tmp/given").body(vec![0; 1024]);
        assert_eq!(sandbox.send(archive).await.code(), "forbidden");
        assert_eq!(sandbox.shell("cat /tmp/given/f; ls -A /tmp/given").await, "given\nd\nf\n");
        let outside = sandbox.get("/etc/passwd").await.json();
        let message = outside["error"]["message"].as_str().unwrap();
        assert!(message.contains("`roots`") && message.contains("/tmp/data"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn roots_that_cannot_be_are_refused() {
    for roots in
        [json!([]), json!(["relative"]), json!(["/etc"]), json!(["/tmp", "/tmp/a"]), json!([{ "path": "/" }]), json!("/tmp")]
    {
        let (status, refused) = create(json!({ "name": fresh_name("roots"), "roots": roots })).await;
        let details = &refused["error"]["details"];
        assert_eq!(
            (status, &details["reason"], &details["field"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_field"), &json!("roots"))
        );
    }
    let sandbox = Named::new("roots", json!({ "roots": ["/tmp"] })).await;
    let (status, other) = create(json!({ "name": sandbox.id.strip_prefix("sbx-").unwrap(), "roots": ["/workspace"] })).await;
    assert_eq!((status, &other["error"]["details"]["differs"]), (StatusCode::CONFLICT, &json!(["roots"])));
    assert_eq!(sandbox.print("pwd").await, "/tmp\n");
    sandbox.end().await;
}
