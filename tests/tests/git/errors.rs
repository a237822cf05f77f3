//! Failures of git operations, each with a code to act on and a reason.

use cabana_tests::{Answer, Kind, in_agent, in_kind, in_sandbox};
use serde_json::{Value, json};

use super::remote::Remote;

/// Checks what a request was refused for; `None` where the reason is not git's.
fn refused(answer: &Answer, code: &str, reason: Option<&str>, what: &Value) {
    let error = &answer.json()["error"];
    assert!(!answer.status.is_success(), "{what}: {}", answer.json());
    assert_eq!(answer.code(), code, "{what}: {error}");
    if reason.is_some() {
        assert_eq!(error["details"]["reason"].as_str(), reason, "{what}: {error}");
    }
}

#[tokio::test]
async fn missing_repositories_and_occupied_paths_have_different_errors() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        for clone in ["work", "loose", "locked"] {
            remote.clone(clone).await;
        }
        sandbox
            .shell("mkdir plain full; touch full/x plain/--; git init -q -b main empty; echo x > work/.gitignore; touch work/x")
            .await;
        sandbox
            .shell("git -C loose switch -q --detach; touch locked/.git/index.lock; ln -s /etc link; ln -s nowhere dangling")
            .await;
        let url = remote.url("project.git");
        let author = json!({ "name": "Ada", "email": "ada@example.com" });
        for (operation, request, code, reason) in [
            ("git.clone", json!({ "url": remote.url("none.git") }), "not_found", "remote_repository"),
            ("git.clone", json!({ "url": url, "path": "a", "branch": "none" }), "not_found", "revision"),
            ("git.clone", json!({ "url": url, "path": "full" }), "conflict", "exists"),
            ("git.clone", json!({ "url": url, "path": "dangling" }), "conflict", "exists"),
            ("git.clone", json!({ "url": "http://127.0.0.1:1/x" }), "unprocessable", "network"),
            ("git.clone", json!({ "url": "http://no-such-host.invalid/x" }), "unprocessable", "network"),
            ("git.status", json!({ "path": "plain" }), "not_found", "repository"),
            ("git.status", json!({}), "not_found", "repository"),
            ("git.log", json!({ "path": "work", "revision": "none" }), "not_found", "revision"),
            ("git.diff", json!({ "path": "work", "from": "none" }), "not_found", "revision"),
            ("git.diff", json!({ "path": "work", "from": "main", "to": "none" }), "not_found", "revision"),
            ("git.diff", json!({ "path": "plain", "from": "/etc/passwd" }), "not_found", "repository"),
            ("git.diff", json!({ "path": "plain", "staged": true }), "not_found", "repository"),
            ("git.diff", json!({ "path": "plain", "paths": ["/etc/passwd"] }), "not_found", "repository"),
            ("git.diff", json!({ "path": "work", "paths": ["/etc/passwd", "/etc/group"] }), "not_found", "path"),
            ("git.checkout", json!({ "path": "work", "branch": "none" }), "not_found", "revision"),
            ("git.checkout", json!({ "path": "work", "commit": "none" }), "not_found", "revision"),
            ("git.checkout", json!({ "path": "work", "branch": "main", "create": true }), "conflict", "exists"),
            ("git.branch", json!({ "path": "work", "action": { "type": "create", "name": "main" } }), "conflict", "exists"),
            (
                "git.branch",
                json!({ "path": "work", "action": { "type": "create", "name": "a", "start": "none" } }),
                "not_found",
                "revision",
            ),
            ("git.branch", json!({ "path": "work", "action": { "type": "delete", "name": "main" } }), "conflict", "in_use"),
            ("git.branch", json!({ "path": "work", "action": { "type": "delete", "name": "none" } }), "not_found", "revision"),
            ("git.add", json!({ "path": "work", "paths": ["none"] }), "not_found", "path"),
            ("git.add", json!({ "path": "work", "paths": ["../plain"] }), "not_found", "path"),
            ("git.add", json!({ "path": "work", "paths": ["x"] }), "conflict", "ignored"),
            ("git.commit", json!({ "path": "work", "message": "m", "author": author }), "conflict", "nothing_to_commit"),
            ("git.pull", json!({ "path": "work", "remote": "none" }), "not_found", "remote"),
            ("git.pull", json!({ "path": "work", "branch": "none" }), "not_found", "revision"),
            ("git.pull", json!({ "path": "work", "branch": "+main" }), "not_found", "revision"),
            ("git.pull", json!({ "path": "empty" }), "not_found", "remote"),
            ("git.pull", json!({ "path": "loose" }), "unprocessable", "upstream"),
            ("git.push", json!({ "path": "loose" }), "unprocessable", "upstream"),
            ("git.add", json!({ "path": "locked", "all": true }), "conflict", "locked"),
            ("git.push", json!({ "path": "work", "branch": "none" }), "not_found", "revision"),
            ("git.push", json!({ "path": "work", "remote": "none" }), "not_found", "remote"),
        ] {
            let answer = sandbox.post(operation, request.clone()).await;
            refused(&answer, code, Some(reason), &json!([operation, request]));
        }
        for (operation, request, code) in [
            ("git.status", json!({ "path": "none" }), "not_found"),
            ("git.status", json!({ "path": "full/x" }), "conflict"),
            ("git.status", json!({ "path": "/etc" }), "forbidden"),
            ("git.clone", json!({ "url": url, "path": "../outside" }), "forbidden"),
            ("git.clone", json!({ "url": url, "path": "link/project" }), "forbidden"),
            ("git.clone", json!({ "url": url, "path": "/etc/project" }), "forbidden"),
        ] {
            refused(&sandbox.post(operation, request.clone()).await, code, None, &json!([operation, request]));
        }
        assert_eq!(sandbox.shell("ls -d a none project 2>/dev/null; true").await, "");
    })
    .await;
}

#[tokio::test]
async fn options_and_foreign_transports_are_refused() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        remote.clone("work").await;
        let url = remote.url("project.git");
        for (operation, request) in [
            ("git.clone", json!({ "url": "--upload-pack=touch ran" })),
            ("git.clone", json!({ "url": "ext::touch ran" })),
            ("git.clone", json!({ "url": "file:///workspace/served/project.git" })),
            ("git.clone", json!({ "url": "served/project.git" })),
            ("git.clone", json!({ "url": "ssh://-oProxyCommand=touch%20ran/x" })),
            ("git.clone", json!({ "url": "git@example.com:a/b" })),
            ("git.clone", json!({ "url": "http://ada:password-of-ada@127.0.0.1/x" })),
            ("git.clone", json!({ "url": url, "branch": "--upload-pack=touch ran" })),
            ("git.clone", json!({ "url": url, "filter": "blob:none --upload-pack=x" })),
            ("git.clone", json!({ "url": url, "depth": 0 })),
            ("git.clone", json!({ "url": url, "timeout_ms": 0 })),
            ("git.clone", json!({ "url": url, "credentials": { "username": "a\nb", "password": "c" } })),
            ("git.diff", json!({ "path": "work", "from": "--output=ran" })),
            ("git.diff", json!({ "path": "work", "from": "--no-index", "to": "/etc/passwd" })),
            ("git.log", json!({ "path": "work", "revision": "--output=ran" })),
            ("git.log", json!({ "path": "work", "limit": 0 })),
            ("git.branch", json!({ "path": "work", "action": { "type": "create", "name": "-x" } })),
            ("git.branch", json!({ "path": "work", "action": { "type": "create", "name": "x", "start": "--help" } })),
            ("git.checkout", json!({ "path": "work", "branch": "-x", "create": true })),
            ("git.checkout", json!({ "path": "work", "commit": "--orphan" })),
            ("git.checkout", json!({ "path": "work" })),
            ("git.add", json!({ "path": "work" })),
            ("git.commit", json!({ "path": "work", "message": " \n" })),
            ("git.commit", json!({ "path": "work", "message": "x", "author": { "name": "a\nb", "email": "c" } })),
            ("git.pull", json!({ "path": "work", "remote": "--upload-pack=touch ran" })),
            ("git.pull", json!({ "path": "work", "remote": "ext::touch ran" })),
            ("git.push", json!({ "path": "work", "remote": "--receive-pack=touch ran" })),
            ("git.push", json!({ "path": "work", "branch": "main:other" })),
        ] {
            let answer = sandbox.post(operation, request.clone()).await;
            refused(&answer, "invalid_request", None, &json!([operation, request]));
            assert!(answer.json()["error"]["details"]["field"].is_string(), "{operation} {request}: {}", answer.json());
            assert!(!String::from_utf8_lossy(&answer.bytes).contains("password-of-ada"));
        }
        for url in ["ext::touch ran", "file:///etc", "ssh://example.com/x"] {
            sandbox.exec(json!({ "command": ["git", "-C", "work", "remote", "set-url", "origin", url] })).await;
            refused(&sandbox.post("git.pull", json!({ "path": "work" })).await, "forbidden", Some("protocol"), &json!(url));
        }
        // Paths are what they are.
        for path in ["--all", ":/", "*", ":(top)file"] {
            let answer = sandbox.post("git.add", json!({ "path": "work", "paths": [path] })).await;
            refused(&answer, "not_found", Some("path"), &json!(path));
            let answer = sandbox.post("git.log", json!({ "path": "work", "paths": [path] })).await;
            assert_eq!(answer.json()["items"], json!([]), "{path}");
        }
        assert_eq!(sandbox.shell("find . -name ran").await, "");
    })
    .await;
}

#[tokio::test]
async fn a_clone_ends_at_its_timeout() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let request = json!({ "url": remote.url("stall/3592.git"), "path": "work", "timeout_ms": 300 });
        assert_eq!(sandbox.post("git.clone", request).await.code(), "timeout");
        assert_eq!(sandbox.count_processes("remote-http.*3592.git").await, 0);
        assert_eq!(sandbox.shell("ls").await, "served\nserver.py\n");
    })
    .await;
}

#[tokio::test]
async fn a_stalled_remote_is_given_up() {
    in_kind(Kind::Tight, async |sandbox| {
        let remote = Remote::start(sandbox).await;
        remote.clone("work").await;
        remote.commit("work", "file", "changed\n").await;
        for (operation, path) in [
            ("git.clone", "stall/project.git"),
            ("git.clone", "trickle/project.git"),
            ("git.pull", "stall/project.git"),
            ("git.push", "stall/project.git"),
        ] {
            let url = remote.url(path);
            let request = match operation {
                "git.clone" => json!({ "url": url, "path": "new" }),
                "git.pull" => json!({ "path": "work", "remote": url, "branch": "main" }),
                _ => json!({ "path": "work", "remote": url }),
            };
            refused(&sandbox.post(operation, request).await, "unprocessable", Some("network"), &json!([operation, path]));
        }
        assert_eq!(sandbox.shell("ls").await, "served\nserver.py\nwork\n");
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn a_sandbox_without_git_says_so() {
        in_agent(&[("PATH", "/nowhere")], async |sandbox| {
            let answer = sandbox.post("git.status", json!({})).await;
            refused(&answer, "unprocessable", Some("no_git"), &json!("no git"));
        })
        .await;
    }
}
