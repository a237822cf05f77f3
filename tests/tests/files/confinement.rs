//! Paths, symlinks and races that try to leave the roots.

use std::collections::BTreeSet;

use cabana_protocol::system::{Confinement, Info};
use cabana_tests::{in_agent_by, in_either_confinement};
use reqwest::Method;
use serde_json::{Value, json};

use super::{REFUSING, SWAP};

#[tokio::test]
async fn paths_outside_the_roots_are_refused() {
    in_either_confinement(async |sandbox| {
        let twin = format!("{}-twin", sandbox.root);
        let setup = format!(
            "mkdir -p {twin} inside && echo secret > {twin}/f && ln -s {twin} link && ln -s {twin}/f filelink && ln -s /proc/self/root magic \
             && ln -s ../../../../../.. up && ln -s /proc/self/fd fds"
        );
        sandbox.shell_as_root(&setup).await;
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
        assert_eq!(sandbox.shell_as_root(&format!("cat {twin}/f; ls {twin}; rm -r {twin}")).await, "secret\nf\n");
    })
    .await;
}

#[tokio::test]
async fn a_race_with_a_symlink_does_not_leave_the_roots() {
    in_either_confinement(async |sandbox| {
        let twin = format!("{}-race", sandbox.root);
        sandbox
            .shell_as_root(&format!(
                "mkdir -p {twin} real && echo outside > {twin}/f && echo inside > real/f && ln -s {twin} evil"
            ))
            .await;
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
        let (output, ()) = tokio::join!(sandbox.exec(json!({ "command": ["python3", "-c", SWAP, "."] })), race);
        assert!(output.result.success(), "{output:?}");
        assert_eq!(sandbox.shell_as_root(&format!("ls -A {twin}; rm -r {twin}")).await, "f\n");
    })
    .await;
}

/// What each operation does in a directory that is swapped for a symlink meanwhile.
fn attempts(round: usize) -> Vec<(&'static str, Value)> {
    let patch =
        format!("--- /dev/null\n+++ b/real/patched{round}\n@@ -0,0 +1 @@\n+x\n--- a/real/p\n+++ b/real/p\n@@ -1 +1 @@\n-x\n+y\n");
    vec![
        ("file.read", json!({ "path": "real/f" })),
        ("file.stat", json!({ "path": "real/f" })),
        ("file.list", json!({ "path": "real" })),
        ("file.list", json!({ "path": ".", "depth": 3 })),
        ("file.find", json!({ "path": ".", "pattern": "*", "hidden": true, "ignored": true })),
        ("file.find", json!({ "path": "real", "pattern": "*", "hidden": true, "ignored": true })),
        ("file.search", json!({ "path": ".", "pattern": "outside", "hidden": true, "ignored": true })),
        ("file.search", json!({ "path": "real/f", "pattern": "outside" })),
        ("file.write", json!({ "path": format!("real/new/{round}"), "content": "x" })),
        ("file.write", json!({ "path": "real/a", "content": "x", "append": true })),
        ("file.write", json!({ "path": "real/e", "content": "x\n" })),
        ("file.edit", json!({ "path": "real/e", "edits": [{ "old": "x", "new": "y" }] })),
        ("file.write", json!({ "path": "real/p", "content": "x\n" })),
        ("file.patch", json!({ "path": ".", "patch": patch })),
        ("file.mkdir", json!({ "path": format!("real/d{round}/e"), "parents": true })),
        ("file.symlink", json!({ "path": format!("real/l{round}"), "target": "f" })),
        ("file.chmod", json!({ "path": "real/f", "mode": "0640" })),
        ("file.copy", json!({ "from": "real/f", "to": format!("copies/{round}") })),
        ("file.copy", json!({ "from": "real/f", "to": format!("real/f{round}") })),
        ("file.copy", json!({ "from": "real", "to": format!("copies/tree{round}"), "recursive": true })),
        ("file.copy", json!({ "from": "tree", "to": format!("real/tree{round}"), "recursive": true })),
        ("file.move", json!({ "from": format!("real/f{round}"), "to": format!("copies/moved{round}") })),
        ("file.remove", json!({ "path": format!("real/tree{round}"), "recursive": true })),
        ("file.remove", json!({ "path": "real/secret", "recursive": true })),
    ]
}

#[tokio::test]
async fn no_operation_leaves_the_roots_in_a_race() {
    in_either_confinement(async |sandbox| {
        let twin = format!("{}-astray", sandbox.root);
        let name = twin.rsplit_once('/').unwrap().1;
        let setup = format!(
            "mkdir -p {twin}/secret real copies tree/sub && ln -s ../{name} evil && echo inside > real/f && echo x > tree/sub/f && \
             for f in f a e p secret/f; do echo outside > {twin}/$f; done && echo x > {twin}/e && echo x > {twin}/p"
        );
        sandbox.shell_as_root(&setup).await;
        let show = format!("cd {twin} && find . -printf '%p %m %s %T@\\n' | sort && cat f a e p secret/f");
        let before = sandbox.shell(&show).await;
        let race = async {
            // Each operation is to have got through, and each that names the directory to have been refused.
            let (mut succeeded, mut refused) = (BTreeSet::new(), BTreeSet::new());
            let names: BTreeSet<_> = attempts(0).into_iter().map(|(name, _)| name).collect();
            let mut round = 0;
            while round < 20 || succeeded.len() < names.len() || refused.len() < 10 {
                for (name, request) in attempts(round) {
                    let answer = sandbox.post(name, request.clone()).await;
                    if answer.status.is_success() {
                        succeeded.insert(name);
                        let text = String::from_utf8_lossy(&answer.bytes);
                        assert!(!text.contains("outside") && !text.contains("secret"), "{name} {request}: {text}");
                        continue;
                    }
                    let code = answer.code();
                    if code == "forbidden" {
                        refused.insert(name);
                    }
                    let known = ["forbidden", "not_found", "conflict", "unprocessable"].contains(&code.as_str());
                    assert!(known, "{name} {request}: {}", answer.json());
                }
                round += 1;
            }
            sandbox.put("stop", "").await.success();
        };
        let (output, ()) = tokio::join!(sandbox.exec(json!({ "command": ["python3", "-c", SWAP, "."] })), race);
        assert!(output.result.success(), "{output:?}");
        assert_eq!(sandbox.shell(&show).await, before);
        let copied = format!("! grep -r outside copies tree && ! find copies -name 'secret*' | grep . && find . -name '.cabana*'; rm -r {twin}");
        assert_eq!(sandbox.shell_as_root(&copied).await, "");
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn without_openat2_paths_are_walked() {
        for errno in ["1", "38"] {
            in_agent_by(&["python3", REFUSING, "openat2", "0", errno], &[], async |sandbox| {
                let health = sandbox.send(sandbox.anonymous(Method::GET, "/../health")).await;
                assert_eq!(health.json()["confinement"], "walk");
                assert_eq!(sandbox.call(Info {}).await.confinement, Some(Confinement::Walk));
                sandbox.put("d/e/f", "x").await.success();
                sandbox.shell("ln -s ../f d/e/in; echo x > d/f; ln -s ../.. d/out").await;
                for (path, code) in
                    [("d/e/../e/in", "200"), ("d/out/f", "forbidden"), ("../f", "forbidden"), ("d/x", "not_found")]
                {
                    let answer = sandbox.get(path).await;
                    assert_eq!(if answer.status.is_success() { "200".to_owned() } else { answer.code() }, code, "{path}");
                }
                let list = json!({ "path": ".", "depth": 3 });
                assert_eq!(sandbox.post("file.list", list).await.json()["items"].as_array().unwrap().len(), 6);
            })
            .await;
        }
    }
}
