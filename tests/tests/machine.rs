//! The agent on a hostile machine: orphans, a stop, few descriptors, few processes, and a bare system.

use std::{fs, process::Command};

use cabana_protocol::{
    exec::{ExecEvent, Exit},
    line::Line,
    process::SendSignal,
    system::Info,
};
use cabana_tests::{NDJSON, Sandbox, gather, in_agent, in_agent_by, in_sandbox, until};
use futures_util::{Stream, StreamExt, future::join_all};
use serde_json::json;

/// How the agent is called where the case has started it.
async fn agent(sandbox: &Sandbox) -> String {
    sandbox.shell("echo $PPID").await.trim().to_owned()
}

fn signal(pid: &str, signal: &str) {
    assert!(Command::new("kill").args(["-s", signal, pid]).status().unwrap().success());
}

/// The letter by which the kernel calls a process's state, proc_pid_stat(5).
fn state(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1[..1].to_owned()
}

/// The agent's descriptors of processes: their pipes and themselves.
fn descriptors(agent: &str) -> usize {
    let targets =
        fs::read_dir(format!("/proc/{agent}/fd")).unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| ["pipe:", "anon_inode:[pidfd]"].iter().any(|kind| target.to_string_lossy().starts_with(kind))).count()
}

/// Many commands at once, each of which leaves children behind, in its group and out of it.
async fn leave_orphans(sandbox: &Sandbox) {
    let clients = (0..8).map(async |client| {
        for round in 0..25 {
            let code = client * 25 + round;
            let script = format!("(exit 7) & (setsid sh -c '(exit 9) & exit 8' &); exit {code}");
            let output = sandbox.exec(json!({ "command": ["sh", "-c", script] })).await;
            assert_eq!(output.result.exit, Some(Exit::Exited { code }));
        }
    });
    join_all(clients).await;
}

#[tokio::test]
async fn orphans_are_reaped_and_exits_of_commands_are_not() {
    in_sandbox(async |sandbox| {
        leave_orphans(sandbox).await;
        let zombies = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | xargs -r grep -h ^PPid | grep -cw $PPID || true";
        until("no zombie is left", async || sandbox.shell(zombies).await == "0\n").await;
    })
    .await;
}

async fn started(lines: &mut (impl Stream<Item = cabana_protocol::line::LineOf<cabana_protocol::exec::Exec>> + Unpin)) -> String {
    match lines.next().await {
        Some(Line::Event(ExecEvent::Started { pid, .. })) => pid.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Starts processes until one is refused, and checks that it is for now only.
async fn exhaust(sandbox: &Sandbox, mark: &str, user: &str) {
    let mut processes = Vec::new();
    let refused = loop {
        let request = json!({ "command": ["sleep", mark], "detach": true, "user": user });
        let answer = sandbox.post("exec", request).await;
        match answer.status.as_u16() {
            200 => processes.push(answer.json()["process"].as_str().unwrap().to_owned()),
            _ => break answer.code(),
        }
        assert!(processes.len() < 100, "nothing is refused");
    };
    assert_eq!(refused, "too_many_requests");
    assert!(!sandbox.call(Info {}).await.kernel.is_empty());
    for process in processes {
        sandbox.call(SendSignal { process, signal: "SIGKILL".parse().unwrap() }).await;
    }
    let request = json!({ "command": "echo again", "user": user });
    until("there is room again", async || {
        let answer = sandbox.post("exec", request.clone()).await;
        answer.status == 200 && answer.json()["stdout"] == "again\n"
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn finished_commands_leave_no_descriptor() {
        in_agent(&[], async |sandbox| {
            let agent = agent(sandbox).await;
            let before = descriptors(&agent);
            leave_orphans(sandbox).await;
            until("all are closed", async || descriptors(&agent) <= before).await;
        })
        .await;
    }

    #[tokio::test]
    async fn commands_continue_after_the_agent_was_stopped() {
        in_agent(&[], async |sandbox| {
            let agent = agent(sandbox).await;
            let printing = "until [ -e go ]; do sleep 0.01; done; seq 1 1000; exit 5";
            let mut printing = sandbox.stream(NDJSON, json!({ "command": printing })).await;
            let mut late = sandbox.stream(NDJSON, json!({ "command": "sleep 3705.5", "timeout_ms": 300 })).await;
            let pid = started(&mut printing).await;
            started(&mut late).await;
            signal(&agent, "STOP");
            until("the agent is stopped", async || state(&agent) == "T").await;
            fs::write(format!("{}/go", sandbox.root), "").unwrap();
            until("the command has ended", async || state(&pid) == "Z").await;
            signal(&agent, "CONT");
            let (stdout, _, result) = gather(printing).await;
            let expected: String = (1..=1_000).map(|number| format!("{number}\n")).collect();
            assert_eq!((String::from_utf8(stdout).unwrap(), result.exit), (expected, Some(Exit::Exited { code: 5 })));
            assert_eq!(gather(late).await.2.exit, Some(Exit::TimedOut));
            assert_eq!(sandbox.shell("echo on").await, "on\n");
        })
        .await;
    }

    #[tokio::test]
    async fn a_lack_of_descriptors_is_a_retryable_refusal() {
        in_agent_by(&["prlimit", "--nofile=64"], &[], async |sandbox| exhaust(sandbox, "3706.5", "root").await).await;
    }

    #[tokio::test]
    async fn a_lack_of_processes_is_a_retryable_refusal() {
        // Nobody but root may have more; that the machine has others of this user makes no difference.
        in_agent_by(&["prlimit", "--nproc=8"], &[], async |sandbox| exhaust(sandbox, "3707.5", "games").await).await;
    }

    /// Needs to be root in the machine's own namespaces, as the engine does.
    #[tokio::test]
    async fn an_agent_runs_on_a_bare_system() {
        const READ_ONLY: &str = "mount --bind \"$CABANA_ROOTS\" \"$CABANA_ROOTS\" && mount -o remount,bind,ro \"$CABANA_ROOTS\" && mount -o remount,bind,ro /";
        for (missing, prepare, written) in [
            ("HOME, PATH, TMPDIR", "unset HOME PATH TMPDIR", "ok"),
            ("/proc", "umount --lazy /proc", "ok"),
            ("/sys", "umount --lazy /sys", "ok"),
            ("anything writable", READ_ONLY, "forbidden"),
        ] {
            let script = format!("{prepare} && exec \"$0\"");
            in_agent_by(&["unshare", "--mount", "sh", "-c", &script], &[], async |sandbox| {
                let output = sandbox.exec(json!({ "command": "echo out; echo err >&2; exit 3" })).await;
                let said = (output.stdout.0.as_ref(), output.stderr.0.as_ref(), output.result.exit);
                assert_eq!(said, (b"out\n".as_slice(), b"err\n".as_slice(), Some(Exit::Exited { code: 3 })), "no {missing}");
                let output = sandbox.exec(json!({ "command": "sleep 3708.5", "timeout_ms": 100 })).await;
                assert_eq!(output.result.exit, Some(Exit::TimedOut), "no {missing}");
                let write = sandbox.post("file.write", json!({ "path": "file", "content": "x" })).await;
                let code = if write.status == 200 { "ok".to_owned() } else { write.code() };
                assert_eq!(code, written, "no {missing}");
                sandbox.call(Info {}).await;
            })
            .await;
        }
    }
}
