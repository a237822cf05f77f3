//! The owners of files. A kind of sandbox, or the agent that a case starts, names the user of commands.

use cabana_protocol::system::Info;
use cabana_tests::{Kind, Sandbox, in_agent, in_kind};
use reqwest::Method;
use serde_json::json;

async fn shell(sandbox: &Sandbox, user: &str, script: &str) -> String {
    let output = sandbox.exec(json!({ "command": script, "user": user })).await;
    assert!(output.result.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout.0.into()).unwrap()
}

#[tokio::test]
async fn created_files_belong_to_the_configured_user() {
    in_kind(Kind::Nobody, async |sandbox| {
        shell(sandbox, "root", "chown nobody .").await;
        assert_eq!(sandbox.shell("id -un; echo $USER").await, "nobody\nnobody\n");
        assert_eq!(shell(sandbox, "root", "id -un").await, "root\n");
        assert_eq!(sandbox.call(Info {}).await.user, "nobody");
        sandbox.put("lane/new/file", "x").await.success();
        for (name, body) in [
            ("file.write", json!({ "path": "write/new/file", "content": "x" })),
            ("file.write", json!({ "path": "append/new/file", "content": "x", "append": true })),
            ("file.mkdir", json!({ "path": "directory" })),
            ("file.mkdir", json!({ "path": "directories/a/b", "parents": true })),
        ] {
            sandbox.post(name, body).await.success();
        }
        assert_eq!(sandbox.shell("find . -mindepth 1 | wc -l").await, "13\n");
        let own = sandbox.shell("echo $(id -u):$(id -g)").await;
        assert_eq!(sandbox.shell("find . -mindepth 1 -printf '%U:%G\\n' | sort -u").await, own);
        sandbox.shell("for file in */new/file; do echo more >> $file; rm $file; done; rmdir directory directories/a/b").await;
    })
    .await;
}

#[tokio::test]
async fn files_of_other_users_are_written_and_keep_their_owner() {
    in_kind(Kind::Nobody, async |sandbox| {
        shell(
            sandbox,
            "root",
            "umask 077; mkdir private; echo old > private/file; echo old > private/other; chown daemon private/other",
        )
        .await;
        assert_eq!(sandbox.get("private/file").await.success(), b"old\n");
        sandbox.put("private/new", "new").await.success();
        sandbox.put("private/file", "new").await.success();
        let append = json!({ "path": "private/other", "content": "more", "append": true });
        sandbox.post("file.write", append).await.success();
        let owners = shell(sandbox, "root", "cd private; stat -c '%U %a' file new other").await;
        assert_eq!(owners, "root 600\nnobody 644\ndaemon 600\n");
        for path in ["private/file", "private/other", "private/new"] {
            sandbox.send(sandbox.file(Method::DELETE, path)).await.success();
        }
        sandbox.post("file.remove", json!({ "path": "private" })).await.success();
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn a_missing_root_is_created_for_the_user() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("deep/root");
        in_agent(&[("CABANA_USER", "nobody"), ("CABANA_ROOTS", root.to_str().unwrap())], async |sandbox| {
            assert_eq!(sandbox.shell("pwd; stat -c %U . ; stat -c %U ..").await, format!("{}\nnobody\nnobody\n", root.display()));
        })
        .await;
    }

    #[tokio::test]
    async fn the_agents_own_user_can_be_configured() {
        in_agent(&[("CABANA_USER", "root")], async |sandbox| {
            sandbox.put("file", "x").await.success();
            assert_eq!(sandbox.shell("stat -c %U file; echo $USER").await, "root\nroot\n");
        })
        .await;
    }
}
