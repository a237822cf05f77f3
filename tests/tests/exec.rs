//! Running commands, in every form.

mod agent_only {
    mod attributes;
    mod clock;
    mod oom;
    mod pid_reuse;
    mod reconnecting;
    mod records;
    mod unprivileged;
}
pub(crate) mod cgroup;
mod detached;
mod ending;
mod isolation;
mod main_thread;
mod output;
mod script;
mod stdin;
mod serial {
    mod floods;
    mod pid_limit;
}
mod surroundings;
mod tree;
mod vanishing;

use cabana_protocol::{
    exec::{Exec, ExecEvent, Exit},
    line::LineOf,
};
use cabana_tests::{NDJSON, SSE, Sandbox, gather, in_sandbox, until};
use futures_util::{StreamExt, future::join_all};
use reqwest::Method;
use serde_json::{Value, json};

/// A number that no other case uses, to find processes by.
fn mark() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}.{:03}{:06}", 3_600, NEXT.fetch_add(1, Ordering::Relaxed), std::process::id() % 1_000_000)
}

/// Runs the request in all three forms and checks that each says the same.
async fn check(sandbox: &Sandbox, request: Value, stdout: &[u8], stderr: &[u8], exit: Exit) {
    let output = sandbox.exec(request.clone()).await;
    let fold = (output.stdout.0.to_vec(), output.stderr.0.to_vec(), output.result.exit);
    let expected = (stdout.to_vec(), stderr.to_vec(), Some(exit));
    assert_eq!(fold, expected, "{request}");
    assert_eq!((output.stdout_bytes, output.stderr_bytes), (stdout.len() as u64, stderr.len() as u64));
    assert!(!output.truncated);
    for accept in [NDJSON, SSE] {
        let (stdout, stderr, result) = gather(sandbox.stream(accept, request.clone()).await).await;
        assert_eq!((stdout, stderr, result.exit), expected, "{accept}: {request}");
    }
}

const fn exited(code: i32) -> Exit {
    Exit::Exited { code }
}

/// Runs a command that does not end by itself until its timeout: the first one that leaves it enough time to print this, however busy
/// the machine is.
async fn time_out(sandbox: &Sandbox, command: Value, printed: &str) {
    for timeout_ms in [1_000, 4_000, 16_000, 64_000] {
        let output = sandbox.exec(json!({ "command": command, "timeout_ms": timeout_ms })).await;
        assert_eq!(output.result.exit, Some(Exit::TimedOut));
        if output.stdout.0 == printed {
            return;
        }
    }
    panic!("{command} never prints {printed:?}");
}

#[tokio::test]
async fn a_command_runs_as_a_script_or_an_exact_argv() {
    in_sandbox(async |sandbox| {
        check(sandbox, json!({ "command": "echo one; echo two >&2; exit 3" }), b"one\n", b"two\n", exited(3)).await;
        check(sandbox, json!({ "command": "echo $((6 * 7)) | tr -d 2" }), b"4\n", b"", exited(0)).await;
        check(sandbox, json!({ "command": ["printf", "%s|", "a b", "$HOME", "*", ""] }), b"a b|$HOME|*||", b"", exited(0)).await;
        check(sandbox, json!({ "command": ["python3", "-c", "print(2 + 2)"] }), b"4\n", b"", exited(0)).await;
        check(sandbox, json!({ "command": "false" }), b"", b"", exited(1)).await;
    })
    .await;
}

#[tokio::test]
async fn output_bytes_arrive_exactly() {
    in_sandbox(async |sandbox| {
        let all: Vec<u8> = (0..=255).collect();
        let script = "for i in $(seq 0 255); do printf \"\\\\x$(printf %02x $i)\"; done";
        check(sandbox, json!({ "command": ["bash", "-c", script] }), &all, b"", exited(0)).await;
        for text in [
            "no line break",
            "\n\n",
            "\r\n",
            "data: x\n\nevent: y\n",
            "{\"type\":\"result\"}\n",
            "h\u{e9}\u{1f30a}\n",
            "\u{1}\u{2}\u{7f}",
        ] {
            check(sandbox, json!({ "command": "cat", "stdin": text }), text.as_bytes(), b"", exited(0)).await;
        }
        check(sandbox, json!({ "command": "cat >&2", "stdin": { "base64": "/wD+" } }), b"", b"\xff\0\xfe", exited(0)).await;
    })
    .await;
}

#[tokio::test]
async fn the_exit_is_that_of_the_kernels_wait() {
    in_sandbox(async |sandbox| {
        for code in [0, 1, 2, 126, 127, 128, 130, 255] {
            check(sandbox, json!({ "command": format!("exit {code}") }), b"", b"", exited(code)).await;
        }
        for signal in ["SIGTERM", "SIGKILL", "SIGINT", "SIGSEGV", "SIGUSR1", "SIGRTMIN+3"] {
            let exit = Exit::Signalled { signal: signal.parse().unwrap() };
            check(sandbox, json!({ "command": format!("kill -{} $$; sleep 10", &signal[3..]) }), b"", b"", exit).await;
        }
        let output =
            sandbox.exec(json!({ "command": ["python3", "-c", "x = bytearray(50_000_000); sum(range(3_000_000))"] })).await;
        let usage = output.result.usage.unwrap();
        assert!(usage.cpu_ms > 0 && usage.peak_memory_bytes > Some(50_000_000), "{usage:?}");
    })
    .await;
}

#[tokio::test]
async fn output_arrives_while_the_command_runs() {
    in_sandbox(async |sandbox| {
        for accept in [NDJSON, SSE] {
            let command = "echo before; until [ -e go ]; do sleep 0.02; done; rm go; echo after";
            let mut lines = sandbox.stream(accept, json!({ "command": command })).await;
            assert!(matches!(lines.next().await, Some(LineOf::<Exec>::Event(ExecEvent::Started { .. }))));
            let before = ExecEvent::Stdout { offset: 0, bytes: "before\n".into() };
            assert_eq!(lines.next().await, Some(LineOf::<Exec>::Event(before)));
            sandbox.put("go", "").await.success();
            let after = ExecEvent::Stdout { offset: 7, bytes: "after\n".into() };
            assert_eq!(lines.next().await, Some(LineOf::<Exec>::Event(after)));
            assert!(matches!(lines.next().await, Some(LineOf::<Exec>::Result(_))));
        }
    })
    .await;
}

/// Hops that take a minute or two of silence for death see something every few seconds, in any form.
#[tokio::test]
async fn a_silent_command_sends_heartbeats_in_every_form() {
    in_sandbox(async |sandbox| {
        let command = json!({ "command": "until [ -e go ]; do sleep 0.02; done; echo late; exit 4" });
        let silences = [(NDJSON, "\n\n\n"), (SSE, "\n\n:\n\n:\n\n"), ("application/json", "  ")];
        let listening = silences.map(async |(accept, twice)| {
            let request = sandbox.request(Method::POST, "/exec").header("accept", accept).json(&command);
            let mut answer = request.send().await.unwrap();
            let mut said = String::new();
            while !said.contains(twice) {
                said += std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap();
                assert!(!said.contains("exited"), "{accept}: it has ended in silence");
            }
            answer
        });
        let alive = join_all(listening).await;
        sandbox.put("go", "").await.success();
        for answer in alive {
            let rest = answer.text().await.unwrap();
            assert!(rest.contains(r#"late\n"#) && rest.contains(r#""type":"exited","code":4"#), "and then it goes on: {rest}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_last_bytes_before_an_exit_arrive() {
    in_sandbox(async |sandbox| {
        for _ in 0..100 {
            let output =
                sandbox.exec(json!({ "command": ["sh", "-c", "head -c 70000 /dev/zero; printf x; printf y >&2"] })).await;
            assert_eq!((output.stdout.0.len(), output.stderr.0.as_ref()), (70_001, b"y".as_slice()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_folded_output_keeps_its_head_and_tail() {
    in_sandbox(async |sandbox| {
        let command = "seq 1 100000; echo error >&2";
        let output = sandbox.exec(json!({ "command": command, "max_output_bytes": 20 })).await;
        assert!(output.truncated && output.result.success());
        assert_eq!(output.stdout.0, "1\n2\n3\n4\n5\n\n[588875 bytes left out]\n99\n100000\n");
        assert_eq!(output.stderr.0, "error\n");
        assert_eq!(output.stdout_bytes, 588_895);
        let (stdout, _, _) = gather(sandbox.stream(NDJSON, json!({ "command": command, "max_output_bytes": 20 })).await).await;
        assert_eq!(stdout.len(), 588_895, "a stream carries everything");
    })
    .await;
}

#[tokio::test]
async fn large_output_arrives_whole_in_every_form() {
    in_sandbox(async |sandbox| {
        let command = "seq 1 3000000; head -c 3000000 /dev/urandom > noise; cat noise >&2";
        for accept in [NDJSON, SSE] {
            let (stdout, stderr, _) = gather(sandbox.stream(accept, json!({ "command": command })).await).await;
            let numbers = stdout.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
            assert!(numbers.zip(1..).all(|(line, number)| line == number.to_string().as_bytes()));
            assert!(stdout.ends_with(b"\n3000000\n"));
            assert_eq!(stderr, sandbox.get("noise").await.success());
        }
    })
    .await;
}

#[tokio::test]
async fn a_stalled_reader_does_not_delay_others() {
    in_sandbox(async |sandbox| {
        let mark = mark();
        let stalled = sandbox.stream(NDJSON, json!({ "command": format!("yes {mark}") })).await;
        for _ in 0..20 {
            assert_eq!(sandbox.shell("echo quick").await, "quick\n");
        }
        drop(stalled);
        until("yes is gone", async || sandbox.count_processes(&format!("yes {mark}")).await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn many_commands_run_in_parallel() {
    in_sandbox(async |sandbox| {
        let runs = (0..64).map(async |number| {
            let output = sandbox.exec(json!({ "command": format!("sleep 0.1; echo {number}; exit {number}") })).await;
            assert_eq!((output.stdout.0, output.result.exit), (format!("{number}\n").into(), Some(exited(number))));
        });
        futures_util::future::join_all(runs).await;
        let left = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | xargs -r grep -h ^PPid | grep -cw $PPID || true";
        assert_eq!(sandbox.shell(left).await, "0\n", "zombies of the agent");
    })
    .await;
}

#[tokio::test]
async fn commands_that_cannot_be_started_are_refused_by_their_codes() {
    in_sandbox(async |sandbox| {
        let files = "printf '\\177ELF and nothing more' > broken; printf '#!/no/such/interpreter\\n' > orphan; echo true > script; \
                     chmod 755 broken orphan; mkdir -m 755 directory; mkdir -m 700 closed";
        sandbox.shell(files).await;
        for (request, code) in [
            (json!({ "command": ["./broken"] }), "unprocessable"),
            (json!({ "command": ["./script"] }), "unprocessable"),
            (json!({ "command": ["./directory"] }), "unprocessable"),
            (json!({ "command": ["./orphan"] }), "not_found"),
            (json!({ "command": ["true"], "env": { "LARGE": "x".repeat(1 << 20) } }), "payload_too_large"),
            (json!({ "command": ["true"], "env": { "": "x" } }), "invalid_request"),
            (json!({ "command": ["true"], "env": { "A\0": "x" } }), "invalid_request"),
            (json!({ "command": ["true"], "env": { "A\0": null } }), "invalid_request"),
        ] {
            let shown: String = request.to_string().chars().take(100).collect();
            assert_eq!(sandbox.post("exec", request).await.code(), code, "{shown}");
        }
    })
    .await;
}

#[tokio::test]
async fn commands_inherit_nothing_of_the_agent() {
    in_sandbox(async |sandbox| {
        for way in [json!({}), json!({ "user": "nobody" }), json!({ "stdin": "x" }), json!({ "tty": {} })] {
            let mut request = json!({ "command": ["ls", "-x", "/proc/self/fd"] });
            request.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
            let descriptors = sandbox.exec(request).await;
            let descriptors = String::from_utf8_lossy(&descriptors.stdout.0).into_owned();
            assert_eq!(
                descriptors.split_ascii_whitespace().collect::<Vec<_>>(),
                ["0", "1", "2", "3"],
                "3 is what ls reads: {way}"
            );
        }
        assert_eq!(sandbox.shell("env | grep -c SECRET || true").await, "0\n");
        let secret = "grep -azc '^CABANA_AGENT_SECRET=[^[:cntrl:]]' /proc/$PPID/environ 2>/dev/null || true";
        let seen = sandbox.shell(secret).await;
        // The agent has capabilities that its commands do not have, so they may be unable to open its environment at all.
        assert!(["", "0"].contains(&seen.trim()), "the value is wiped where the kernel keeps it: {seen:?}");
        for user in ["root", "nobody"] {
            let script =
                "(: < /proc/$PPID/mem) 2> /dev/null && echo mem; [ $USER = root ] || cat /proc/$PPID/environ 2> /dev/null; true";
            let output = sandbox.exec(json!({ "command": script, "user": user })).await;
            assert_eq!(output.stdout.0, "", "nothing of the agent's memory is open to {user}");
        }
    })
    .await;
}
