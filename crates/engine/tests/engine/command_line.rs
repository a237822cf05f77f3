//! The CLI face, as wrangler runs it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::support::{Engine, binary};

/// Runs a docker command with this text as its input.
fn docker(host: Option<&str>, arguments: &str, input: &str) -> Output {
    let mut command = Command::new(binary());
    command.arg("docker").args(arguments.split(' ').map(|argument| argument.replace('_', " ")));
    match host {
        Some(host) => command.env("DOCKER_HOST", host),
        None => command.env_remove("DOCKER_HOST"),
    };
    let piped = Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    // A command that does not read closes its end.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn check(output: &Output, expected: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{errors}");
}

const DOCKERFILE: &str = "FROM debian:12\nARG PORT=1\nEXPOSE $PORT 49983\n";
const BUILD: &str = "build --load -t cloudflare-dev/a:1 --platform linux/amd64 --provenance=false --build-arg PORT=8080 -f - .";

#[tokio::test]
async fn the_commands_of_wrangler_dev_work() {
    let engine = Engine::start().await;
    let host = format!("unix://{}", engine.directory.join("socket").display());
    let run = |arguments: &str, input: &str| docker(Some(&host), arguments, input);

    assert!(run("info", "").status.success());
    let with_host = format!("--host {host} info --format {{{{json_.SecurityOptions}}}}");
    check(&docker(None, &with_host, ""), "[]");
    let build = run(BUILD, DOCKERFILE);
    check(&build, "");
    assert!(String::from_utf8_lossy(&build.stderr).contains("nothing is built"));
    check(&run("image inspect cloudflare-dev/a:1 --format {{len_.Config.ExposedPorts}}", ""), "2");
    check(&run("image inspect cloudflare-dev/a:1 --format {{_.Os_}}", ""), "linux");
    check(&run("pull a/egress:1@sha256:abc", ""), "");
    check(&run("tag cloudflare-dev/a:1 b:2", ""), "");
    let list = "image ls --filter reference=cloudflare-dev/* --format {{.Repository}}:{{.Tag}}";
    check(&run(list, ""), "cloudflare-dev/a:1");
    check(&run("image rm cloudflare-dev/a:1", ""), "Untagged: cloudflare-dev/a:1");
    assert!(!run("image inspect cloudflare-dev/a:1", "").status.success());
    assert!(!run("push b:2", "").status.success());

    engine.run("box", "sleep 1000").await;
    check(&run("ps -q --filter name=nothing", ""), "");
    assert!(String::from_utf8_lossy(&run("ps", "").stdout).contains("running\tbox"));
    check(&run("rm -f box", ""), "box");
}

#[test]
fn the_commands_of_a_dry_run_work_without_an_engine() {
    assert!(docker(None, "info", "").status.success());
    check(&docker(None, BUILD, DOCKERFILE), "");
    check(&docker(None, "image rm cloudflare-dev/a:1", ""), "");
    assert!(!docker(None, BUILD, "nonsense").status.success());
    assert!(!docker(None, "pull x", "").status.success());
}

#[test]
fn a_missing_engine_is_an_error() {
    let output = docker(Some("unix:///no/such/socket"), "info", "");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no engine answers on /no/such/socket"));
}
