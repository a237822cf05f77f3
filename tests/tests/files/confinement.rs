//! Whatever a path, a symlink or a race tries, it stays in the roots.

use cabana_tests::in_sandbox;
use serde_json::json;

#[tokio::test]
async fn nothing_outside_the_roots_is_reached() {
    in_sandbox(async |sandbox| {
        let twin = format!("{}-twin", sandbox.root);
        let setup = format!(
            "mkdir -p {twin} inside && echo secret > {twin}/f && ln -s {twin} link && ln -s {twin}/f filelink && ln -s /proc/self/root magic \
             && ln -s ../../../../../.. up && ln -s /proc/self/fd fds"
        );
        sandbox.shell(&setup).await;
        let outside = [
            "../f".to_owned(),
            "inside/../../f".to_owned(),
            "/etc/passwd".to_owned(),
            format!("{}/../etc/passwd", sandbox.root),
            format!("{twin}/f"),
            "link/f".to_owned(),
            "filelink".to_owned(),
            "magic/etc/passwd".to_owned(),
            "up/etc/passwd".to_owned(),
            "fds/0".to_owned(),
            "/".to_owned(),
            "..".to_owned(),
        ];
        for path in &outside {
            assert_eq!(sandbox.post("file.read", json!({ "path": path })).await.code(), "forbidden", "read {path}");
            assert_eq!(sandbox.get(path).await.code(), "forbidden", "get {path}");
        }
        for path in outside.iter().filter(|path| !matches!(path.as_str(), "filelink" | "..")) {
            assert_eq!(sandbox.put(path, "x").await.code(), "forbidden", "put {path}");
            for (name, body) in [
                ("file.stat", json!({ "path": path })),
                ("file.write", json!({ "path": path, "content": "x" })),
                ("file.mkdir", json!({ "path": format!("{path}/new"), "parents": true })),
                ("file.remove", json!({ "path": path, "recursive": true })),
                ("file.move", json!({ "from": path, "to": "stolen" })),
                ("file.move", json!({ "from": "inside", "to": path })),
            ] {
                assert_eq!(sandbox.post(name, body.clone()).await.code(), "forbidden", "{name} {body}");
            }
        }
        for path in ["filelink", "link"] {
            assert_eq!(sandbox.put(path, "x").await.code(), "forbidden", "put {path}");
            for append in [false, true] {
                let write = json!({ "path": path, "content": "x", "append": append });
                assert_eq!(sandbox.post("file.write", write).await.code(), "forbidden", "{path}, append: {append}");
            }
        }
        assert_eq!(sandbox.shell(&format!("cat {twin}/f; ls {twin}; rm -r {twin}")).await, "secret\nf\n");
    })
    .await;
}

#[tokio::test]
async fn a_race_with_a_symlink_leads_nowhere() {
    in_sandbox(async |sandbox| {
        let twin = format!("{}-race", sandbox.root);
        sandbox
            .shell(&format!("mkdir -p {twin} real && echo outside > {twin}/f && echo inside > real/f && ln -s {twin} evil"))
            .await;
        // Swaps directory and symlink as quickly as it can.
        let swap = "import ctypes, os\nlibc = ctypes.CDLL(None)\nwhile not os.path.exists('stop'):\n  \
                    assert libc.renameat2(-100, b'real', -100, b'evil', 2) == 0";
        let race = async {
            for round in 0..300 {
                let read = sandbox.get("real/f").await;
                assert!(
                    if read.status.is_success() { read.bytes == b"inside\n" } else { read.code() == "forbidden" },
                    "{read:?}"
                );
                sandbox.put(&format!("real/{round}"), "x").await;
                sandbox.post("file.remove", json!({ "path": "real/f2", "recursive": true })).await;
            }
            sandbox.put("stop", "").await.success();
        };
        let (output, ()) = tokio::join!(sandbox.exec(json!({ "command": ["python3", "-c", swap] })), race);
        assert!(output.result.success(), "{output:?}");
        assert_eq!(sandbox.shell(&format!("ls -A {twin}; rm -r {twin}")).await, "f\n");
    })
    .await;
}
