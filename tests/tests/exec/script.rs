//! Scripts as they are: long ones, blank ones, and what they print where.

use cabana_tests::{NDJSON, gather, in_sandbox};
use serde_json::json;

use super::{check, exited};

#[tokio::test]
async fn a_script_may_be_longer_than_an_argument() {
    in_sandbox(async |sandbox| {
        let text = "0123456789abcdef".repeat(12_800);
        let long = format!("wc -c <<E\n{text}\nE\n");
        assert_eq!(sandbox.shell(&long).await.trim(), (text.len() + 1).to_string());
        let padding = format!("\n: '{text}'\n");
        let script = format!("echo $LINENO\n{padding}echo $0 $-; read -r line; echo \"$line\"; ls -x /proc/self/fd; (exit 3)");
        let short = "echo $LINENO\n:\necho $0 $-; read -r line; echo \"$line\"; ls -x /proc/self/fd; (exit 3)";
        for user in ["root", "nobody"] {
            let run = async |command: &str| {
                let output = sandbox.exec(json!({ "command": command, "stdin": "input\n", "user": user })).await;
                (output.stdout, output.stderr, output.result.exit)
            };
            assert_eq!(run(&script).await, run(short).await, "a long script runs as a short one: {user}");
        }
        let request = |script: String| json!({ "command": script });
        check(sandbox, request(format!("{padding}exit 7")), b"", b"", exited(7)).await;
        check(sandbox, request(format!("{padding}set -e; false; echo never")), b"", b"", exited(1)).await;
        check(sandbox, request(format!("{padding}f() {{ return 4; }}; f")), b"", b"", exited(4)).await;
    })
    .await;
}

#[tokio::test]
async fn blank_commands_are_refused() {
    in_sandbox(async |sandbox| {
        let session = sandbox.post("session.create", json!({})).await.json()["session"].clone();
        for command in [json!("   "), json!(""), json!("\n\t "), json!([]), json!([""])] {
            assert_eq!(sandbox.post("exec", json!({ "command": command })).await.code(), "invalid_request", "{command}");
            let request = json!({ "command": command, "session": session });
            assert_eq!(sandbox.post("exec", request).await.code(), "invalid_request", "{command} in a session");
        }
        check(sandbox, json!({ "command": "# only a comment" }), b"", b"", exited(0)).await;
    })
    .await;
}

#[tokio::test]
async fn one_pipe_for_both_streams_keeps_their_order() {
    in_sandbox(async |sandbox| {
        let script = "for i in $(seq 100); do echo out $i; echo err $i >&2; done";
        let expected: String = (1..=100).map(|number| format!("out {number}\nerr {number}\n")).collect();
        let session = sandbox.post("session.create", json!({})).await.json()["session"].clone();
        let sh = sandbox.post("session.create", json!({ "shell": "sh" })).await.json()["session"].clone();
        for way in [json!({}), json!({ "session": session }), json!({ "session": sh, "cwd": "/" }), json!({ "user": "nobody" })] {
            let mut request = json!({ "command": script, "stderr": "stdout" });
            request.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
            let (stdout, stderr, result) = gather(sandbox.stream(NDJSON, request).await).await;
            assert_eq!((String::from_utf8(stdout).unwrap(), stderr), (expected.clone(), Vec::new()), "{way}");
            assert!(result.success());
        }
        assert_eq!(sandbox.post("exec", json!({ "command": "true", "stderr": "stdin" })).await.code(), "invalid_request");
    })
    .await;
}
