//! What a command starts with does not depend on how the agent was started.

use cabana_protocol::exec::Exit;
use cabana_tests::{Sandbox, in_agent, in_agent_by};
use serde_json::json;

/// Every way in which a command is started.
fn ways() -> [serde_json::Value; 4] {
    [json!({}), json!({ "user": "nobody" }), json!({ "tty": {} }), json!({ "stdin": "x" })]
}

async fn text(sandbox: &Sandbox, command: &str, way: &serde_json::Value) -> String {
    let mut request = way.clone();
    request["command"] = json!(command);
    String::from_utf8_lossy(&sandbox.exec(request).await.stdout.0).replace("\r\n", "\n")
}

/// Has Python ignore, block and bound what a careless parent may, before it becomes the agent.
const STARTER: [&str; 3] = [
    "python3",
    "-c",
    "import os, resource, signal, sys\n\
     for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGPIPE, signal.SIGRTMIN + 3): signal.signal(number, signal.SIG_IGN)\n\
     signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM, signal.SIGCHLD})\n\
     os.umask(0o077)\n\
     resource.setrlimit(resource.RLIMIT_NOFILE, (100, 1000))\n\
     os.execv(sys.argv[1], sys.argv[1:])",
];

#[tokio::test]
async fn a_command_starts_the_same_however_the_agent_was_started() {
    in_agent_by(&STARTER, &[], async |sandbox| {
        for way in ways() {
            let masks = text(sandbox, "grep -E '^Sig(Blk|Ign):' /proc/self/status | cut -f2 | tr -d 0", &way).await;
            assert_eq!(masks, "\n\n", "nothing is blocked or ignored: {way}");
            assert_eq!(text(sandbox, "umask; ulimit -Sn; ulimit -Hn", &way).await, "0022\n100\n1000\n", "{way}");
        }
        for signal in ["HUP", "INT", "USR1", "USR2", "PIPE", "RTMIN+3"] {
            let exit = sandbox.exec(json!({ "command": format!("kill -{signal} $$; echo never") })).await.result.exit;
            assert_eq!(exit, Some(Exit::Signalled { signal: format!("SIG{signal}").parse().unwrap() }));
        }
    })
    .await;
}

#[tokio::test]
async fn the_agent_has_more_descriptors_than_its_commands() {
    in_agent_by(&STARTER, &[], async |sandbox| {
        let limits = sandbox.shell("ulimit -Sn; grep 'Max open files' /proc/$PPID/limits | awk '{print $4, $5}'").await;
        assert_eq!(limits, "100\n1000 1000\n");
    })
    .await;
}

/// Whether a command of root's has this capability, by its number.
async fn has(sandbox: &Sandbox, capability: u32) -> bool {
    let set = sandbox.shell("grep ^CapEff: /proc/self/status | cut -f2").await;
    u64::from_str_radix(set.trim(), 16).unwrap() & (1 << capability) != 0
}

const CHOWN: u32 = 0;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;

#[tokio::test]
async fn commands_have_only_the_capabilities_that_the_image_asks_for() {
    for (keep, admin) in [(None, false), (Some("sys_admin"), true), (Some("all"), true)] {
        let variables: Vec<_> = keep.map(|keep| ("CABANA_KEEP_CAPABILITIES", keep)).into_iter().collect();
        in_agent(&variables, async |sandbox| {
            let seen = (has(sandbox, CHOWN).await, has(sandbox, SYS_ADMIN).await, has(sandbox, SYS_PTRACE).await);
            assert_eq!(seen, (true, admin, false), "{keep:?}");
            for set in ["CapInh", "CapAmb"] {
                let set = sandbox.shell(&format!("grep ^{set}: /proc/self/status | cut -f2 | tr -d 0")).await;
                assert_eq!(set, "\n");
            }
        })
        .await;
    }
}
