//! The agent, the engine or the runtime is killed at a random moment while files are saved or brought back.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use super::budget::Budget;
use crate::{Answer, Sandbox, dice::Dice, process::Process, until};

/// What is under way when something is killed.
const ACTIONS: [&str; 5] = ["/snapshots", "/archives", "/stop", "/restart", "restore"];
/// The longest time after which it is killed, in milliseconds.
const LATEST: usize = 1_500;

pub(super) async fn run(budget: &Budget) -> String {
    let sandbox = Sandbox::create_with(json!({})).await;
    sandbox.start().await;
    sandbox.shell("head -c 20000000 /dev/urandom > data; sha256sum data > sum").await;
    let (mut dice, mut lost) = (Dice::new(17), 0);
    let mut killed: BTreeMap<&str, u32> = BTreeMap::new();
    while let Some(round) = budget.begin() {
        sandbox.shell(&format!("sha256sum -c --quiet sum; echo {round} > round")).await;
        let good = ask(&sandbox, "/snapshots").await.json()["id"].as_str().unwrap().to_owned();
        sandbox.shell("echo later > round").await;
        let restore = format!("/snapshots/{good}/restore");
        let action = match ACTIONS[dice.roll(ACTIONS.len())] {
            "restore" => restore.as_str(),
            action => action,
        };
        let victims = victims(&sandbox).await;
        let victim = victims[dice.roll(victims.len())];
        let milliseconds = dice.roll(LATEST) as u64;
        let killing = async {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            // The action may have ended it before.
            victim.1.signal_if_alive("KILL")
        };
        let call = sandbox.request(Method::POST, action).json(&json!({})).send();
        let (_, was_killed) = tokio::join!(call, killing);
        *killed.entry(victim.0).or_default() += u32::from(was_killed);
        // What has died comes back, and the files are those of the snapshot or later.
        let command = json!({ "command": "sha256sum -c --quiet sum && cat round" });
        let mut found = String::new();
        until("the sandbox works again", async || {
            let Ok(answer) = sandbox.request(Method::POST, "/exec").json(&command).send().await else { return false };
            // What stands before a runtime that has died answers in its own words, or breaks off.
            let Ok(answer) = answer.json::<Value>().await else { return false };
            found = answer["stdout"].as_str().unwrap_or_default().to_owned();
            answer["exit"]["code"] == 0
        })
        .await;
        let kept = [format!("{round}\n"), "later\n".to_owned()];
        assert!(kept.contains(&found), "round {round}: {action}, {} killed after {milliseconds} ms: {found:?}", victim.0);
        lost += u64::from(found != "later\n");
        until("the snapshot is restored", async || ask(&sandbox, &restore).await.status.is_success()).await;
        let found = sandbox.shell("sha256sum -c --quiet sum && cat round").await;
        assert_eq!(found, format!("{round}\n"), "the snapshot is not what it was: {action}, {} killed", victim.0);
        forget(&sandbox).await;
        budget.finish();
    }
    sandbox.destroy().await;
    format!("no snapshot lost; what was written after it was lost {lost} times; killed {killed:?}")
}

async fn ask(sandbox: &Sandbox, route: &str) -> Answer {
    sandbox.send(sandbox.request(Method::POST, route).json(&json!({}))).await
}

/// Makes room in the lists.
async fn forget(sandbox: &Sandbox) {
    for list in ["/snapshots", "/archives"] {
        let listed = sandbox.send(sandbox.request(Method::GET, list)).await.json();
        for item in listed["items"].as_array().into_iter().flatten() {
            let one = format!("{list}/{}", item["id"].as_str().unwrap());
            sandbox.send(sandbox.request(Method::DELETE, &one)).await;
        }
    }
}

/// The processes that may be killed.
async fn victims(sandbox: &Sandbox) -> Vec<(&'static str, Process)> {
    let mark = format!("71{}.5", std::process::id());
    sandbox.shell(&format!("(sleep {mark} > /dev/null 2>&1 &)")).await;
    let mut agent = None;
    until("the sandbox's process is seen", async || {
        let sleep = Process::find(&format!("sleep\0{mark}")).first().copied();
        agent = sleep.and_then(|sleep| sleep.ancestors().find(|process| process.name() == "agent"));
        agent.is_some()
    })
    .await;
    let agent = agent.expect("it was seen");
    let engine = agent.ancestors().find(|process| process.name() == "cabana-engine").expect("the engine runs here");
    vec![("agent", agent), ("engine", engine), ("runtime", runtime())]
}

/// The runtime that holds the Durable Objects of the service under test: the one beside that which listens for callers.
fn runtime() -> Process {
    let (url, _) = Sandbox::service();
    let port = url.rsplit_once(':').expect("the URL has a port").1.to_owned();
    let is_runtime = |process: &Process| process.name() == "workerd";
    let entry = Process::find(&format!("entry=127.0.0.1:{port}")).into_iter().find(is_runtime).expect("it listens");
    let beside = |process: &Process| is_runtime(process) && process.parent() == entry.parent() && *process != entry;
    Process::find("workerd\0serve").into_iter().find(beside).expect("it runs beside that")
}
