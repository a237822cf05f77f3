//! Commands share files and nothing else.

use cabana_protocol::process::List;
use cabana_tests::{NDJSON, in_sandbox, until};
use serde_json::json;

use super::mark;

#[tokio::test]
async fn commands_share_nothing_but_files() {
    in_sandbox(async |sandbox| {
        let untouched = sandbox.shell("umask; ulimit -n; pwd; echo $-; env | sort | grep -v CABANA_PROCESS; trap").await;
        for script in [
            "cd /",
            "export LEAKED=1 PATH=/nowhere HOME=/nowhere; umask 0",
            "ulimit -n 20",
            "set -eux; shopt -s nullglob",
            "leaked() { :; }; export -f leaked",
            "trap 'echo leaked' EXIT INT TERM; trap '' HUP",
            "exec >/dev/null 2>&1 </dev/null",
            "exec 1>&- 2>&-",
            "exit 9",
            "kill -KILL $$",
            "exec true",
            "no-such-command-here",
            "echo 'unbalanced",
            "stty raw 2>/dev/null",
            "rm -rf ./* .[!.]*; mkdir only-a-file",
        ] {
            sandbox.exec(json!({ "command": script })).await;
            let after = sandbox.shell("umask; ulimit -n; pwd; echo $-; env | sort | grep -v CABANA_PROCESS; trap").await;
            assert_eq!(after, untouched, "{script}");
        }
        assert_eq!(sandbox.shell("ls").await, "only-a-file\n");
    })
    .await;
}

#[tokio::test]
async fn a_failed_start_leaves_no_process() {
    in_sandbox(async |sandbox| {
        let make = "printf '#!/no/such/interpreter\\n' >lost; printf 'no format' >none; mkdir directory; touch plain; chmod +x lost none";
        sandbox.shell(make).await;
        for (command, code) in [
            (json!(["no-such-program"]), "not_found"),
            (json!(["./missing"]), "not_found"),
            (json!(["./plain"]), "unprocessable"),
            (json!(["./directory"]), "unprocessable"),
            (json!(["./none"]), "unprocessable"),
            (json!(["./lost"]), "not_found"),
            (json!(["true", "x".repeat(200_000)]), "payload_too_large"),
        ] {
            for detached in [json!({ "command": command }), json!({ "command": command, "detach": true, "name": "taken" })] {
                let answer = sandbox.post("exec", detached).await;
                assert_eq!(answer.code(), code, "{command}");
                assert_eq!(answer.json()["error"]["retryable"], false, "{command}");
            }
        }
        assert!(sandbox.call(List::default()).await.processes.is_empty());
        sandbox.exec(json!({ "command": "true", "detach": true, "name": "taken" })).await;
    })
    .await;
}

#[tokio::test]
async fn files_do_not_wait_for_commands() {
    in_sandbox(async |sandbox| {
        let mark = mark();
        let _running = sandbox.stream(NDJSON, json!({ "command": format!("yes {mark}") })).await;
        sandbox.put("file", "content").await.success();
        assert_eq!(sandbox.get("file").await.success(), b"content");
        for name in ["file.stat", "file.read", "file.remove"] {
            assert_eq!(sandbox.post(name, json!({ "path": "file" })).await.status, 200, "{name}");
        }
        assert_eq!(sandbox.count_processes(&format!("^yes {mark}")).await, 1);
    })
    .await;
}

#[tokio::test]
async fn every_form_starts_commands_with_the_same_environment() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir place").await;
        let request = |more: serde_json::Value| {
            let script = "printf '%s|' \"$MINE\" \"${HOME-unset}\" \"${PWD##*/}\" \"$(umask)\" \"$(id -u)\"";
            let env = json!({ "MINE": "a 'b' \"c\" $d\n\u{e9}", "HOME": null });
            let mut request = json!({ "command": script, "cwd": "place", "env": env });
            more.as_object().unwrap().iter().for_each(|(name, value)| request[name] = value.clone());
            request
        };
        let expected = sandbox.exec(request(json!({}))).await.stdout;
        let text = String::from_utf8(expected.0.to_vec()).unwrap();
        assert!(text.starts_with("a 'b' \"c\" $d\n\u{e9}|unset|place|"), "{text}");
        // A terminal shows a line break as two characters.
        let shown = sandbox.exec(request(json!({ "tty": {} }))).await.stdout;
        assert_eq!(shown, text.replace('\n', "\r\n").as_str().into());
        let mut socket = sandbox.connect().await;
        socket.send("exec", "here", request(json!({}))).await;
        let mut heard = String::new();
        loop {
            let frame = socket.next().await;
            match frame["payload"]["type"].as_str() {
                Some("stdout") => heard += frame["payload"]["bytes"].as_str().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        assert_eq!(heard, text);
        let process = sandbox.exec(request(json!({ "detach": true }))).await.result.process;
        sandbox.post("process.wait", json!({ "process": process, "until": "exit" })).await.success();
        assert_eq!(sandbox.post("process.logs", json!({ "process": process })).await.json()["stdout"], text);
    })
    .await;
}

/// Some agents leak a little with each command, which shows only after many.
#[tokio::test]
async fn a_hundred_commands_leave_no_state_descriptor_or_memory() {
    /// What the agent may take for a hundred commands, in KiB: a page a command.
    const GROWTH: u64 = 400;

    in_sandbox(async |sandbox| {
        let leak = "echo ${LEAKED-nothing} $(pwd); export LEAKED=1; cd /; (sleep 0.01 &) ; trap 'true' EXIT";
        let expected = format!("nothing {}\n", sandbox.root);
        let run = async || assert_eq!(sandbox.shell(leak).await, expected);
        let descriptors = async || sandbox.shell("ls /proc/$PPID/fd | wc -l").await;
        // Buffers and pools reach their sizes.
        for _ in 0..40 {
            run().await;
        }
        let open = descriptors().await;
        // So do the records that are kept for callers whose connection breaks. Commands at once, on one connection, have threads started that a
        // busy machine would have started at any time.
        let mut socket = sandbox.connect().await;
        for _ in 0..20 {
            for command in 0..16 {
                socket.send("exec", &command.to_string(), json!({ "command": leak })).await;
            }
            let mut ended = 0;
            while ended < 16 {
                ended += usize::from(socket.next().await["type"] == "result");
            }
        }
        drop(socket);
        let memory = sandbox.own_memory_kib().await;
        for _ in 0..100 {
            run().await;
        }
        until("its descriptors are closed", async || descriptors().await == open).await;
        let grown = sandbox.own_memory_kib().await.saturating_sub(memory);
        assert!(grown < GROWTH, "{grown} KiB");
    })
    .await;
}
