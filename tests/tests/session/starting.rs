//! What starts from a session: the session itself on first use, detached processes, and terminals.

use cabana_tests::in_sandbox;
use serde_json::{Value, json};

use super::run;

#[tokio::test]
async fn a_session_is_made_on_first_use_where_the_request_says_so() {
    in_sandbox(async |sandbox| {
        let first = json!({ "command": "A=1; cd /", "session": "build" });
        assert_eq!(sandbox.post("exec", first.clone()).await.code(), "not_found");
        let mut made = first;
        made["create_session"] = json!(true);
        // All at once make one.
        let all = futures_util::future::join_all((0..6).map(|_| sandbox.post("exec", made.clone()))).await;
        assert!(all.iter().all(|answer| answer.json()["exit"]["code"] == 0), "{all:?}");
        assert_eq!(sandbox.post("session.list", json!({})).await.json()["items"].as_array().unwrap().len(), 1);
        assert_eq!(run(sandbox, "build", "echo $A $PWD").await.stdout.0, "1 /\n");
        for (fields, field) in [
            (json!({ "create_session": true }), "create_session"),
            (json!({ "session": "a b", "create_session": true }), "name"),
            (json!({ "session": "build", "user": "root" }), "user"),
        ] {
            let mut request = json!({ "command": "true" });
            request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let refused = sandbox.post("exec", request).await;
            assert_eq!(
                (refused.code().as_str(), &refused.json()["error"]["details"]["field"]),
                ("invalid_request", &json!(field))
            );
        }
    })
    .await;
}

#[tokio::test]
async fn detached_processes_and_terminals_start_from_a_sessions_state() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p 'a b/c'").await;
        for shell in ["bash", "sh"] {
            sandbox.post("session.create", json!({ "name": shell, "shell": shell, "env": { "OLD": "x" } })).await.success();
            let script = "cd 'a b'; export A=\"it's\n\"; B=unexported; unset OLD; command() { echo no; }; pwd() { echo no; }";
            run(sandbox, shell, script).await;
            let command = "echo \"$A\" ${B-unset} ${OLD-unset} \"$PWD\"; echo ${TERM-none} ${COLUMNS-none}";
            let expected = format!("it's\n unset unset {}/a b\n", sandbox.root);
            let name = format!("of-{shell}");
            let detached = json!({ "command": command, "session": shell, "detach": true, "name": name });
            sandbox.post("exec", detached).await.success();
            sandbox.post("process.wait", json!({ "process": name, "until": "exit" })).await.success();
            let log = sandbox.post("process.logs", json!({ "process": name })).await.json();
            let out = log["stdout"].as_str().unwrap().to_owned();
            assert!(out.starts_with(&expected), "{shell}: {out}");

            let terminal = json!({ "command": command, "session": shell, "tty": { "cols": 80, "rows": 24 } });
            let out: Value = sandbox.post("exec", terminal).await.json();
            let out = out["stdout"].as_str().unwrap_or_else(|| panic!("{out}")).replace("\r\n", "\n");
            assert_eq!(out, format!("{expected}xterm-256color none\n"), "{shell}");

            let around = json!({ "command": "pwd; echo $A", "session": shell, "detach": true, "name": format!("{name}-2"), "cwd": "c", "env": { "A": "own" } });
            sandbox.post("exec", around).await.success();
            sandbox.post("process.wait", json!({ "process": format!("{name}-2"), "until": "exit" })).await.success();
            let log = sandbox.post("process.logs", json!({ "process": format!("{name}-2") })).await.json();
            assert_eq!(log["stdout"], format!("{}/a b/c\nown\n", sandbox.root), "{shell}");
            assert_eq!(run(sandbox, shell, "echo $A ${OLD-unset}").await.stdout.0, "it's unset\n", "the session is as it was");
        }
    })
    .await;
}
