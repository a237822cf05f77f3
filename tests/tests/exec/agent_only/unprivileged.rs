//! The agent as its image starts it: root without CAP_SYS_PTRACE, and commands of another user.

use cabana_protocol::exec::Exit;
use cabana_tests::{Sandbox, in_agent_by, until};
use serde_json::json;

use crate::exec::{mark, time_out};

/// Takes away what container engines do not grant, and becomes the agent.
const STARTER: [&str; 6] = ["setpriv", "--bounding-set", "-sys_ptrace,-sys_resource,-sys_nice", "--inh-caps", "-all", "--"];

const USER: (&str, &str) = ("CABANA_USER", "nobody");

async fn as_shipped(case: impl AsyncFnOnce(&Sandbox)) {
    in_agent_by(&STARTER, &[USER], case).await;
}

#[tokio::test]
async fn daemons_of_another_user_end_with_their_command() {
    as_shipped(async |sandbox| {
        let mark = mark();
        let script = format!("setsid -f sleep {mark}; echo begun; sleep {mark}");
        time_out(sandbox, json!(script), "begun\n").await;
        assert_eq!(sandbox.count_processes(&mark).await, 0);
    })
    .await;
}

#[tokio::test]
async fn ports_of_another_user_name_their_process() {
    as_shipped(async |sandbox| {
        let server = "import socket, time\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\nprint(s.getsockname()[1], flush=True)\ntime.sleep(3600)";
        let request = json!({ "command": ["/usr/bin/python3", "-c", server], "detach": true, "name": "server" });
        let process = sandbox.exec(request).await.result.process;
        let wait = json!({ "process": "server", "until": { "regex": "^\\d+$" } });
        let port: u64 = sandbox.post("process.wait", wait).await.json()["line"].as_str().unwrap().parse().unwrap();
        let ports = sandbox.post("port.list", json!({})).await.json();
        let found = ports["items"].as_array().unwrap().iter().find(|found| found["port"] == port).unwrap();
        assert_eq!(found["process"], json!(process), "{found}");
        assert!(found["program"].as_str().unwrap().starts_with("python3"), "{found}");
    })
    .await;
}

#[tokio::test]
async fn killing_everything_as_the_user_does_not_end_the_agent() {
    // In a namespace of its own: it would reach the user's processes on the whole machine.
    let starter =
        format!("trap 'kill $!' TERM; (mount -t proc proc /proc && exec {} \"$0\") & wait $!; wait $!", STARTER.join(" "));
    in_agent_by(&["unshare", "--pid", "--mount", "sh", "-c", &starter], &[USER], async |sandbox| {
        let bystander = sandbox.exec(json!({ "command": "sleep 3600", "detach": true })).await.result.process;
        // It reaches every process of the user but the shell itself.
        let output = sandbox.exec(json!({ "command": "kill -9 -1; echo $?" })).await;
        assert_eq!(output.stdout.0, "0\n");
        let waited = sandbox.post("process.wait", json!({ "process": bystander, "until": "exit" })).await.json();
        assert_eq!(waited["exit"]["signal"], "SIGKILL", "{waited}");
        for _ in 0..20 {
            assert!(sandbox.exec(json!({ "command": ["sh", "-c", "kill -STOP -1; kill -CONT -1"] })).await.result.exit.is_some());
            assert_eq!(sandbox.shell("echo alive").await, "alive\n");
        }
    })
    .await;
}

#[tokio::test]
async fn the_streams_belong_to_the_commands_user() {
    as_shipped(async |sandbox| {
        let command = "echo out > /dev/stdout; echo error > /dev/stderr; cat < /dev/stdin > /proc/self/fd/1";
        let output = sandbox.exec(json!({ "command": command, "stdin": "in\n" })).await;
        assert_eq!((output.stdout, output.stderr), ("out\nin\n".into(), "error\n".into()));
        let terminal = sandbox.exec(json!({ "command": "echo out > /dev/stdout", "tty": {} })).await;
        assert_eq!(terminal.stdout, "out\r\n".into());
    })
    .await;
}

#[tokio::test]
async fn a_stopped_command_ends_at_its_timeout() {
    as_shipped(async |sandbox| {
        let mark = mark();
        let script = format!("sleep {mark} & kill -STOP $!; echo stopped; kill -STOP $$");
        time_out(sandbox, json!(script), "stopped\n").await;
        assert_eq!(sandbox.count_processes(&mark).await, 0);
    })
    .await;
}

#[tokio::test]
async fn an_orphan_behind_an_owned_zombie_is_reaped() {
    let variables = [USER, ("CABANA_KILL_GRACE_MS", "60000")];
    in_agent_by(&STARTER, &variables, async |sandbox| {
        let mark = mark();
        // Its child outlives SIGTERM, so it stays a zombie until the grace time is over.
        let script = format!("sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.1; done' {mark} & wait");
        let request = json!({ "command": script, "detach": true, "timeout_ms": 2_000 });
        let process = sandbox.exec(request).await.result;
        let zombies = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | xargs -r grep -h ^PPid | grep -cw $PPID || true";
        until("its root is a zombie", async || sandbox.shell(zombies).await == "1\n").await;
        for _ in 0..10 {
            sandbox.shell("(sleep 0.01 &) ; true").await;
        }
        until("the orphans are gone", async || sandbox.shell(zombies).await == "1\n").await;
        let left = sandbox.post("process.get", json!({ "process": process.process })).await.json();
        assert_eq!(left.get("exit"), None, "its tree is still ending");
        sandbox.post("process.signal", json!({ "process": process.process, "signal": "SIGKILL" })).await;
        let kill = json!({ "command": format!("pkill -KILL -f '[3]{}'; true", &mark[1..]), "user": "root" });
        assert_eq!(sandbox.exec(kill).await.result.exit, Some(Exit::Exited { code: 0 }));
    })
    .await;
}
