//! The directory, the variables and the user of a command.

use cabana_protocol::exec::Exit;
use cabana_tests::{in_agent, in_sandbox};
use serde_json::json;

use super::{check, exited, mark};

#[tokio::test]
async fn directory_variables_and_input_are_the_callers() {
    in_sandbox(async |sandbox| {
        let root = format!("{}\n", sandbox.root);
        check(sandbox, json!({ "command": "pwd" }), root.as_bytes(), b"", exited(0)).await;
        sandbox.shell("mkdir -p a/b").await;
        for cwd in ["a/b".to_owned(), format!("{}/a/b", sandbox.root)] {
            let pwd = format!("{}/a/b\n", sandbox.root);
            check(sandbox, json!({ "command": "pwd", "cwd": cwd }), pwd.as_bytes(), b"", exited(0)).await;
        }
        check(sandbox, json!({ "command": "pwd", "cwd": "/" }), b"/\n", b"", exited(0)).await;
        let env = json!({ "GREETING": "h\u{e9}llo world", "HOME": null });
        let command = "echo \"$GREETING ${HOME-unset}\"";
        check(sandbox, json!({ "command": command, "env": env }), "h\u{e9}llo world unset\n".as_bytes(), b"", exited(0)).await;
        check(sandbox, json!({ "command": "cat" }), b"", b"", exited(0)).await;
    })
    .await;
}

#[tokio::test]
async fn a_command_runs_as_the_requested_user() {
    in_sandbox(async |sandbox| {
        let own = sandbox.shell("grep ^Uid: /proc/$PPID/status | cut -f2").await;
        assert_eq!(own.trim(), "0", "only root can become somebody else: run this case as root");
        for user in ["nobody", "daemon"] {
            let number = sandbox.shell(&format!("id -u {user}")).await;
            for asked in [user, number.trim()] {
                let request = |command: &str| json!({ "command": command, "user": asked });
                let text = async |command: &str| String::from_utf8(sandbox.exec(request(command)).await.stdout.0.into()).unwrap();
                assert_eq!(text("id -un").await.trim(), user);
                assert_eq!(text("id -gn").await, sandbox.shell(&format!("id -gn {user}")).await);
                assert_eq!(text("id -G").await, sandbox.shell(&format!("id -G {user}")).await);
                // Real, effective, saved and of the file system.
                let all = format!("{}\n", [number.trim(); 4].join(" "));
                assert_eq!(text("grep ^Uid: /proc/self/status | cut -f2- | tr '\\t' ' '").await, all);
                assert_eq!(text("grep ^CapEff: /proc/self/status | cut -f2").await.trim().trim_matches('0'), "");
                let home = sandbox.shell(&format!("getent passwd {user} | cut -d: -f6")).await;
                let expected = format!("{home}{user} {user}\n{}\n", sandbox.root);
                assert_eq!(text("echo $HOME; echo $USER $LOGNAME; pwd").await, expected);
                let terminal = json!({ "command": "id -un; : > /dev/stdout && stty size", "user": asked, "tty": {} });
                assert_eq!(sandbox.exec(terminal).await.stdout, format!("{user}\r\n24 80\r\n").as_str().into());
            }
        }
        let request = json!({ "command": "echo $HOME $USER", "user": "nobody", "env": { "HOME": "/mine", "USER": null } });
        assert_eq!(sandbox.exec(request).await.stdout, "/mine\n".into());
        let request = json!({ "command": "id -u", "user": "root" });
        assert_eq!(sandbox.exec(request).await.stdout, "0\n".into());
        for user in ["no-such-user", "4000000000", "4294967295", "-1", "", "root:x", "nobody\0"] {
            assert_eq!(sandbox.post("exec", json!({ "command": "true", "user": user })).await.code(), "not_found", "{user:?}");
        }
        // What a user starts is ended like everything else.
        let mark = mark();
        let request = json!({ "command": format!("sleep {mark} & sleep {mark}"), "user": "nobody", "timeout_ms": 300 });
        assert_eq!(sandbox.exec(request).await.result.exit, Some(Exit::TimedOut));
        assert_eq!(sandbox.count_processes(&mark).await, 0);
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn variables_of_the_request_override_those_of_sandbox_and_image() {
        let sandbox =
            r#"{ "SET": "sandbox", "KEPT_BY_EXEC": "sandbox", "GONE": null, "BACK": null, "SECRET_OF_THE_CALLER": "hunter2" }"#;
        let image = ["SET", "KEPT", "GONE", "BACK"].map(|name| (name, "image"));
        in_agent(&[image.as_slice(), &[("CABANA_SANDBOX_ENV", sandbox)]].concat(), async |sandbox| {
            let command = "echo ${SET-none} ${KEPT-none} ${KEPT_BY_EXEC-none} ${GONE-none} ${BACK-none}";
            for (env, expected) in [
                (json!({}), "sandbox image sandbox none none\n"),
                (json!({ "SET": "exec", "KEPT": null, "BACK": "exec" }), "exec none sandbox none exec\n"),
            ] {
                check(sandbox, json!({ "command": command, "env": env }), expected.as_bytes(), b"", exited(0)).await;
            }
            let traces =
                "env | grep -c ^CABANA_SANDBOX; tr '\\0' '\\n' < /proc/$PPID/environ 2> /dev/null | grep -c hunter2; true";
            assert_eq!(sandbox.shell(traces).await, "0\n0\n");
        })
        .await;
    }
}
