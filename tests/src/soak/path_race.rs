//! A directory is swapped with a symlink that leads out of the roots, as fast as the kernel does it, while clients work in it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use futures_util::future::join_all;
use reqwest::Method;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use super::budget::Budget;
use crate::{Answer, Sandbox, agent::Agent};

/// Clients at once.
const CLIENTS: u64 = 4;
/// Operations on one agent before the other has its turn, and what is outside is looked at.
const TURN: u64 = 2_000;

/// One agent for each way in which paths are confined take turns.
pub(super) async fn run(budget: &Budget) -> String {
    let mut arenas = Vec::new();
    for variables in [[].as_slice(), &[("CABANA_CONFINEMENT", "walk")]] {
        arenas.push(Arena::new(Sandbox::of_agent(Agent::start(&[], variables))).await);
    }
    let (mut swaps, mut refused) = (0, 0);
    'turns: loop {
        for arena in &arenas {
            let swapper = Swapper::start(Path::new(&arena.sandbox.root));
            let counts = join_all((0..CLIENTS).map(|client| arena.work(budget, client))).await;
            swaps += swapper.stop();
            refused += counts.iter().map(|count| count.refused).sum::<u64>();
            arena.check().await;
            if counts.iter().any(|count| count.is_last) {
                break 'turns;
            }
        }
    }
    assert!(refused > 0, "no operation met the symlink");
    format!("0 escapes in {swaps} swaps, {refused} operations refused")
}

/// A sandbox with a directory `real`, a symlink `evil` to a directory beside its root, and what that held at first.
struct Arena {
    sandbox: Sandbox,
    outside: String,
    before: String,
}

/// What came of a client's turn.
struct Count {
    refused: u64,
    /// Whether there is nothing more to do.
    is_last: bool,
}

impl Arena {
    async fn new(sandbox: Sandbox) -> Self {
        let outside = format!("{}-beyond", sandbox.root);
        let setup = format!(
            "mkdir -p {outside}/secret real copies tree/sub; ln -s {outside} evil; echo inside > real/f; echo x > tree/sub/f
             for f in f a e secret/f; do echo outside > {outside}/$f; done; tar -C tree -cf archive.tar sub"
        );
        sandbox.shell(&setup).await;
        let mut arena = Self { sandbox, outside, before: String::new() };
        arena.before = arena.show().await;
        arena
    }

    /// Names, modes, sizes, times and contents of what is outside.
    async fn show(&self) -> String {
        let show = format!("cd {} && find . -printf '%p %m %s %T@\\n' | sort && cat f a e secret/f", self.outside);
        self.sandbox.shell(&show).await
    }

    /// One client's operations, until the turn ends.
    async fn work(&self, budget: &Budget, client: u64) -> Count {
        let archive = self.sandbox.get("archive.tar").await.success();
        let mut count = Count { refused: 0, is_last: false };
        for _ in 0..TURN / CLIENTS {
            let Some(round) = budget.begin() else {
                count.is_last = true;
                break;
            };
            let answer = self.operate(client, round, &archive).await;
            if answer.status.is_success() {
                let text = String::from_utf8_lossy(&answer.bytes);
                assert!(!text.contains("outside") && !text.contains("secret"), "operation {round} came out: {text}");
            } else {
                let code = answer.code();
                let known = ["forbidden", "not_found", "conflict", "unprocessable"].contains(&code.as_str());
                assert!(known, "operation {round}: {}", answer.json());
                count.refused += u64::from(code == "forbidden");
            }
            budget.finish();
        }
        count
    }

    async fn operate(&self, client: u64, round: u64, archive: &[u8]) -> Answer {
        let sandbox = &self.sandbox;
        let mine = format!("real/c{client}-{}", round % 16);
        match round % 5 {
            0 => sandbox.get("real/f").await,
            1 => sandbox.put(&mine, "x").await,
            2 if round % 25 == 2 => {
                let import = sandbox.request(Method::PUT, "/archive").query(&[("path", "real")]);
                sandbox.send(import.body(archive.to_vec())).await
            }
            2 if round % 25 == 7 => sandbox.send(sandbox.request(Method::GET, "/archive").query(&[("path", "real")])).await,
            3 if round % 10 == 3 => sandbox.send(sandbox.file(Method::DELETE, &mine)).await,
            _ => {
                let operations = operations(&mine, client, round);
                let (name, request) = &operations[usize::try_from(round / 5).unwrap() % operations.len()];
                sandbox.post(name, request.clone()).await
            }
        }
    }

    /// What is outside is as it was, and nothing of it is inside.
    async fn check(&self) {
        assert_eq!(self.show().await, self.before, "what is outside has changed");
        // The swaps are over, and `real` is the directory.
        let inside = "[ ! -L real ] && ! grep -rs outside copies tree real && ! find copies -name 'secret*' | grep .";
        let copied = self.sandbox.exec(json!({ "command": inside })).await;
        assert!(copied.result.success(), "something was copied from outside: {copied:?}");
        self.sandbox.shell("rm -rf copies; mkdir copies").await;
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // The row is over in either case.
        let _ = std::fs::remove_dir_all(&self.outside);
    }
}

/// What clients do with `mine`, a name below the directory that is swapped.
fn operations(mine: &str, client: u64, round: u64) -> Vec<(&'static str, Value)> {
    let copy = format!("copies/{client}-{}", round % 16);
    vec![
        ("file.read", json!({ "path": "real/f" })),
        ("file.move", json!({ "from": mine, "to": format!("{mine}-moved") })),
        ("file.write", json!({ "path": mine, "content": "x" })),
        ("file.write", json!({ "path": "real/a", "content": "x", "append": true })),
        ("file.write", json!({ "path": "real/e", "content": "x\n" })),
        ("file.edit", json!({ "path": "real/e", "edits": [{ "old": "x", "new": "y" }] })),
        ("file.stat", json!({ "path": "real/f" })),
        ("file.list", json!({ "path": ".", "depth": 3 })),
        ("file.find", json!({ "path": ".", "pattern": "*", "hidden": true, "ignored": true })),
        ("file.search", json!({ "path": "real/f", "pattern": "outside" })),
        ("file.mkdir", json!({ "path": format!("{mine}-d/e"), "parents": true })),
        ("file.remove", json!({ "path": format!("{mine}-d"), "recursive": true })),
        ("file.symlink", json!({ "path": format!("{mine}-l"), "target": "f" })),
        ("file.chmod", json!({ "path": "real/f", "mode": "0640" })),
        ("file.copy", json!({ "from": "real/f", "to": copy })),
        ("file.copy", json!({ "from": "real", "to": format!("{copy}-tree"), "recursive": true })),
        ("file.copy", json!({ "from": "tree", "to": format!("{mine}-tree"), "recursive": true })),
        ("file.move", json!({ "from": format!("{mine}-tree"), "to": format!("{copy}-moved") })),
        ("file.remove", json!({ "path": "real/secret", "recursive": true })),
    ]
}

/// A thread that swaps `real` and `evil` until it is stopped.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn start(root: &Path) -> Self {
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (is_over, count) = (Arc::clone(&stop), Arc::clone(&swaps));
        let [real, evil] = ["real", "evil"].map(|name| root.join(name));
        let swap = move || {
            // It ends with the directory as it began.
            while !is_over.load(Ordering::Relaxed) || count.load(Ordering::Relaxed) % 2 == 1 {
                renameat_with(CWD, &real, CWD, &evil, RenameFlags::EXCHANGE).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        Self { stop, swaps, thread: Some(thread::spawn(swap)) }
    }

    /// How often they were swapped.
    fn stop(self) -> u64 {
        let swaps = Arc::clone(&self.swaps);
        drop(self);
        swaps.load(Ordering::Relaxed)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}
