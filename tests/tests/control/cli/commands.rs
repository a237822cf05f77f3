//! Commands that are one or a few calls each.

use std::{fs, os::unix::fs::PermissionsExt};

use cabana_tests::{Caller, CommandLine, Sandbox, in_sandbox, until};
use serde_json::json;

use super::id;

#[tokio::test]
async fn processes_are_listed_read_and_ended() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let words = ["exec", "-d", "--name", "counter", &id, "--", "sh", "-c", "echo one; echo two >&2; sleep 4714"];
        let process = cabana.run(&words).await.text().trim().to_owned();
        assert_eq!(cabana.run(&words).await.text().trim(), process, "the same request finds the same process");
        assert_eq!(cabana.run(&["ps", "-q", &id]).await.text().trim(), process);
        assert!(cabana.run(&["ps", &id]).await.text().contains("counter"));
        until("it has printed", async || cabana.run(&["logs", &id, "counter"]).await.stdout == b"one\n").await;
        let follow = ["logs", "-f", &id, &process];
        let (followed, killed) = tokio::join!(cabana.run(&follow), async {
            until("it is followed", async || sandbox.shell("true").await.is_empty()).await;
            cabana.run(&["kill", &id, "counter"]).await
        });
        assert_eq!(
            (followed.code, followed.stdout.as_slice(), followed.stderr.as_str()),
            (Some(0), b"one\n".as_slice(), "two\n")
        );
        assert_eq!(killed.code, Some(0));
        assert_eq!(cabana.run(&["ps", "-q", &id]).await.text(), "");
        assert!(cabana.run(&["ps", "-a", &id]).await.text().contains("ended 143"));
        let ran = cabana.run(&["kill", &id, "none"]).await;
        assert!(ran.code == Some(125) && ran.stderr.contains("none"), "{ran:?}");
        cabana.run(&["exec", "-d", "--name", "signalled", &id, "sleep", "4715"]).await.text();
        assert_eq!(cabana.run(&["kill", "-s", "USR1", &id, "signalled"]).await.code, Some(0));
        until("the signal has ended it", async || cabana.run(&["ps", "-a", &id]).await.text().contains("ended 138")).await;
    })
    .await;
}

#[tokio::test]
async fn a_port_gets_a_url_and_loses_it() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let url = cabana.run(&["port", &id, "3000", "--public"]).await.text();
        assert!(url.starts_with("http://3000-"), "{url}");
        let table = cabana.run(&["port", &id]).await.text();
        assert!(table.contains("3000") && table.contains("public") && table.contains(url.trim()), "{table}");
        assert_eq!(cabana.run(&["port", &id, "3000", "--remove"]).await.code, Some(0));
        assert!(!cabana.run(&["port", &id]).await.text().contains("3000"));
        assert_eq!(cabana.run(&["port", &id, "70000"]).await.code, Some(125));
    })
    .await;
}

#[tokio::test]
async fn files_are_saved_brought_back_and_forked() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        sandbox.shell("echo first > file").await;
        let snapshot = cabana.run(&["snapshot", "create", &id, "--name", "before"]).await.text().trim().to_owned();
        assert!(cabana.run(&["snapshot", "ls", &id]).await.text().contains("before"));
        sandbox.shell("echo second > file").await;
        assert_eq!(cabana.run(&["snapshot", "restore", &id, &snapshot]).await.code, Some(0));
        assert_eq!(cabana.run(&["exec", &id, "cat", "file"]).await.text(), "first\n");
        let forks = cabana.run(&["fork", "-n", "2", &id]).await.text();
        let forks: Vec<&str> = forks.lines().collect();
        assert_eq!(forks.len(), 2);
        for fork in &forks {
            assert_eq!(cabana.run(&["exec", fork, "cat", "file"]).await.text(), "first\n");
        }
        assert_eq!(cabana.run(&[&["rm"], forks.as_slice()].concat()).await.code, Some(0));
        assert_eq!(cabana.run(&["snapshot", "rm", &id, &snapshot]).await.code, Some(0));
    })
    .await;
}

#[tokio::test]
async fn keys_are_made_used_and_revoked() {
    let cabana = CommandLine::of_service();
    let key = cabana.run(&["keys", "create", "of a case", "--expires", "1h"]).await.text().trim().to_owned();
    let own = CommandLine::at(&Sandbox::service().0, &key);
    assert_eq!(own.run(&["ls", "-q"]).await.code, Some(0));
    let key_id = Caller::with(key).key_id().to_owned();
    assert!(cabana.run(&["keys", "ls"]).await.text().contains(&key_id));
    assert_eq!(cabana.run(&["keys", "rm", &key_id]).await.code, Some(0));
    until("the key is refused", async || own.run(&["ls", "-q"]).await.stderr.contains("check the key")).await;
    let ran = cabana.run(&["keys", "create", "x", "--scopes", "{"]).await;
    assert!(ran.code == Some(125) && ran.stderr.contains("--scopes"), "{ran:?}");
}

#[tokio::test]
async fn the_audit_trail_says_what_was_done_and_is_intact() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        cabana.run(&["exec", &id, "echo", "audited"]).await.text();
        let table = cabana.run(&["audit", &id]).await.text();
        assert!(table.lines().any(|line| line.contains("exec") && line.contains("echo audited")), "{table}");
        assert!(cabana.run(&["audit", "--verify", &id]).await.text().starts_with("intact"));
        assert_eq!(cabana.run(&["--json", "audit", "-n", "1", &id]).await.json()["items"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_login_keeps_a_key_that_works_for_its_owner_alone() {
    let (url, key) = Sandbox::service();
    let cabana = CommandLine::untold();
    let file = cabana.home().join(".config/cabana/config.toml");
    let refused = cabana.run_with(&["login", &url], b"wrong\n".to_vec()).await;
    assert!(refused.code == Some(125) && !file.exists(), "{refused:?}");
    let ran = cabana.run_with(&["login", &url], format!("{key}\n").into_bytes()).await;
    assert!(ran.code == Some(0) && !ran.stderr.contains(&key), "{ran:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(cabana.run(&["ls", "-q"]).await.code, Some(0));
    let doctor = cabana.run(&["--json", "doctor"]).await.json();
    assert_eq!(doctor[0]["says"], json!(format!("{url}, from the profile default")));
    assert_eq!(cabana.run(&["login", &url, "--forget"]).await.code, Some(0));
    assert_eq!(cabana.run(&["ls", "-q"]).await.code, Some(125));
}

#[tokio::test]
async fn the_doctor_names_what_does_not_work() {
    let cabana = CommandLine::of_service();
    let ran = cabana.run(&["doctor", "--run"]).await.text();
    assert!(ran.lines().count() == 4 && ran.lines().all(|line| line.starts_with("ok")) && ran.contains("Linux"), "{ran}");
    let ran = CommandLine::at("http://127.0.0.1:9", "key").run(&["doctor"]).await;
    assert!(ran.code == Some(1) && String::from_utf8_lossy(&ran.stdout).contains("failed service"), "{ran:?}");
    assert!(cabana.run(&["kinds"]).await.text().contains("sbx"));
}

#[tokio::test]
async fn completions_and_manual_pages_are_made() {
    let cabana = CommandLine::untold();
    for shell in ["bash", "zsh", "fish"] {
        assert!(cabana.run(&["completions", shell]).await.text().contains("snapshot"), "{shell}");
    }
    assert_eq!(cabana.run(&["man", "pages"]).await.code, Some(0));
    assert!(fs::read_to_string(cabana.home().join("pages/cabana-exec.1")).unwrap().contains("interactive"));
    assert!(cabana.run(&["--help"]).await.text().contains("CABANA_URL"));
}
