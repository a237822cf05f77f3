//! Paths of file operations that begin in a session's directory.

use cabana_protocol::table::DESCRIPTORS;
use cabana_tests::in_sandbox;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::run;

/// A request of each operation on files, in an order in which all of them work.
fn requests() -> Vec<(&'static str, Value)> {
    let patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-two\n+three\n";
    vec![
        ("file.mkdir", json!({ "path": "sub" })),
        ("file.write", json!({ "path": "sub/f", "content": "one\n" })),
        ("file.write_many", json!({ "files": [{ "path": "sub/g", "content": "g" }] })),
        ("file.read", json!({ "path": "sub/f" })),
        ("file.read_many", json!({ "paths": ["sub/f", "sub/g"] })),
        ("file.stat", json!({ "path": "sub/f" })),
        ("file.stat_many", json!({ "paths": ["sub/f"] })),
        ("file.list", json!({ "path": "sub" })),
        ("file.find", json!({ "path": "sub", "pattern": "f" })),
        ("file.search", json!({ "path": "sub", "pattern": "one" })),
        ("file.edit", json!({ "path": "sub/f", "edits": [{ "old": "one", "new": "two" }] })),
        ("file.patch", json!({ "path": "sub", "patch": patch })),
        ("file.chmod", json!({ "path": "sub/f", "mode": "0600" })),
        ("file.copy", json!({ "from": "sub/f", "to": "sub/copy" })),
        ("file.move", json!({ "from": "sub/copy", "to": "sub/moved" })),
        ("file.symlink", json!({ "path": "sub/link", "target": "f" })),
        ("file.changes", json!({ "path": "sub" })),
        ("file.watch", json!({ "path": "sub", "timeout_ms": 1 })),
        ("file.remove", json!({ "path": "sub/moved" })),
    ]
}

#[tokio::test]
async fn relative_paths_begin_in_the_directory_of_the_session_that_is_named() {
    in_sandbox(async |sandbox| {
        sandbox.post("session.create", json!({ "name": "build" })).await.success();
        run(sandbox, "build", "mkdir -p 'a b'; cd 'a b'; pwd() { echo elsewhere; }; PWD=/nowhere").await;
        for (name, request) in requests() {
            let mut request = request.clone();
            // Without a session the same path is not there.
            if !["file.mkdir", "file.write", "file.write_many", "file.read_many", "file.stat_many"].contains(&name) {
                assert_eq!(sandbox.post(name, request.clone()).await.code(), "not_found", "{name}");
            }
            request["session"] = json!("build");
            let answer = sandbox.post(name, request).await;
            assert!(answer.status.is_success(), "{name}: {}", answer.json());
            let items = answer.json()["items"].as_array().cloned().unwrap_or_default();
            assert!(items.iter().all(|item| item["type"] != "error"), "{name}: {items:?}");
        }
        let family =
            DESCRIPTORS.iter().filter(|descriptor| descriptor.name.starts_with("file.")).map(|descriptor| descriptor.name);
        let missing: Vec<_> = family.filter(|name| requests().iter().all(|(tried, _)| tried != name)).collect();
        assert!(missing.is_empty(), "not tried: {missing:?}");
        assert_eq!(sandbox.shell("cat 'a b/sub/f'; ls 'a b/sub'; ls").await, "three\nf\ng\nlink\na b\n");
    })
    .await;
}

#[tokio::test]
async fn the_byte_lane_and_archives_take_paths_of_a_session() {
    in_sandbox(async |sandbox| {
        sandbox.post("session.create", json!({ "name": "build" })).await.success();
        run(sandbox, "build", "mkdir -p d; cd d").await;
        let lane = |method: Method, route: &str, path: &str| {
            sandbox.request(method, route).query(&[("path", path), ("session", "build")])
        };
        assert_eq!(sandbox.send(lane(Method::PUT, "/files", "f").body("content")).await.status, StatusCode::CREATED);
        assert_eq!(sandbox.send(lane(Method::GET, "/files", "f")).await.success(), b"content");
        let tar = sandbox.send(lane(Method::GET, "/archive", ".")).await.success();
        sandbox.send(lane(Method::PUT, "/archive", "copy").body(tar)).await.success();
        assert_eq!(sandbox.send(lane(Method::DELETE, "/files", "f")).await.status, StatusCode::NO_CONTENT);
        assert_eq!(sandbox.shell("find d -type f -exec grep -H . {} +").await, "d/copy/f:content\n");
    })
    .await;
}

#[tokio::test]
async fn a_sessions_directory_is_known_while_a_command_runs_and_does_not_widen_the_roots() {
    in_sandbox(async |sandbox| {
        sandbox.post("session.create", json!({ "name": "build" })).await.success();
        let waits = run(sandbox, "build", "mkdir d; cd d; until [ -e go ]; do sleep 0.01; done; cd /etc; echo moved");
        let goes = async {
            // The command has not ended, and is in its directory by now or soon.
            cabana_tests::until("the session is in its directory", async || {
                let there = json!({ "path": ".", "session": "build" });
                sandbox.post("file.stat", there).await.json()["path"].as_str().is_some_and(|path| path.ends_with("/d/."))
            })
            .await;
            let go = json!({ "path": "go", "content": "", "session": "build" });
            sandbox.post("file.write", go).await.success();
        };
        let (moved, ()) = tokio::join!(waits, goes);
        assert_eq!(moved.stdout.0, "moved\n");
        let outside = sandbox.post("file.read", json!({ "path": "hostname", "session": "build" })).await;
        assert_eq!(
            (outside.code(), &outside.json()["error"]["details"]["reason"]),
            ("forbidden".to_owned(), &json!("outside_roots"))
        );
        let absolute = json!({ "path": format!("{}/d/go", sandbox.root), "session": "build" });
        sandbox.post("file.read", absolute).await.success();
        let read = async |session: &Value| sandbox.post("file.read", json!({ "path": "f", "session": session })).await.code();
        let id = sandbox.post("session.get", json!({ "session": "build" })).await.json()["session"].clone();
        sandbox.post("session.delete", json!({ "session": "build" })).await.success();
        assert_eq!((read(&json!("none")).await, read(&id).await), ("not_found".to_owned(), "gone".to_owned()));
    })
    .await;
}
