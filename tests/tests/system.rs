//! What a sandbox reports of itself: its ports, its use and its system.

use cabana_protocol::{
    exec::ExecEvent,
    line::Line,
    port::{self, Port, Protocol},
    process::Get,
    system::{Info, Stats},
};
use cabana_tests::{NDJSON, Sandbox, in_sandbox, until};
use futures_util::StreamExt;
use serde_json::json;

/// Listens where it is told, says on which port, and stays.
const LISTENER: &str = "import socket,sys,time\ns = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6 if ':' in sys.argv[1] else \
                        socket.AF_INET)\nprint(s.getsockname()[1], flush=True)\ntime.sleep(3589.5)";

async fn ports(sandbox: &Sandbox, number: u16) -> Vec<Port> {
    let mut ports = sandbox.call(port::List {}).await.ports;
    ports.retain(|port| port.port == number);
    ports
}

#[tokio::test]
async fn listening_ports_are_listed() {
    in_sandbox(async |sandbox| {
        for (script, address, protocol) in [
            ("exec python3 -c \"$0\" 127.0.0.1", "127.0.0.1", Protocol::Tcp4),
            ("python3 -c \"$0\" 0.0.0.0; true", "0.0.0.0", Protocol::Tcp4),
            ("setsid python3 -c \"$0\" ::1; true", "::1", Protocol::Tcp6),
            ("(setsid env -i \"$(command -v python3)\" -c \"$0\" 127.0.0.1 &); sleep 3588.5", "127.0.0.1", Protocol::Tcp4),
        ] {
            let mut lines = sandbox.stream(NDJSON, json!({ "command": ["sh", "-c", script, LISTENER] })).await;
            let Some(Line::Event(ExecEvent::Started { process, .. })) = lines.next().await else { panic!("not started") };
            let Some(Line::Event(ExecEvent::Stdout { bytes, .. })) = lines.next().await else { panic!("{script}: no port") };
            let number = std::str::from_utf8(&bytes.0).unwrap().trim().parse().unwrap();
            let listed = ports(sandbox, number).await;
            let [port] = listed.as_slice() else { panic!("{script}: {listed:?}") };
            assert_eq!((port.address.as_str(), port.protocol), (address, protocol), "{script}");
            assert!(port.program.as_deref().is_some_and(|program| program.starts_with("python3")), "{port:?}");
            let command = sandbox.shell(&format!("tr '\\0' ' ' < /proc/{}/cmdline", port.pid.unwrap())).await;
            assert!(command.contains("3589.5"), "{command}");
            // The last one has left its parent, its session and its environment.
            let known = Some(process).filter(|_| !script.contains("env -i"));
            assert_eq!(port.process, known, "{script}");
            drop(lines);
        }
        let gone = async || sandbox.call(port::List {}).await.ports.iter().all(|port| port.process.is_none());
        until("who has ended is not listed", gone).await;
    })
    .await;
}

#[tokio::test]
async fn the_agent_is_not_listed() {
    in_sandbox(async |sandbox| {
        // The commands' parent, under whatever name the container knows it.
        let parent: u32 = sandbox.shell("echo $PPID").await.trim().parse().unwrap();
        let listed = sandbox.call(port::List {}).await.ports;
        assert!(listed.iter().all(|port| port.pid != Some(parent)), "{listed:?}");
    })
    .await;
}

#[tokio::test]
async fn the_agent_has_priority_over_commands() {
    in_sandbox(async |sandbox| {
        let numbers = async |script: &str| -> Vec<i64> {
            sandbox.shell(script).await.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect()
        };
        for way in [json!({}), json!({ "tty": {} }), json!({ "user": "nobody" })] {
            let mut request = json!({ "command": "exec sleep 3700.5", "detach": true });
            request.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
            let process = sandbox.exec(request).await.result.process.to_string();
            let pid = sandbox.call(Get { process }).await.pid;
            let scores = numbers(&format!("cat /proc/$PPID/oom_score_adj /proc/{pid}/oom_score_adj")).await;
            assert!(scores[0] < scores[1], "{way}: {scores:?}");
            // Without the right to be less nice than others, it is not nicer either.
            let nices = numbers(&format!("ps -o ni= -p $PPID; ps -o ni= -p {pid}")).await;
            assert!(nices[0] <= nices[1], "{way}: {nices:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn stats_count_use() {
    in_sandbox(async |sandbox| {
        // One that sleeps uses nothing, and is not woken by the question.
        sandbox.shell("true").await;
        let before = sandbox.call(Stats {}).await;
        assert!(before.cpu.count > 0.0 && before.processes >= 1, "{before:?}");
        for space in [before.memory, before.disk] {
            assert!(0 < space.used_bytes && space.used_bytes <= space.total_bytes, "{before:?}");
        }
        let script = "import time\nwhile time.process_time() < 0.2: pass";
        sandbox.exec(json!({ "command": ["python3", "-c", script] })).await;
        let after = sandbox.call(Stats {}).await;
        assert!(after.cpu.used_ms >= before.cpu.used_ms + 150, "{before:?} {after:?}");
        assert!(after.uptime_ms > before.uptime_ms, "{before:?} {after:?}");
    })
    .await;
}

#[tokio::test]
async fn a_sandbox_describes_itself() {
    in_sandbox(async |sandbox| {
        let info = sandbox.call(Info {}).await;
        let said = sandbox.shell("uname -r; uname -m; uname -n; id -un; pwd").await;
        assert_eq!(
            [&info.kernel, &info.architecture, &info.hostname, &info.user, &info.root].map(String::as_str),
            said.lines().collect::<Vec<_>>()[..]
        );
        assert_eq!(info.programs["python3"], sandbox.shell("command -v python3").await.trim());
        assert!(!info.version.is_empty() && std::path::Path::new(&info.shell).is_absolute());
    })
    .await;
}
