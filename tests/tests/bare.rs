//! What works on every base: these cases need no more than a POSIX shell and a few of its usual programs.

use cabana_protocol::exec::Exit;
use cabana_tests::{in_sandbox, until};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn commands_print_end_and_time_out() {
    in_sandbox(async |sandbox| {
        let output = sandbox.exec(json!({ "command": "echo out; echo err >&2; exit 3" })).await;
        let said = (output.stdout.0.as_ref(), output.stderr.0.as_ref(), output.result.exit);
        assert_eq!(said, (b"out\n".as_slice(), b"err\n".as_slice(), Some(Exit::Exited { code: 3 })));
        let output = sandbox.exec(json!({ "command": ["cat"], "stdin": "one\ntwo" })).await;
        assert_eq!(output.stdout.0, "one\ntwo");
        let output = sandbox.exec(json!({ "command": "sleep 3731.5 & sleep 3731.5", "timeout_ms": 300 })).await;
        assert_eq!(output.result.exit, Some(Exit::TimedOut));
        let left =
            "for name in /proc/[0-9]*; do tr '\\0' ' ' < $name/cmdline 2>/dev/null; echo; done | grep -c '^sleep 3731.5' || true";
        until("nothing is left", async || sandbox.shell(left).await == "0\n").await;
    })
    .await;
}

#[tokio::test]
async fn commands_run_as_the_user_that_is_asked_for() {
    in_sandbox(async |sandbox| {
        for (user, number) in [("root", "0"), ("nobody", "65534")] {
            let output = sandbox.exec(json!({ "command": "id -u; echo $USER", "user": user })).await;
            assert_eq!(output.stdout, format!("{number}\n{user}\n").as_str().into());
        }
    })
    .await;
}

#[tokio::test]
async fn terminals_have_a_size() {
    in_sandbox(async |sandbox| {
        let output = sandbox.exec(json!({ "command": "stty size", "tty": { "cols": 91, "rows": 17 } })).await;
        assert_eq!(output.stdout, "17 91\r\n".into());
    })
    .await;
}

#[tokio::test]
async fn sessions_keep_directory_and_variables() {
    in_sandbox(async |sandbox| {
        let session = sandbox.post("session.create", json!({ "shell": "sh" })).await.success();
        let session: serde_json::Value = serde_json::from_slice(&session).unwrap();
        let session = &session["session"];
        sandbox.exec(json!({ "command": "mkdir -p kept && cd kept && KEPT=yes", "session": session })).await;
        let output = sandbox.exec(json!({ "command": "echo $KEPT; basename $PWD", "session": session })).await;
        assert_eq!(output.stdout, "yes\nkept\n".into());
    })
    .await;
}

#[tokio::test]
async fn files_pass_through_commands_operations_and_archives() {
    in_sandbox(async |sandbox| {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        sandbox.put("tree/bytes", bytes.clone()).await.success();
        assert_eq!(sandbox.shell("wc -c < tree/bytes; echo made > tree/made").await.trim(), "300000");
        let owner = sandbox.shell("id -u; stat -c %u tree/bytes").await;
        let (own, file) = owner.trim().split_once('\n').unwrap();
        assert_eq!(own, file, "a new file belongs to whom commands run as");
        let archive = sandbox.send(sandbox.request(Method::GET, "/archive").query(&[("path", "tree")])).await.success();
        sandbox.send(sandbox.request(Method::PUT, "/archive").query(&[("path", "copy")]).body(archive)).await.success();
        assert!(sandbox.get("copy/bytes").await.success() == bytes);
        assert_eq!(sandbox.get("copy/made").await.success(), b"made\n");
        let found = sandbox.post("file.search", json!({ "path": "copy", "pattern": "made" })).await;
        assert!(String::from_utf8(found.success()).unwrap().contains("made"));
    })
    .await;
}
