//! Watching: every kind of change, in order, however quickly it comes.

use std::collections::{BTreeSet, HashSet};

use cabana_protocol::{
    Code,
    exec::MAX_TIMEOUT_MS,
    file::{Change, FilePath, GetChanges, RecentChanges, Watch, WatchEnd},
    line::LineOf,
};
use cabana_tests::{NDJSON, Sandbox, in_agent, in_sandbox, until};
use futures_util::{Stream, StreamExt};
use serde_json::json;

fn watch(path: &str) -> Watch {
    Watch { path: path.into(), recursive: None, include: Vec::new(), exclude: None, limit: None, timeout_ms: None, session: None }
}

/// A watch past its `ready`.
struct Listener<S>(S);

async fn listen(sandbox: &Sandbox, request: &Watch) -> Listener<impl Stream<Item = LineOf<Watch>> + Unpin + use<>> {
    let mut lines = sandbox.listen(NDJSON, request).await;
    assert_eq!(lines.next().await, Some(LineOf::<Watch>::Event(Change::Ready {})));
    Listener(lines)
}

impl<S: Stream<Item = LineOf<Watch>> + Unpin> Listener<S> {
    async fn next(&mut self) -> Change {
        match self.0.next().await {
            Some(LineOf::<Watch>::Event(change)) => change,
            other => panic!("{other:?}"),
        }
    }

    async fn end(&mut self) -> WatchEnd {
        loop {
            match self.0.next().await {
                Some(LineOf::<Watch>::Event(_)) => {}
                Some(LineOf::<Watch>::Result(watched)) => return watched.reason,
                other => panic!("{other:?}"),
            }
        }
    }

    /// What is told until this file appears. That something new, or such a file, was also written to depends on when it is looked
    /// at, and is left out.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let (mut told, mut new) = (Vec::new(), HashSet::new());
        loop {
            let change = self.next().await;
            match &change {
                Change::Created { path, .. } if *path == last.into() => return told,
                Change::Created { path, .. } => drop(new.insert(path.to_string())),
                Change::Modified { path } | Change::Attributes { path, .. } if new.contains(&path.to_string()) => continue,
                _ => {}
            }
            let line = show(&change);
            if !line.starts_with("attributes end") {
                told.push(line);
            }
        }
    }
}

fn show(change: &Change) -> String {
    let directory = |directory: &bool| if *directory { "/" } else { "" };
    match change {
        Change::Ready {} => "ready".to_owned(),
        Change::Created { path, directory: is } => format!("created {path}{}", directory(is)),
        Change::Modified { path } => format!("modified {path}"),
        Change::Attributes { path, directory: is } => format!("attributes {path}{}", directory(is)),
        Change::Removed { path, directory: is } => format!("removed {path}{}", directory(is)),
        Change::Renamed { from, to, directory: is } => format!("renamed {from} {to}{}", directory(is)),
        Change::Overflow {} => "overflow".to_owned(),
    }
}

#[tokio::test]
async fn each_change_is_reported_by_its_kind() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p w/old/deep w/gone .out/in && touch w/f w/g w/old/deep/x .out/in/y").await;
        let mut listener = listen(sandbox, &watch("w")).await;
        for (number, (script, expected)) in [
            ("touch new", &["created new"][..]),
            ("echo x >> f", &["modified f"]),
            ("chmod 600 f", &["attributes f"]),
            ("rm f", &["removed f"]),
            ("mv g h", &["renamed g h"]),
            ("echo 1 > t && mv t h", &["created t", "renamed t h"]),
            ("mkdir d", &["created d/"]),
            ("touch d/a", &["created d/a"]),
            ("mv d e && touch e/b", &["renamed d e/", "created e/b"]),
            ("echo x >> old/deep/x", &["modified old/deep/x"]),
            ("mv old older && echo x >> older/deep/x", &["renamed old older/", "modified older/deep/x"]),
            ("mv older/deep moved && echo x >> moved/x", &["renamed older/deep moved/", "modified moved/x"]),
            ("rmdir gone && mkdir gone && touch gone/again", &["removed gone/", "created gone/", "created gone/again"]),
            ("mv moved ../.out/moved && echo x >> ../.out/moved/x", &["removed moved/"]),
            ("mv ../.out/in in", &["created in/", "created in/y"]),
            ("echo x >> in/y", &["modified in/y"]),
            ("ln -s f link", &["created link"]),
            ("ln -s ../.out elsewhere && touch ../.out/z", &["created elsewhere"]),
            ("rm -r in", &["removed in/y", "removed in/"]),
            ("mkdir .git node_modules && touch .git/a node_modules/b .DS_Store", &[]),
            ("mv node_modules/b b", &["created b"]),
            ("mkdir node_modules/m && touch node_modules/m/c && mv node_modules/m m", &["created m/", "created m/c"]),
            ("mv m .git/m", &["removed m/"]),
        ]
        .into_iter()
        .enumerate()
        {
            let last = format!("end{number}");
            sandbox.shell(&format!("cd w && {script} && touch {last}")).await;
            assert_eq!(listener.until(&last).await, expected, "{script}");
        }
    })
    .await;
}

#[tokio::test]
async fn directories_created_in_a_burst_are_reported_whole() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir w").await;
        let mut listener = listen(sandbox, &watch("w")).await;
        sandbox
            .shell(
                "cd w && mkdir -p a/b/c && for i in $(seq 500); do mkdir -p a/$i/x && touch a/$i/x/f; done && touch a/b/c/f end",
            )
            .await;
        let told = listener.until("end").await;
        let once: BTreeSet<_> = told.iter().cloned().collect();
        let found =
            sandbox.shell("cd w && find * -type d -printf 'created %p/\\n' -o -type f ! -name end -printf 'created %p\\n'").await;
        assert_eq!(once, found.lines().map(str::to_owned).collect::<BTreeSet<_>>());
        assert_eq!(told.len(), once.len(), "something is told twice");
    })
    .await;
}

#[tokio::test]
async fn a_burst_of_changes_is_reported_whole_or_as_lost() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p w/sub").await;
        let mut listener = listen(sandbox, &watch("w")).await;
        // Nobody listens meanwhile, and the kernel keeps 16,384 events.
        sandbox.shell("cd w && python3 -c 'for i in range(20000): open(f\"sub/{i}\", \"w\").close()'").await;
        let (mut created, mut overflow, mut number) = (HashSet::new(), false, 0);
        loop {
            match listener.next().await {
                Change::Created { path, .. } if path.to_string().starts_with("sub/") => drop(created.insert(path.to_string())),
                Change::Created { path, .. } if path.to_string().starts_with("end") => break,
                Change::Overflow {} => overflow = true,
                _ => {}
            }
            if created.len() == 20_000 || overflow {
                // The loss may take this one with it; then another is seen.
                sandbox.shell(&format!("touch w/end{number}")).await;
                number += 1;
            }
        }
        assert!(overflow || created.len() == 20_000, "{} of 20,000, and no word of the rest", created.len());
        // What is made after the loss is told again, below as well.
        sandbox.shell("touch w/sub/after w/last").await;
        assert!(listener.until("last").await.contains(&"created sub/after".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn only_matching_changes_are_reported() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p w/sub/below w/.git").await;
        let all = Some(Vec::new());
        for (number, (request, expected)) in [
            (Watch { recursive: Some(false), ..watch("w") }, &["created top.rs", "created top.c"][..]),
            (Watch { include: vec!["*.rs".into(), "end*".into()], ..watch("w") }, &["created top.rs", "created sub/a.rs"]),
            (Watch { include: vec!["sub/*".into(), "end*".into()], ..watch("w") }, &["created sub/a.rs", "created sub/b.c"]),
            (Watch { exclude: Some(vec!["sub".into(), ".git".into()]), ..watch("w") }, &["created top.rs", "created top.c"]),
            (
                Watch { exclude: all, ..watch("w") },
                &["created top.rs", "created top.c", "created sub/a.rs", "created sub/b.c", "created .git/x"],
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let mut listener = listen(sandbox, &request).await;
            let last = format!("end{number}");
            sandbox.shell(&format!("cd w && touch top.rs top.c sub/a.rs sub/b.c .git/x && touch {last}")).await;
            assert_eq!(listener.until(&last).await, expected, "{request:?}");
            sandbox.shell("cd w && rm top.* sub/*.* .git/x").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_is_watched_by_its_name() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir w && echo 1 > w/real && ln -s real w/link && touch w/other").await;
        let mut listener = listen(sandbox, &Watch { limit: Some(3), ..watch("w/link") }).await;
        sandbox.shell("echo 1 > w/other && echo 2 >> w/real").await;
        assert_eq!(show(&listener.next().await), "modified real");
        // As most editors save.
        sandbox.shell("echo 3 > w/.real && mv w/.real w/real").await;
        assert_eq!(show(&listener.next().await), "modified real");
        sandbox.shell("rm w/real").await;
        assert_eq!(show(&listener.next().await), "removed real");
        assert_eq!(listener.end().await, WatchEnd::Limit);
    })
    .await;
}

#[tokio::test]
async fn only_names_that_a_user_made_are_reported() {
    in_sandbox(async |sandbox| {
        sandbox
            .shell("mkdir -p w/sub from/tree && echo 1 > from/f && echo 2 > from/tree/g && cd from && tar -cf ../archive f")
            .await;
        let archive = sandbox.get("archive").await.success();
        let mut listener = listen(sandbox, &watch("w")).await;
        let diff = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-edited\n+patched\n--- a/copy\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n";
        for (number, (name, request, expected)) in [
            ("file.write", json!({ "path": "w/f", "content": "1\n" }), &["created f"][..]),
            ("file.write", json!({ "path": "w/f", "content": "2\n" }), &["modified f"]),
            ("file.write", json!({ "path": "w/f", "content": "3\n", "append": true }), &["modified f"]),
            ("file.edit", json!({ "path": "w/f", "edits": [{ "old": "2\n3", "new": "edited" }] }), &["modified f"]),
            ("file.copy", json!({ "from": "from/f", "to": "w/copy" }), &["created copy"]),
            ("file.copy", json!({ "from": "from/f", "to": "w/copy" }), &["modified copy"]),
            ("file.patch", json!({ "path": "w", "patch": diff }), &["removed copy", "modified f"]),
            (
                "file.copy",
                json!({ "from": "from/tree", "to": "w/tree", "recursive": true }),
                &["created tree/", "created tree/g"],
            ),
            ("file.symlink", json!({ "path": "w/link", "target": "f" }), &["created link"]),
            ("file.move", json!({ "from": "w/f", "to": "w/g" }), &["renamed f g"]),
            ("PUT", json!("w/sub/lane"), &["created sub/lane"]),
            ("PUT", json!("w/sub/lane"), &["modified sub/lane"]),
            ("archive", json!("w/sub"), &["created sub/f"]),
            ("archive", json!("w/sub"), &["modified sub/f"]),
            ("shell", json!("touch 'w/#123' && echo x >> 'w/#123'"), &["created #123"]),
        ]
        .into_iter()
        .enumerate()
        {
            match name {
                "PUT" => drop(sandbox.put(request.as_str().unwrap(), "x".repeat(100_000)).await.success()),
                "archive" => {
                    let import = sandbox.request(reqwest::Method::PUT, "/archive").query(&[("path", request.as_str().unwrap())]);
                    sandbox.send(import.body(archive.clone())).await.success();
                }
                "shell" => drop(sandbox.shell(request.as_str().unwrap()).await),
                name => drop(sandbox.post(name, request.clone()).await.success()),
            }
            let last = format!("end{number}");
            sandbox.shell(&format!("touch w/{last}")).await;
            let mut told = listener.until(&last).await;
            // Modes, owners and times of what is there are theirs to tell.
            told.retain(|change| !change.starts_with("attributes"));
            assert_eq!(told, expected, "{name} {request}");
        }
        let mut limited = listen(sandbox, &Watch { limit: Some(1), ..watch("w") }).await;
        sandbox.put("w/counted", "x".repeat(100_000)).await.success();
        assert_eq!(show(&limited.next().await), "created counted");
        assert_eq!(limited.end().await, WatchEnd::Limit);
    })
    .await;
}

#[tokio::test]
async fn changes_of_names_of_any_bytes_are_reported() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir w").await;
        let mut listener = listen(sandbox, &watch("w")).await;
        for name in [&b"a\nb"[..], b"\xff\xfe", b" ", b"-rf", "\u{202e}\u{1f30a}".as_bytes()] {
            let script = "import os, sys; open(b'w/' + bytes.fromhex(sys.argv[1]), 'w').close()";
            let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
            sandbox.exec(json!({ "command": ["python3", "-c", script, hex] })).await;
            let created = loop {
                if let Change::Created { path, .. } = listener.next().await {
                    break path;
                }
            };
            assert_eq!(created, FilePath::from(name.to_vec()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_watch_ends_with_what_it_watches() {
    in_sandbox(async |sandbox| {
        for (script, expected) in [("rm -r w", WatchEnd::Removed), ("mv w v", WatchEnd::Moved)] {
            sandbox.shell("mkdir -p w/sub").await;
            let mut listener = listen(sandbox, &watch("w")).await;
            sandbox.shell(script).await;
            assert_eq!(listener.end().await, expected, "{script}");
        }
        sandbox.shell("mkdir w").await;
        let short = Watch { timeout_ms: Some(1), ..watch("w") };
        assert_eq!(listen(sandbox, &short).await.end().await, WatchEnd::TimedOut);
        for (request, reason) in [
            (json!({ "path": "w", "timeout_ms": 100 }), "timed_out"),
            (json!({ "path": "w", "limit": 1, "timeout_ms": 60_000 }), "limit"),
        ] {
            // Changes go on until the answer is there: nothing shows when the JSON form has begun to listen.
            let changes = async {
                for number in 0.. {
                    sandbox.shell(&format!("touch w/{reason}{number}")).await;
                }
            };
            let answer = tokio::select! {
                answer = sandbox.post("file.watch", request) => answer.json(),
                () = changes => unreachable!("changes never end"),
            };
            assert_eq!((&answer["reason"], &answer["truncated"]), (&json!(reason), &json!(false)), "{answer}");
        }
        let mut socket = sandbox.connect().await;
        socket.send("file.watch", "a", json!({ "path": "w" })).await;
        assert_eq!(socket.wait_for("event", "a").await["type"], "ready");
        socket.send("cancel", "a", json!({})).await;
        assert_eq!(socket.wait_for("error", "a").await["code"], "interrupted");
    })
    .await;
}

#[tokio::test]
async fn paths_that_cannot_be_watched_are_refused() {
    in_sandbox(async |sandbox| {
        sandbox.shell("ln -s / out").await;
        for (request, code) in [
            (json!({ "path": "none" }), "not_found"),
            (json!({ "path": "/etc" }), "forbidden"),
            (json!({ "path": "out/etc" }), "forbidden"),
            (json!({ "path": ".", "include": ["a["] }), "invalid_request"),
            (json!({ "path": ".", "limit": 0 }), "invalid_request"),
            (json!({ "path": ".", "timeout_ms": 0 }), "invalid_request"),
            (json!({ "path": ".", "timeout_ms": MAX_TIMEOUT_MS + 1 }), "invalid_request"),
        ] {
            assert_eq!(sandbox.post("file.watch", request.clone()).await.code(), code, "{request}");
        }
    })
    .await;
}

#[tokio::test]
async fn changes_are_polled_by_version() {
    in_sandbox(async |sandbox| {
        let ask = |since: Option<String>, path: &str| GetChanges {
            path: path.into(),
            recursive: None,
            include: Vec::new(),
            exclude: None,
            since,
            session: None,
        };
        let shown = |recent: &RecentChanges| recent.changes.iter().map(show).collect::<Vec<_>>();
        sandbox.shell("mkdir w").await;
        let first = sandbox.call(ask(None, "w")).await;
        assert_eq!((shown(&first), first.resync), (vec![], false));
        sandbox.shell("mkdir w/d && touch w/d/f").await;
        let second = sandbox.call(ask(Some(first.version.clone()), "w")).await;
        assert_eq!((shown(&second), second.resync), (vec!["created d/".to_owned(), "created d/f".to_owned()], false));
        let idle = sandbox.call(ask(Some(second.version.clone()), "w")).await;
        assert_eq!((shown(&idle), idle.resync, &idle.version), (vec![], false, &second.version));
        sandbox.shell("mv w/d/f w/g").await;
        let third = sandbox.call(ask(Some(second.version), "w")).await;
        assert_eq!(shown(&third), ["renamed d/f g"]);
        assert_eq!(shown(&sandbox.call(ask(Some(first.version.clone()), "w")).await).len(), 3, "a second caller hears it all");
        for unknown in ["", "abcdef-1.0", "x"] {
            assert!(sandbox.call(ask(Some(unknown.into()), "w")).await.resync, "{unknown:?}");
        }
        sandbox.shell("rm -r w && mkdir w").await;
        sandbox.call(ask(Some(third.version.clone()), "w")).await;
        assert!(sandbox.call(ask(Some(third.version), "w")).await.resync, "another directory");
        assert_eq!(sandbox.post("file.changes", json!({ "path": "none" })).await.code(), "not_found");
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn watches_above_the_limit_are_refused_until_one_ends() {
        in_agent(&[("CABANA_MAX_WATCHES", "2"), ("CABANA_MAX_WATCHED_DIRECTORIES", "3")], async |sandbox| {
            sandbox.shell("mkdir -p w/a w/b v").await;
            let mut listener = listen(sandbox, &watch("w")).await;
            let other = listen(sandbox, &watch("v")).await;
            let refused = sandbox.post("file.watch", json!({ "path": "v" })).await;
            assert_eq!((refused.code(), &refused.json()["error"]["details"]["limit"]), ("too_many_requests".into(), &json!(2)));
            drop(other);
            until("there is room", async || {
                sandbox.post("file.watch", json!({ "path": "v", "timeout_ms": 1 })).await.status == 200
            })
            .await;
            sandbox.shell("mkdir w/c").await;
            let ended = loop {
                match listener.0.next().await {
                    Some(LineOf::<Watch>::Event(_)) => {}
                    Some(LineOf::<Watch>::Error(error)) => break error,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!((ended.code, &ended.details.unwrap()["limit"]), (Code::TooManyRequests, &json!(3)));
        })
        .await;
    }
}
