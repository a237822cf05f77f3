//! The `cabana` command against the whole service, as a person or a script uses it.

mod assistants;
mod commands;
mod copying;
mod forwarding;
mod kernels;
mod settings;
mod ssh;
mod terminal;

use cabana_tests::{BreakingProxy, CommandLine, Process, Sandbox, in_sandbox, until};
use serde_json::json;

use super::fresh_name;

fn id(sandbox: &Sandbox) -> String {
    sandbox.url("").rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_exit_code_and_both_outputs_are_those_of_the_command() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let ran = cabana.run(&["exec", &id, "--", "sh", "-c", "printf out; printf err >&2; exit 3"]).await;
        assert_eq!((ran.code, ran.stdout.as_slice(), ran.stderr.as_str()), (Some(3), b"out".as_slice(), "err"));
        // No shell sees the arguments of a program.
        assert_eq!(
            cabana.run(&["exec", &id, "printf", "%s|", "$HOME", "a b", "-x", "--json"]).await.text(),
            "$HOME|a b|-x|--json|"
        );
        let ran = cabana.run(&["exec", &id, "--shell", "printf '%s' \"$((6 * 7))\""]).await;
        assert_eq!(ran.text(), "42");
        for (words, code) in
            [(&["sh", "-c", "kill -9 $$"][..], 137), (&["/etc/hostname"], 126), (&["no-such-program"], 127), (&["false"], 1)]
        {
            let ran = cabana.run(&[&["exec", &id, "--"], words].concat()).await;
            assert_eq!(ran.code, Some(code), "{words:?}: {ran:?}");
        }
        let ran = cabana.run(&["exec", "--timeout", "300ms", &id, "sleep", "600"]).await;
        assert_eq!(ran.code, Some(124), "{ran:?}");
    })
    .await;
}

#[tokio::test]
async fn failures_of_cabana_itself_are_125_and_say_why() {
    in_sandbox(async |sandbox| {
        let (url, _) = Sandbox::service();
        let id = id(sandbox);
        let expired = CommandLine::at(&url, "cab_aaaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaa");
        let nobody = CommandLine::at("http://127.0.0.1:9", "key");
        let cabana = CommandLine::of_service();
        for (cabana, words, says) in [
            (&expired, &["exec", &id, "true"][..], "check the key"),
            (&nobody, &["exec", &id, "true"], "cannot connect to http://127.0.0.1:9"),
            (&cabana, &["show", "nobody-has-this"], "request "),
            (&cabana, &["exec", "nobody-has-this", "true"], "no such sandbox"),
            (&cabana, &["show", "a/b"], "is not a sandbox's id"),
            (&cabana, &["exec", &id], "COMMAND"),
            (&cabana, &["exec", "--timeout", "soon", &id, "true"], "a time is a number with a unit"),
            (&cabana, &["exec", "--cwd", "/no/such", &id, "true"], "there is no working directory"),
            (&cabana, &["no-such-command"], "no-such-command"),
        ] {
            let ran = cabana.run(words).await;
            assert!(ran.code == Some(125) && ran.stderr.contains(says) && ran.stdout.is_empty(), "{words:?}: {ran:?}");
        }
        let ran = cabana.run(&["--json", "show", "nobody-has-this"]).await;
        let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!((ran.code, &error["error"]["code"]), (Some(125), &json!("not_found")));
    })
    .await;
}

#[tokio::test]
async fn stdin_passes_exactly_and_waits_for_a_slow_reader() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let ran = cabana.run_with(&["exec", "-i", &id, "--", "sh", "-c", "head -c 1 > /dev/null; cat"], bytes.clone()).await;
        assert!(ran.code == Some(0) && ran.stdout == bytes[1..], "{} bytes, {}", ran.stdout.len(), ran.stderr);
        // One that does not read to the end is no failure, as with a pipe.
        let ran = cabana.run_with(&["exec", "-i", &id, "head", "-c", "3"], bytes.clone()).await;
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), &bytes[..3]), "{}", ran.stderr);
        // Without -i there is nothing to read.
        let ran = cabana.run_with(&["exec", &id, "cat"], b"unread".to_vec()).await;
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), b"".as_slice()));
        let ran = cabana.run_with(&["exec", "-i", &id, "cat"], Vec::new()).await;
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), b"".as_slice()));
    })
    .await;
}

#[tokio::test]
async fn a_sandbox_is_made_shown_listed_and_destroyed() {
    let cabana = CommandLine::of_service();
    let name = fresh_name("cli");
    let made =
        cabana.run(&["create", &name, "--label", "case=cli", "--env", "GREETING=h\u{e9}llo w\u{f6}rld", "--ephemeral"]).await;
    let id = made.text().trim().to_owned();
    assert_eq!(id, format!("sbx-{name}"));
    assert_eq!(cabana.run(&["exec", &id, "printenv", "GREETING"]).await.text(), "h\u{e9}llo w\u{f6}rld\n");
    let shown = cabana.run(&["--json", "show", &id]).await.json();
    assert_eq!((&shown["id"], &shown["state"], &shown["labels"]["case"]), (&json!(id), &json!("running"), &json!("cli")));
    assert!(cabana.run(&["show", &id]).await.text().contains("running"));
    until("the list shows it", async || {
        let listed = cabana.run(&["ls", "--label", "case=cli", "-q"]).await.text();
        listed.lines().any(|line| line == id)
    })
    .await;
    let table = cabana.run(&["ls", "--label", "case=cli"]).await.text();
    assert!(table.starts_with("ID ") && table.contains("case=cli"), "{table}");
    assert!(cabana.run(&["stop", &id]).await.text().contains("sleeping"));
    assert!(cabana.run(&["start", &id]).await.text().contains("running"));
    assert_eq!(cabana.run(&["rm", &id]).await.code, Some(0));
    assert_eq!(cabana.run(&["rm", &id]).await.code, Some(0), "destroying it again is no failure");
    assert_eq!(cabana.run(&["show", &id]).await.code, Some(125));
}

#[tokio::test]
async fn a_command_in_a_sandbox_of_its_own_leaves_none_behind() {
    let cabana = CommandLine::of_service();
    let label = format!("case={}", fresh_name("run"));
    let ran = cabana.run(&["run", "--label", &label, "sbx", "--", "sh", "-c", "echo out; exit 4"]).await;
    assert_eq!((ran.code, ran.stdout.as_slice()), (Some(4), b"out\n".as_slice()), "{ran:?}");
    let listed = async || cabana.run(&["ls", "-q", "--label", &label]).await.text();
    until("none is left", async || listed().await.is_empty()).await;
    let ran = cabana.run(&["run", "--keep", "--label", &label, "sbx", "true"]).await;
    let id = ran.stderr.trim().strip_prefix("cabana: kept ").expect("it names the sandbox").to_owned();
    until("it is kept", async || listed().await.trim() == id).await;
    assert_eq!(cabana.run(&["rm", &id]).await.code, Some(0));
}

#[tokio::test]
async fn an_interrupt_cancels_the_command_with_all_that_it_started() {
    in_sandbox(async |sandbox| {
        let (cabana, id) = (CommandLine::of_service(), id(sandbox));
        let mut command = cabana.command(&["exec", &id, "--", "sh", "-c", "sleep 4711 & sleep 4711"]);
        let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        until("it runs", async || sandbox.count_processes("sleep 4711").await > 1).await;
        Process::new(child.id()).signal("INT");
        let code = tokio::task::spawn_blocking(move || child.wait().unwrap().code()).await.unwrap();
        assert_eq!(code, Some(130));
        until("nothing of it is left", async || sandbox.count_processes("[s]leep 4711").await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_command_is_never_a_success() {
    in_sandbox(async |sandbox| {
        let proxy = BreakingProxy::start().await;
        let (_, key) = Sandbox::service();
        let (cabana, id) = (CommandLine::at(&proxy.url(), &key), id(sandbox));
        let words = ["exec", &id, "--", "sh", "-c", "echo begun > mark; sleep 4712"];
        let (ran, ()) = tokio::join!(cabana.run(&words), async {
            until("it runs", async || sandbox.get("mark").await.status.is_success()).await;
            proxy.cut().await;
        });
        // Its own network failed, which the service cannot tell from a hang-up.
        assert!(ran.code == Some(125) && ran.stderr.contains("the connection broke"), "{ran:?}");
    })
    .await;
}
