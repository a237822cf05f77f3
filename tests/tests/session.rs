//! Shells that live between commands.

mod ending;
mod paths;
mod starting;
mod timeout;
mod turns;

use cabana_protocol::{
    exec::{ExecEvent, ExecOutput, Exit},
    line::Line,
    process::{Get, List},
    session::{self, Create},
};
use cabana_tests::{NDJSON, Sandbox, gather, in_sandbox, until};
use futures_util::StreamExt;
use serde_json::{Value, json};

async fn create(sandbox: &Sandbox) -> String {
    sandbox.call(Create::default()).await.session
}

/// One session of each kind of shell.
async fn create_each(sandbox: &Sandbox) -> [String; 2] {
    let of = async |shell| sandbox.call(Create { shell: Some(shell), ..Create::default() }).await.session;
    [of(session::Shell::Bash).await, of(session::Shell::Sh).await]
}

async fn run(sandbox: &Sandbox, session: &str, command: &str) -> ExecOutput {
    sandbox.exec(json!({ "command": command, "session": session })).await
}

/// Runs a command and checks all that comes of it, and that the session goes on.
async fn check(sandbox: &Sandbox, session: &str, command: &str, stdout: impl AsRef<[u8]>, stderr: impl AsRef<[u8]>, code: i32) {
    let output = run(sandbox, session, command).await;
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let came = (shown(&output.stdout.0), shown(&output.stderr.0), output.result.exit, output.result.session_ended);
    let expected = (shown(stdout.as_ref()), shown(stderr.as_ref()), Some(Exit::Exited { code }), false);
    assert_eq!(came, expected, "{command}");
}

#[tokio::test]
async fn changes_of_a_command_are_seen_by_the_next() {
    in_sandbox(async |sandbox| {
        let session = create(sandbox).await;
        let before = "mkdir -p a; cd a; plain=1; export exported=2; f() { echo \"f $1\"; }; alias g='echo g'; shopt -s nullglob; \
                      declare -A map=([k]=v); umask 027; set -o pipefail; trap 'echo usr' USR1; exec 7<<<seven";
        check(sandbox, &session, before, "", "", 0).await;
        let after = "echo ${PWD##*/} $plain ${map[k]} $(umask); printenv exported; f x; g; echo none*; kill -USR1 $$; cat <&7; \
                     shopt -q nullglob && false | true || echo fails";
        check(sandbox, &session, after, "a 1 v 0027\n2\nf x\ng\n\nusr\nseven\nfails\n", "", 0).await;
        let other = create(sandbox).await;
        let root = sandbox.root.rsplit('/').next().unwrap();
        check(sandbox, &other, "echo ${PWD##*/} ${plain-unset}", format!("{root} unset\n"), "", 0).await;
        let [_, sh] = create_each(sandbox).await;
        check(sandbox, &sh, "cd a; plain=1; export exported=2; f() { echo \"f $1\"; }; alias g='echo g'; umask 027", "", "", 0)
            .await;
        let after = "echo ${PWD##*/} $plain $(umask); printenv exported; f x; g; echo ${BASH-none}";
        check(sandbox, &sh, after, "a 1 0027\n2\nf x\ng\nnone\n", "", 0).await;
    })
    .await;
}

#[tokio::test]
async fn the_status_of_a_command_is_seen_by_the_next() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            check(sandbox, &session, "(exit 7)", "", "", 7).await;
            check(sandbox, &session, "echo $?", "7\n", "", 0).await;
            check(sandbox, &session, "return 3", "", "", 3).await;
            check(sandbox, &session, "false || echo $?; sh -c 'kill -TERM $$' 2>/dev/null", "1\n", "", 143).await;
            check(sandbox, &session, "echo $?", "143\n", "", 0).await;
        }
    })
    .await;
}

#[tokio::test]
async fn output_bytes_of_a_session_arrive_exactly() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            let all: Vec<u8> = (0..=255).collect();
            let octal: String = all.iter().map(|byte| format!("\\0{byte:03o}")).collect();
            check(sandbox, &session, &format!("printf '%b' '{octal}'"), &all, "", 0).await;
            check(sandbox, &session, &format!("printf '%b' '{octal}' >&2"), "", &all, 0).await;
            check(sandbox, &session, "printf 'no line break'; printf '\\n\\n' >&2", "no line break", "\n\n", 0).await;
            check(sandbox, &session, "cat <<'X'\n$HOME 'a' \\n\nX\necho after", "$HOME 'a' \\n\nafter\n", "", 0).await;
            let output = run(sandbox, &session, "seq 1 200000; head -c 100000 /dev/zero >&2").await;
            assert_eq!((output.stdout_bytes, output.stderr_bytes), (1_288_895, 100_000));
            let script = format!("echo {}", "x".repeat(100_000));
            assert_eq!(run(sandbox, &session, &script).await.stdout_bytes, 100_001);
            let argv = json!({ "command": ["printf", "%s|", "a b", "$HOME", "*", "", "it's", "\n", "\\"], "session": session });
            assert_eq!(sandbox.exec(argv).await.stdout.0, "a b|$HOME|*||it's|\n|\\|");
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_survives_every_command() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            for command in [
                "echo \"unbalanced",
                "echo 'unbalanced",
                "echo $(unbalanced",
                "echo $(if)",
                "eval 'echo $('; true",
                "if",
                "}",
                "cat <<X\nno end",
                "nosuch",
                "break; continue; return 3",
                "exec >gone 2>&1; echo x",
                "exec 0<&-",
                "exec 1>&- 2>&-",
                "mkdir d; cd d; rmdir ../d",
                "cd \"$OLDPWD\"",
                "trap 'echo trapped' USR1; kill -USR1 $$",
                "echo $((1 / 0))",
                "set -x; echo traced; set +x",
                "set -v; set +v",
                "set -u; echo $nosuch",
                "set +u; echo ${nosuch:?}",
                "set -f -C",
                "IFS=0123456789",
                "IFS=' '",
                "PATH=/nowhere",
                "PATH=/usr/bin:/bin",
                "PS1='$ ' PS2='> '",
                "(exit 3)",
                "kill -TERM $$",
                "false",
                "alias command=false .=false export=false eval=false",
                "readonly CABANA_PROCESS",
                "umask 777",
                "ulimit -f 0",
            ] {
                let output = run(sandbox, &session, command).await;
                assert!(!output.result.session_ended, "{command}: {output:?}");
                check(sandbox, &session, "echo 'still here'; printf here >&2", "still here\n", "here", 0).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_background_job_does_not_delay_its_command() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            check(sandbox, &session, "sleep 3721.1 & job=$!; echo started", "started\n", "", 0).await;
            let output = run(sandbox, &session, "(until [ -e stop ]; do echo late; sleep 0.01; done; rm stop) & echo on").await;
            assert!(output.result.success() && String::from_utf8_lossy(&output.stdout.0).contains("on\n"));
            for _ in 0..3 {
                check(sandbox, &session, "echo mine; sleep 0.05", "mine\n", "", 0).await;
            }
            check(sandbox, &session, "touch stop; kill $job; wait", "", "", 0).await;
            assert_eq!(sandbox.count_processes("^sleep 3721.1").await, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_in_a_session_reads_its_whole_input() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            let with = |command: &str, stdin: Value| json!({ "command": command, "session": session, "stdin": stdin });
            assert_eq!(sandbox.exec(with("read line; echo \"<$line>\"; cat", json!("a\nb\nc"))).await.stdout.0, "<a>\nb\nc");
            assert_eq!(sandbox.exec(with("cat", json!({ "base64": "/wD+" }))).await.stdout.0.as_ref(), b"\xff\0\xfe");
            assert_eq!(sandbox.exec(with("wc -c", json!("x".repeat(3_000_000)))).await.stdout.0, "3000000\n");
            assert_eq!(sandbox.exec(with("echo unread", json!("x".repeat(3_000_000)))).await.stdout.0, "unread\n");
            assert_eq!(sandbox.exec(with("cat; echo end", json!(""))).await.stdout.0, "end\n");
            check(sandbox, &session, "cat; echo $line", "a\n", "", 0).await;
            let mut socket = sandbox.connect().await;
            socket.send("exec", "a", with("read x; echo \"got $x\"; cat", json!({ "stream": true }))).await;
            socket.send("input", "a", json!({ "type": "stdin", "bytes": "one\ntwo\n" })).await;
            socket.send("input", "a", json!({ "type": "eof" })).await;
            assert_eq!(socket.wait_for("result", "a").await["exit"]["code"], 0);
            check(sandbox, &session, "echo $x", "one\n", "", 0).await;
        }
    })
    .await;
}

#[tokio::test]
async fn settings_of_one_command_are_restored_after_it() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            check(sandbox, &session, "export A=1 B=2; D=4; unset C; mkdir -p sub; cd sub", "", "", 0).await;
            let script = "echo $A ${B-unset} $C ${D-unset} $?; printenv A B C D; pwd; cd /tmp; X=kept; return 5";
            let env = json!({ "A": "it's\n$x", "B": null, "C": "c", "D": null });
            let around = json!({ "command": script, "cwd": "/", "session": session, "env": env });
            let output = sandbox.exec(around).await;
            assert_eq!(output.stdout.0, "it's $x unset c unset 0\nit's\n$x\nc\n/\n");
            assert_eq!(output.result.exit, Some(Exit::Exited { code: 5 }));
            let after = "echo $A $B ${C-unset} $D ${PWD##*/} $X; printenv A B C D; set | grep -a cabana_";
            check(sandbox, &session, after, "1 2 unset 4 sub kept\n1\n2\n", "", 1).await;
            let slow = json!({ "command": "cd /tmp; sleep 3722.1", "cwd": "/", "session": session, "env": { "A": "x", "B": null }, "timeout_ms": 100 });
            assert_eq!(sandbox.exec(slow).await.result.exit, Some(Exit::TimedOut));
            check(sandbox, &session, after, "1 2 unset 4 sub kept\n1\n2\n", "", 1).await;
            for (field, value, code) in [
                ("env", json!({ "A-B": "x" }), "invalid_request"),
                ("env", json!({ "A": "\0" }), "invalid_request"),
                ("cwd", json!("nowhere"), "not_found"),
                ("command", json!([]), "invalid_request"),
                ("command", json!("a\0b"), "invalid_request"),
                ("user", json!("root"), "invalid_request"),
            ] {
                let mut request = json!({ "command": "true", "session": session });
                request[field] = value;
                assert_eq!(sandbox.post("exec", request).await.code(), code, "{field}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_starts_with_the_requested_settings() {
    in_sandbox(async |sandbox| {
        let request = json!({ "env": { "A": "s", "HOME": null, "B": "$x" }, "cwd": "/", "user": "nobody" });
        let session = sandbox.post("session.create", request).await.json()["session"].as_str().unwrap().to_owned();
        check(sandbox, &session, "echo $A $B ${HOME-unset} $PWD ${OLDPWD-none} $(id -un)", "s $x unset / none nobody\n", "", 0)
            .await;
        let around =
            json!({ "command": "cat; echo $C $PWD >&2", "stdin": "in", "cwd": "/tmp", "env": { "C": "c" }, "session": session });
        let output = sandbox.exec(around).await;
        assert_eq!((output.stdout.0, output.stderr.0), ("in".into(), "c /tmp\n".into()));
        let slow = json!({ "command": "state=kept; sleep 3723.1", "session": session, "timeout_ms": 100 });
        assert_eq!(sandbox.exec(slow).await.result.exit, Some(Exit::TimedOut));
        check(sandbox, &session, "echo $state ${C-unset} $PWD", "kept unset /\n", "", 0).await;
        assert_eq!(sandbox.count_processes("^sleep 3723.1").await, 0);
        for (field, value, code) in [
            ("cwd", json!("nowhere"), "not_found"),
            ("user", json!("nosuch"), "not_found"),
            ("env", json!({ "A=": "x" }), "invalid_request"),
            ("shell", json!("fish"), "invalid_request"),
        ] {
            assert_eq!(sandbox.post("session.create", json!({ field: value })).await.code(), code, "{field}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_in_a_session_is_a_process() {
    in_sandbox(async |sandbox| {
        let opened = sandbox.call(Create::default()).await;
        assert!(sandbox.call(List::default()).await.processes.is_empty(), "a shell is none");
        let request = json!({ "command": "echo on; cat; echo off", "session": opened.session, "stdin": { "stream": true } });
        let mut socket = sandbox.connect().await;
        socket.send("exec", "a", request).await;
        let started = socket.next().await["payload"].clone();
        let id = started["process"].as_str().unwrap();
        let known = sandbox.call(Get { process: id.to_owned() }).await;
        assert_eq!((known.pid, known.exit), (opened.pid, None));
        let mut heard = sandbox.stream_of("process.attach", NDJSON, json!({ "process": id })).await;
        assert!(matches!(heard.next().await, Some(Line::Event(ExecEvent::Started { pid, .. })) if pid == opened.pid));
        sandbox.post("process.input", json!({ "process": id, "data": "typed\n", "eof": true })).await.success();
        until("its end is heard", async || matches!(heard.next().await, Some(Line::Result(result)) if result.success())).await;
        assert_eq!(socket.wait_for("result", "a").await["exit"]["code"], 0);
        assert!(sandbox.call(List::default()).await.processes.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_command_sees_no_descriptor_of_the_session() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            check(sandbox, &session, "ls /proc/self/fd", "0\n1\n2\n3\n", "", 0).await;
            let with_input = json!({ "command": ["ls", "/proc/self/fd"], "session": session, "stdin": "x", "cwd": "/" });
            assert_eq!(sandbox.exec(with_input).await.stdout.0, "0\n1\n2\n3\n");
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_survives_functions_with_names_of_builtins() {
    in_sandbox(async |sandbox| {
        for session in create_each(sandbox).await {
            // Where a shell refuses such a name, that is an error of the command.
            for name in ["command", "echo", "eval", "export", "unset", "trap", "return", "cd", "kill", "set"] {
                let output = run(sandbox, &session, &format!("{name}() {{ :; }}")).await;
                assert!(!output.result.session_ended, "{name}: {output:?}");
                check(sandbox, &session, "printf here", "here", "", 0).await;
                let settings = json!({ "command": "printf \"$A\"", "session": session, "cwd": "/", "env": { "A": "set" } });
                assert_eq!(sandbox.exec(settings).await.stdout.0, "set", "{name}");
            }
            let output = sandbox.exec(json!({ "command": "sleep 3728.1", "session": session, "timeout_ms": 60 })).await;
            assert_eq!((output.result.exit, output.result.session_ended), (Some(Exit::TimedOut), false));
            check(sandbox, &session, "printf on", "on", "", 0).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_is_found_by_its_name() {
    in_sandbox(async |sandbox| {
        let create = json!({ "name": "build", "env": { "A": "1" }, "timeout_ms": 60_000 });
        let made = sandbox.post("session.create", create.clone()).await.json();
        assert_eq!((&made["name"], &made["timeout_ms"]), (&json!("build"), &json!(60_000)), "{made}");
        for again in [create, json!({ "name": "build" })] {
            assert_eq!(sandbox.post("session.create", again).await.json()["session"], made["session"]);
        }
        let other = sandbox.post("session.create", json!({ "name": "build", "env": { "A": "2" }, "cwd": "/tmp" })).await;
        assert_eq!(other.code(), "conflict");
        let details = &other.json()["error"]["details"];
        assert_eq!((&details["reason"], &details["differs"]), (&json!("exists"), &json!(["cwd", "env"])));
        run(sandbox, "build", "B=2").await;
        assert_eq!(run(sandbox, made["session"].as_str().unwrap(), "echo $A$B").await.stdout.0, "12\n");
        let at_once =
            futures_util::future::join_all((0..8).map(|_| sandbox.post("session.create", json!({ "name": "one" })))).await;
        let ids: Vec<_> = at_once.iter().map(|answer| answer.json()["session"].clone()).collect();
        assert!(ids.iter().all(|id| id == &ids[0] && id.is_string()), "{ids:?}");
        sandbox.post("session.delete", json!({ "session": "build" })).await.success();
        assert_eq!(sandbox.post("session.get", json!({ "session": "build" })).await.code(), "not_found", "its name is free");
        assert_eq!(sandbox.post("session.create", json!({ "name": "a b" })).await.code(), "invalid_request");
    })
    .await;
}

#[tokio::test]
async fn a_sessions_default_timeout_holds_for_its_commands() {
    in_sandbox(async |sandbox| {
        sandbox.post("session.create", json!({ "name": "short", "timeout_ms": 300 })).await.success();
        let late = sandbox.post("exec", json!({ "command": "sleep 60", "session": "short" })).await.json();
        assert_eq!((&late["exit"]["type"], &late["exit"]["code"]), (&json!("timed_out"), &json!(124)));
        let longer = json!({ "command": "sleep 0.6", "session": "short", "timeout_ms": 60_000 });
        assert_eq!(sandbox.post("exec", longer).await.json()["exit"]["code"], 0, "a command's own goes first");
    })
    .await;
}

#[tokio::test]
async fn a_trace_shows_the_commands_and_nothing_of_the_sessions_own() {
    in_sandbox(async |sandbox| {
        // bash repeats the first character of PS4 for each level of sourcing, and a command of a session is one level down.
        // Nothing else that keeps a shell's state runs at the level of its own input: `eval` and traps are a level down as well, a function
        // makes `declare` local, and text on the shell's input would take what follows it for its own where a quote is left open.
        for (shell, traced) in [("bash", "++ echo hi\n"), ("sh", "+ echo hi\n")] {
            sandbox.post("session.create", json!({ "name": shell, "shell": shell })).await.success();
            run(sandbox, shell, "set -x").await;
            let output = run(sandbox, shell, "echo hi").await;
            assert_eq!((output.stdout.0.clone(), output.stderr.0), ("hi\n".into(), traced.into()), "{shell}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_sessions_directory_and_variables_can_be_changed() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p 'a b'").await;
        for (name, shell) in [("of-bash", "bash"), ("of-sh", "sh")] {
            sandbox.post("session.create", json!({ "name": name, "shell": shell, "env": { "OLD": "x" } })).await.success();
            let update = json!({ "session": name, "cwd": "a b", "env": { "OLD": null, "NEW": "it's $HOME" } });
            let answer = sandbox.post("session.update", update).await;
            assert_eq!(answer.json()["name"], name, "{}", answer.json());
            let seen = run(sandbox, name, "pwd; echo \"$NEW ${OLD-unset}\"; sh -c 'echo \"$NEW\"'").await.stdout.0;
            let seen = String::from_utf8_lossy(&seen).into_owned();
            assert!(seen.ends_with("/a b\nit's $HOME unset\nit's $HOME\n"), "{shell}: {seen}");
            let update = async |body: Value| sandbox.post("session.update", body).await.code();
            assert_eq!(update(json!({ "session": name, "cwd": "none" })).await, "not_found");
            assert_eq!(update(json!({ "session": name, "env": { "A-B": "1" } })).await, "invalid_request");
            run(sandbox, name, "readonly FIXED=1").await;
            assert_eq!(update(json!({ "session": name, "env": { "FIXED": "2" } })).await, "unprocessable");
            assert_eq!(run(sandbox, name, "pwd").await.result.exit, Some(Exit::Exited { code: 0 }), "it lives on");
        }
        let listed = sandbox.post("process.list", json!({})).await;
        assert!(!String::from_utf8_lossy(&listed.bytes).contains("HOME"), "values are not listed");
    })
    .await;
}
