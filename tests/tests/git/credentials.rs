//! Credentials of repositories, and the places where they must not be found.

use cabana_protocol::git::{Clone, Pull, Push};
use cabana_tests::{Kind, Sandbox, in_kind, in_sandbox, until};
use serde_json::{Value, json};

use super::remote::Remote;

const PASSWORD: &str = "password-of-ada";

fn ada() -> Value {
    json!({ "username": "ada", "password": PASSWORD })
}

/// Whether this is in a file beneath the root, or in what any process was started with.
async fn found(sandbox: &Sandbox, secret: &str) -> String {
    // The pattern is put together here, so that the search does not find itself.
    let (first, rest) = secret.split_at(4);
    let script = format!(
        "s='{first}'; s=\"${{s}}{rest}\"; grep -rlF --exclude=server.py --exclude-dir=served \"$s\" .; \
         for p in /proc/[0-9]*; do for f in cmdline environ; do grep -qsaF \"$s\" $p/$f && echo $p/$f; done; done; true"
    );
    sandbox.shell(&script).await
}

#[tokio::test]
async fn a_private_repository_needs_credentials() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let url = remote.url("private/project.git");
        for credentials in
            [None, Some(json!({ "username": "ada", "password": "a-wrong-guess" })), Some(json!({ "token": "a-wrong-guess" }))]
        {
            let answer = sandbox.post("git.clone", json!({ "url": url, "path": "work", "credentials": credentials })).await;
            assert_eq!(
                (answer.code(), &answer.json()["error"]["details"]["reason"]),
                ("forbidden".into(), &json!("authentication"))
            );
            assert!(!String::from_utf8_lossy(&answer.bytes).contains("a-wrong-guess"), "{}", answer.json());
        }
        assert_eq!(sandbox.shell("ls").await, "served\nserver.py\n", "a clone that fails leaves nothing behind");
        for (path, credentials) in [("work", ada()), ("work2", json!({ "token": "token-of-ada" }))] {
            // With a filter, files are fetched by a second connection, which needs the credentials too.
            let request = json!({ "url": url, "path": path, "credentials": credentials, "filter": "blob:none" });
            remote.fold::<Clone>(request).await;
        }
        remote.commit("work", "file", "changed\n").await;
        assert_eq!(sandbox.post("git.push", json!({ "path": "work" })).await.code(), "forbidden");
        remote.fold::<Push>(json!({ "path": "work", "credentials": ada() })).await;
        assert_eq!(sandbox.post("git.pull", json!({ "path": "work2" })).await.code(), "forbidden");
        for remote_name in [None, Some("origin"), Some(url.as_str())] {
            let request = json!({ "path": "work2", "remote": remote_name, "branch": "main", "credentials": ada() });
            assert_eq!(remote.fold::<Pull>(request).await.updated, remote_name.is_none());
        }
        assert_eq!(sandbox.get("work2/file").await.success(), b"changed\n");
        assert_eq!(found(sandbox, PASSWORD).await, "");
        assert_eq!(found(sandbox, "token-of-ada").await, "");
        sandbox.put("control", PASSWORD).await.success();
        assert_eq!(found(sandbox, PASSWORD).await, "./control\n", "the search finds what is there");
    })
    .await;
}

#[tokio::test]
async fn credentials_are_not_visible_while_git_runs() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let mut socket = sandbox.connect().await;
        let url = remote.url("stall/3591.git");
        socket.send("git.clone", "stalled", json!({ "url": url, "path": "work", "credentials": ada() })).await;
        until("git asks the remote", async || sandbox.count_processes("remote-http.*3591.git").await > 0).await;
        assert_eq!(found(sandbox, PASSWORD).await, "");
        socket.send("cancel", "stalled", json!({})).await;
        let ended = socket.next().await;
        assert_eq!((&ended["type"], &ended["payload"]["code"]), (&json!("error"), &json!("interrupted")));
        assert_eq!(sandbox.count_processes("remote-http.*3591.git").await, 0);
        assert_eq!(sandbox.shell("ls").await, "served\nserver.py\n");
    })
    .await;
}

#[tokio::test]
async fn credentials_are_sent_to_the_host_of_the_url_only() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let refused = async |operation: &str, request: Value, reason: &str| {
            let answer = sandbox.post(operation, request).await;
            assert_eq!(answer.code(), "forbidden", "{}", answer.json());
            assert_eq!(answer.json()["error"]["details"]["reason"], reason, "{}", answer.json());
        };
        let elsewhere = json!({ "url": remote.url("elsewhere/project.git"), "path": "work", "credentials": ada() });
        refused("git.clone", elsewhere, "authentication").await;

        let url = remote.url("private/project.git");
        remote.fold::<Clone>(json!({ "url": url, "path": "work", "credentials": ada() })).await;
        let other = url.replace("127.0.0.1", "localhost");
        sandbox.shell(&format!("git -C work config url.{other}.insteadOf {url}")).await;
        let pull = |remote: &str| json!({ "path": "work", "remote": remote, "branch": "main", "credentials": ada() });
        refused("git.pull", pull(&url), "authentication").await;
        sandbox.shell(&format!("git -C work config --remove-section url.{other}")).await;
        for (key, value) in
            [("http.sslVerify", "false"), ("http.proxy", "http://127.0.0.1:1"), ("remote.origin.proxy", "http://127.0.0.1:1")]
        {
            sandbox.shell(&format!("git -C work config {key} {value}")).await;
            refused("git.pull", pull("origin"), "unsafe_configuration").await;
            sandbox.shell(&format!("git -C work config --unset {key}")).await;
        }
        remote.fold::<Pull>(pull("origin")).await;
    })
    .await;
}

#[tokio::test]
async fn git_runs_as_the_configured_user() {
    in_kind(Kind::Nobody, async |sandbox| {
        sandbox.exec(json!({ "command": "chown nobody .", "user": "root" })).await;
        let remote = Remote::start_as(sandbox, Some("root")).await;
        let request = json!({ "url": remote.url("private/project.git"), "path": "a/work", "credentials": ada() });
        remote.fold::<Clone>(request).await;
        remote.commit("a/work", "file", "changed\n").await;
        remote.fold::<Push>(json!({ "path": "a/work", "credentials": ada() })).await;
        assert_eq!(sandbox.shell("find a -not -user nobody").await, "");
    })
    .await;
}
