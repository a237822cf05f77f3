//! The engine as an ordinary user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use hyper::Method;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Engine, binary, eventually, marker, processes_with, required};

/// Nobody: a user that owns nothing.
const NOBODY: u32 = 65534;

#[tokio::test]
async fn an_ordinary_user_runs_sandboxes_without_limits() {
    let directory = tempfile::tempdir().unwrap();
    // The build directory may be closed to other users.
    let copy = directory.path().join("cabana-engine");
    fs::copy(binary(), &copy).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new(copy);
    command.arg("serve").uid(NOBODY).gid(NOBODY).env("HOME", "/nonexistent");
    let mut engine = match Engine::start_by(directory.path(), command).await {
        Ok(engine) => engine,
        Err(log) => {
            // Some machines refuse; then the engine says what to do.
            assert!(log.contains("needs user namespaces") && log.contains("run it as root"), "{log}");
            required("userns", false);
            return;
        }
    };
    let warnings = engine.warnings();
    assert!(warnings[0].as_str().unwrap().starts_with("no limits of cpu, memory, pids hold"), "{warnings:?}");
    assert!(engine.log().contains("no limits of cpu, memory, pids hold"), "{}", engine.log());
    assert_eq!(engine.expect(200, Method::GET, "/info", "").await["Warnings"], Value::from(warnings));
    let script = "set -e
        test $(id -u) = 0 && test -z \"$(ls /home)\" && test $$ = 1
        touch /workspace/x /tmp/x /root/x
        test \"$(python3 -c 'print(2 + 2)')\" = 4";
    assert_eq!(engine.code_of("box", script).await, 0);
    let port = engine
        .serve("server", "import socket\ns = socket.create_server((\"127.0.0.1\", 5000))\nwhile True: s.accept()[0].close()")
        .await;
    crate::support::connected(port, "127.0.0.1:5000").await;

    let marker = marker();
    engine.run("busy", &format!("setsid sleep {marker} & sleep {marker}")).await;
    eventually("the daemon runs", || processes_with(&marker).len() >= 3).await;
    engine.end(Signal::KILL);
    eventually("every process of the sandbox has ended", || processes_with(&marker).is_empty()).await;
}
