//! An engine that has ended leaves nothing.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cabana_engine::client::Client;
use hyper::Method;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{Engine, IMAGE, binary, eventually, marker, processes_with, required, sweep};

/// Starts a sandbox with a daemon that has left its session, recognisable by the marker.
async fn run_daemon(engine: &Engine, marker: &str) {
    let script = format!("setsid sleep {marker} & trap '' TERM; sleep {marker}");
    engine.run("busy", &script).await;
    eventually("the daemon runs", || processes_with(marker).len() >= 3).await;
}

fn cgroups_of(engine: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        for base in [hierarchy.path().join("cabana"), hierarchy.path()] {
            for entry in fs::read_dir(base).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&format!("{engine}-")) {
                    found.push(entry.path());
                }
            }
        }
    }
    found
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains("/state/scratch")).count()
}

#[tokio::test]
async fn a_killed_engine_leaves_no_process_and_no_mount() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = Engine::start_in(directory.path()).await;
    let marker = marker();
    run_daemon(&engine, &marker).await;
    engine.expect(200, Method::POST, "/build?t=test/kept:1", "FROM scratch").await;
    let pid = engine.pid();
    assert_eq!(mounts(), 0, "a sandbox's mounts are its own");
    engine.end(Signal::KILL);
    eventually("every process of the sandbox has ended", || processes_with(&marker).is_empty()).await;
    assert_eq!(mounts(), 0);

    // The next engine removes the cgroups, knows the images, and uses the same name.
    let mut next = Engine::start_in(directory.path()).await;
    assert_eq!(cgroups_of(pid), Vec::<PathBuf>::new());
    next.expect(200, Method::GET, "/images/test%2Fkept:1/json", "").await;
    next.run("busy", "sleep 1000").await;
    assert!(next.end(Signal::TERM).success());
}

#[tokio::test]
async fn sweeping_removes_the_cgroups_of_a_killed_engine_only() {
    let living = Engine::start().await;
    living.run("box", "sleep 1000").await;
    let mut killed = Engine::start().await;
    killed.run("box", "sleep 1000").await;
    if !required("cgroups", living.warnings().is_empty()) {
        return;
    }
    let pid = killed.pid();
    // Once it is killed, the engines of other cases may sweep, too.
    assert_ne!(cgroups_of(pid), Vec::<PathBuf>::new());
    killed.end(Signal::KILL);
    sweep();
    assert_eq!(cgroups_of(pid), Vec::<PathBuf>::new());
    assert_ne!(cgroups_of(living.pid()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn only_the_owner_may_connect_to_the_socket() {
    let engine = Engine::start().await;
    let mode = fs::metadata(engine.directory.join("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_terminated_engine_leaves_nothing() {
    let mut engine = Engine::start().await;
    let marker = marker();
    run_daemon(&engine, &marker).await;
    engine.create(201, "never-started", json!({ "Image": IMAGE })).await;
    let pid = engine.pid();
    assert!(engine.end(Signal::TERM).success());
    assert_eq!(processes_with(&marker), Vec::<String>::new());
    assert_eq!(cgroups_of(pid), Vec::<PathBuf>::new());
    assert!(!engine.directory.join("socket").exists());
    assert!(!engine.directory.join("ready").exists());
}

#[tokio::test]
async fn removing_a_container_ends_its_processes_and_cgroup() {
    let engine = Engine::start().await;
    let marker = marker();
    run_daemon(&engine, &marker).await;
    engine.remove(204, "busy").await;
    assert_eq!(processes_with(&marker), Vec::<String>::new());
    let left: Vec<_> = cgroups_of(engine.pid())
        .into_iter()
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten())
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn two_engines_do_not_share_a_state_directory_or_a_socket() {
    let engine = Engine::start().await;
    let second = |state: &str| {
        let output = Command::new(binary())
            .arg("serve")
            .arg("--socket")
            .arg(engine.directory.join("socket"))
            .arg("--state")
            .arg(engine.directory.join(state))
            .args(["--agent", "/bin/true"])
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let refusal = second("state");
    assert!(refusal.contains("another engine uses the state directory"), "{refusal}");
    let refusal = second("other");
    assert!(refusal.contains("another engine answers on"), "{refusal}");
    engine.run("box", "sleep 1000").await;
}

#[tokio::test]
async fn connections_wait_while_the_engine_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    for _ in 0..2 {
        let client = Client::new(socket.clone());
        let answer = tokio::spawn(async move { client.send(Method::GET, "/_ping", "").await.unwrap() });
        let mut engine = Command::new(binary())
            .args(["serve", "--listening", "--agent", "/bin/true", "--socket"])
            .arg(&socket)
            .arg("--state")
            .arg(directory.path().join("state"))
            .stdin(OwnedFd::from(listener.try_clone().unwrap()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert_eq!(answer.await.unwrap().status, 200);
        engine.kill().unwrap();
        engine.wait().unwrap();
    }
}
