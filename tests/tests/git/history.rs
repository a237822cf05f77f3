//! Branches, commits and the differences between them.

use cabana_protocol::git::{
    self, Add, Branch, BranchAction, Checkout, Clone, Commit, Conflict, Diff, Log, Pull, Push, PushOutcome, TransferEvent,
};
use cabana_protocol::{file::FilePath, line::LineOf};
use cabana_tests::{Answer, NDJSON, Sandbox, in_agent, in_sandbox};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{
    remote::{IDENTITY, Remote, author},
    status,
};

fn log() -> Log {
    Log { path: Some("work".into()), revision: None, limit: None, skip: None, paths: Vec::new() }
}

fn diff() -> Diff {
    Diff { path: Some("work".into()), staged: false, from: None, to: None, paths: Vec::new() }
}

fn checkout(branch: Option<&str>, commit: Option<&str>, create: bool) -> Checkout {
    Checkout { path: Some("work".into()), branch: branch.map(Into::into), commit: commit.map(Into::into), create }
}

fn reason(answer: &Answer) -> Value {
    answer.json()["error"]["details"]["reason"].clone()
}

#[tokio::test]
async fn commits_are_listed_page_by_page() {
    in_sandbox(async |sandbox| {
        Remote::start(sandbox).await.clone("work").await;
        let all = sandbox.call(log()).await;
        let messages: Vec<_> = all.commits.iter().map(|commit| String::from_utf8_lossy(&commit.message.0).into_owned()).collect();
        assert_eq!((messages, all.more), (vec!["number 3\n".into(), "number 2\n".into(), "number 1\n".into()], false));
        assert_eq!((&all.commits[0].parents[0], &all.commits[2].parents), (&all.commits[1].commit, &vec![]));
        assert_eq!((&all.commits[0].author.name, &all.commits[0].committer.email), (&"Ada".into(), &"ada@example.com".into()));
        let page = sandbox.call(Log { limit: Some(1), skip: Some(1), ..log() }).await;
        assert_eq!((page.commits.as_slice(), page.more), (&all.commits[1..2], true));
        let feature = sandbox.call(Log { revision: Some("origin/feature".into()), paths: vec!["other".into()], ..log() }).await;
        assert_eq!((feature.commits.len(), feature.more), (1, false));
        sandbox.shell("git init -q work/none").await;
        let none = sandbox.call(Log { path: Some("work/none".into()), ..log() }).await;
        assert_eq!((none.commits, none.more), (vec![], false));
    })
    .await;
}

#[tokio::test]
async fn branches_are_created_and_deleted() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        remote.clone("work").await;
        let branch = async |action, remotes| {
            let branches = sandbox.call(Branch { path: Some("work".into()), action, remotes }).await.branches;
            branches
                .into_iter()
                .map(|branch| format!("{}{}", if branch.current { "*" } else { "" }, branch.name))
                .collect::<Vec<_>>()
        };
        assert_eq!(branch(None, true).await, ["*main", "origin/feature", "origin/main"]);
        let create = BranchAction::Create { name: "old".into(), start: Some("HEAD~1".into()) };
        assert_eq!(branch(Some(create), false).await, ["*main", "old"]);

        let out = sandbox.call(checkout(Some("feature"), None, false)).await;
        assert_eq!(out.branch.as_deref(), Some("feature"));
        assert_eq!(sandbox.call(status("work")).await.upstream.as_deref(), Some("origin/feature"));
        let detached = sandbox.call(checkout(None, Some("old"), false)).await;
        assert_eq!((detached.branch, sandbox.call(status("work")).await.branch), (None, None));
        let new = sandbox.call(checkout(Some("new"), Some("main~2"), true)).await;
        assert_eq!(new.branch.as_deref(), Some("new"));
        remote.commit("work", "file", "new\n").await;

        sandbox.put("work/file", "not committed\n").await.success();
        let answer = sandbox.post("git.checkout", json!({ "path": "work", "branch": "main" })).await;
        assert_eq!((answer.code(), reason(&answer)), ("conflict".into(), json!("local_changes")));
        sandbox.shell("git -C work checkout -q file").await;
        sandbox.call(checkout(Some("main"), None, false)).await;
        let delete = |force| json!({ "path": "work", "action": { "type": "delete", "name": "new", "force": force } });
        let answer = sandbox.post("git.branch", delete(false)).await;
        assert_eq!((answer.code(), reason(&answer)), ("conflict".into(), json!("not_merged")));
        sandbox.post("git.branch", delete(true)).await.success();
        assert_eq!(branch(None, false).await, ["feature", "*main", "old"]);
    })
    .await;
}

#[tokio::test]
async fn diff_shows_every_kind_of_change() {
    in_sandbox(async |sandbox| {
        Remote::start(sandbox).await.clone("work").await;
        sandbox.put("work/file", "line 1\nline two\nline 3\n").await.success();
        sandbox.put("work/binary", "a\0b").await.success();
        sandbox.shell("cd work; git mv file moved; git add binary; echo unstaged >> moved").await;
        let shown = |difference: git::Difference| {
            let files = difference
                .files
                .iter()
                .map(|file| (file.path.to_string(), file.from.as_ref().map(ToString::to_string), file.added, file.deleted));
            (files.collect::<Vec<_>>(), String::from_utf8_lossy(&difference.patch.0).into_owned())
        };
        let (files, patch) = shown(sandbox.call(diff()).await);
        assert_eq!(files, [("moved".into(), None, Some(2), Some(1))]);
        assert!(patch.starts_with("diff --git a/moved b/moved\n") && patch.contains("\n+unstaged\n"), "{patch}");
        let (files, patch) = shown(sandbox.call(Diff { staged: true, ..diff() }).await);
        assert_eq!(files, [("binary".into(), None, None, None), ("moved".into(), Some("file".into()), Some(0), Some(0))]);
        assert!(patch.contains("Binary files") && patch.contains("rename from file\nrename to moved\n"), "{patch}");
        let between = Diff { from: Some("HEAD~2".into()), to: Some("HEAD".into()), ..diff() };
        let (files, _) = shown(sandbox.call(between.clone()).await);
        assert_eq!(files, [("file".into(), None, Some(2), Some(0))]);
        let (files, patch) = shown(sandbox.call(Diff { paths: vec!["none".into()], ..between }).await);
        assert_eq!((files, patch), (vec![], String::new()));
    })
    .await;
}

#[tokio::test]
async fn names_of_any_bytes_survive() {
    in_sandbox(async |sandbox| {
        sandbox.shell("git init -q work").await;
        let names: [FilePath; 4] = ["a\nb\tc".into(), "-x".into(), ":(glob)*".into(), vec![b'f', 0xff].into()];
        for name in &names {
            let path: FilePath = [b"work/", name.as_bytes()].concat().into();
            sandbox.post("file.write", json!({ "path": path, "content": "x" })).await.success();
        }
        let listed = async || {
            let entries = sandbox.call(status("work")).await.entries;
            entries.into_iter().map(|entry| (entry.path.as_bytes().to_vec(), entry.staged.is_some())).collect::<Vec<_>>()
        };
        let mut expected: Vec<_> = names.iter().map(|name| (name.as_bytes().to_vec(), false)).collect();
        expected.sort();
        let mut untracked = listed().await;
        untracked.sort();
        assert_eq!(untracked, expected);
        sandbox.call(Add { path: Some("work".into()), paths: names.to_vec(), all: false }).await;
        assert_eq!(listed().await.iter().filter(|(_, staged)| *staged).count(), names.len());
        let staged = sandbox.call(Diff { staged: true, ..diff() }).await;
        assert_eq!(staged.files.len(), names.len());
    })
    .await;
}

async fn both_sides_commit(sandbox: &Sandbox) -> Remote<'_> {
    let remote = Remote::start(sandbox).await;
    for clone in ["work", "theirs"] {
        remote.clone(clone).await;
    }
    remote.commit("theirs", "file", "theirs\n").await;
    remote.fold::<Push>(json!({ "path": "theirs" })).await;
    remote.commit("work", "file", "ours\n").await;
    remote
}

#[tokio::test]
async fn diverged_branches_are_merged_only_on_request() {
    in_sandbox(async |sandbox| {
        let remote = both_sides_commit(sandbox).await;
        for (operation, request) in [("git.push", json!({ "path": "work" })), ("git.pull", json!({ "path": "work" }))] {
            let answer = sandbox.post(operation, request).await;
            assert_eq!((answer.code(), reason(&answer)), ("conflict".into(), json!("diverged")), "{}", answer.json());
        }
        let merge = json!({ "path": "work", "strategy": "merge" });
        sandbox.shell("git -C work config user.name Ada; git -C work config user.email ada@example.com").await;
        let answer = sandbox.post("git.pull", merge.clone()).await;
        assert_eq!((answer.code(), reason(&answer)), ("conflict".into(), json!("merge_conflict")), "{}", answer.json());
        let state = sandbox.call(status("work")).await;
        assert_eq!((state.entries.len(), state.entries[0].conflict), (1, Some(Conflict::BothModified)));
        let answer = sandbox.post("git.commit", json!({ "path": "work", "message": "too early" })).await;
        assert_eq!((answer.code(), reason(&answer)), ("conflict".into(), json!("merge_conflict")), "{}", answer.json());
        let answer = sandbox.post("git.pull", merge).await;
        assert_eq!((answer.code(), reason(&answer)), ("conflict".into(), json!("merge_conflict")), "{}", answer.json());
        let merged = remote.commit("work", "file", "both\n").await;
        let history = sandbox.call(Log { limit: Some(1), ..log() }).await;
        assert_eq!((&history.commits[0].commit, history.commits[0].parents.len()), (&merged, 2));
        assert_eq!(remote.fold::<Push>(json!({ "path": "work" })).await.outcome, PushOutcome::Updated);
        assert_eq!(remote.fold::<Push>(json!({ "path": "work" })).await.outcome, PushOutcome::UpToDate);
        let pulled = remote.fold::<Pull>(json!({ "path": "theirs" })).await;
        assert_eq!((pulled.updated, pulled.commit, pulled.branch.as_deref()), (true, Some(merged), Some("main")));
    })
    .await;
}

#[tokio::test]
async fn a_pull_that_merges_takes_an_author() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        for clone in ["work", "theirs"] {
            remote.clone(clone).await;
        }
        remote.commit("theirs", "one", "theirs\n").await;
        remote.fold::<Push>(json!({ "path": "theirs" })).await;
        remote.commit("work", "other", "ours\n").await;
        sandbox.shell("git -C work config user.email ''; git -C work config user.name ''").await;
        let merge = json!({ "path": "work", "strategy": "merge" });
        let answer = sandbox.post("git.pull", merge.clone()).await;
        assert_eq!((answer.code(), reason(&answer)), ("unprocessable".into(), json!("identity")), "{}", answer.json());
        let person =
            |name: &str| json!({ "path": "work", "strategy": "merge", "author": { "name": name, "email": "ada@example.com" } });
        assert_eq!(sandbox.post("git.pull", person("<")).await.code(), "invalid_request");
        let pulled = remote.fold::<Pull>(person("Ada")).await;
        let history = sandbox.call(Log { limit: Some(1), ..log() }).await;
        let merged = &history.commits[0];
        assert_eq!((Some(&merged.commit), merged.parents.len()), (pulled.commit.as_ref(), 2));
        assert_eq!((&merged.author.name, &merged.committer.email), (&"Ada".into(), &"ada@example.com".into()));
    })
    .await;
}

#[tokio::test]
async fn a_forced_push_replaces_only_known_commits() {
    in_sandbox(async |sandbox| {
        let remote = both_sides_commit(sandbox).await;
        let force = json!({ "path": "work", "force": true });
        let answer = sandbox.post("git.push", force.clone()).await;
        assert_eq!((answer.code(), reason(&answer)), ("conflict".into(), json!("stale")), "{}", answer.json());
        sandbox.shell("git -C work fetch -q").await;
        assert_eq!(remote.fold::<Push>(force).await.outcome, PushOutcome::Forced);
        sandbox.call(checkout(Some("fresh"), None, true)).await;
        let push = json!({ "path": "work", "set_upstream": true });
        let pushed = remote.fold::<Push>(push).await;
        assert_eq!((pushed.branch.as_str(), pushed.outcome), ("fresh", PushOutcome::Created));
        assert_eq!(sandbox.call(status("work")).await.upstream.as_deref(), Some("origin/fresh"));
        let refuse =
            "cd served/project.git; mkdir -p hooks; printf '#!/bin/sh\\nexit 1\\n' > hooks/pre-receive; chmod +x hooks/*";
        sandbox.shell(refuse).await;
        remote.commit("work", "file", "more\n").await;
        let answer = sandbox.post("git.push", json!({ "path": "work" })).await;
        assert_eq!((answer.code(), reason(&answer)), ("forbidden".into(), json!("remote_rejected")), "{}", answer.json());
    })
    .await;
}

#[tokio::test]
async fn a_commit_has_an_author() {
    in_sandbox(async |sandbox| {
        // No configuration but the repository's own, whatever the machine's has.
        sandbox.shell("git init -q -b main work; git -C work config user.email ''; git -C work config user.name ''").await;
        let commit = |author| Commit {
            path: Some("work".into()),
            message: "first\n\nbody \n\n".into(),
            author,
            all: false,
            allow_empty: true,
        };
        let answer = sandbox.post("git.commit", serde_json::to_value(commit(None)).unwrap()).await;
        assert_eq!((answer.code(), reason(&answer)), ("unprocessable".into(), json!("identity")), "{}", answer.json());
        let committed = sandbox.call(commit(author())).await;
        assert_eq!(committed.branch.as_deref(), Some("main"));
        let history = sandbox.call(log()).await;
        assert_eq!((&history.commits[0].commit, &history.commits[0].message), (&committed.commit, &"first\n\nbody\n".into()));
        assert_eq!(history.commits[0].author.email, "ada@example.com".into());
    })
    .await;
}

#[tokio::test]
async fn a_clone_reports_its_progress() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let request = serde_json::from_value(json!({ "url": remote.url("project.git"), "path": "work" })).unwrap();
        let mut lines = sandbox.listen::<Clone>(NDJSON, &request).await;
        let mut phases = Vec::new();
        let cloned = loop {
            match lines.next().await.unwrap() {
                LineOf::<Clone>::Event(TransferEvent::Progress { phase, done, total }) => {
                    assert!(done <= total);
                    phases.push(phase);
                }
                LineOf::<Clone>::Result(cloned) => break cloned,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(cloned.branch.as_deref(), Some("main"));
        // Progress is best effort: a listener that is slow misses some of it.
        let known = ["Counting objects", "Compressing objects", "Receiving objects", "Resolving deltas"];
        assert!(!phases.is_empty() && phases.iter().all(|phase| known.contains(&phase.as_str())), "{phases:?}");
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn long_output_is_cut_and_says_so() {
        in_agent(&[("CABANA_MAX_GIT_OUTPUT_BYTES", "1000")], async |sandbox| {
            let script = "git init -q work; cd work; seq 1000 > tracked; git add tracked; git commit -qm 1; seq 2000 3000 > tracked; \
                          for number in $(seq 100); do echo $number > file-$number; done";
            sandbox.shell(&format!("{IDENTITY} {script}")).await;
            let state = sandbox.call(status("work")).await;
            assert!(state.truncated && (10..101).contains(&state.entries.len()), "{state:?}");
            assert!(state.entries.iter().skip(1).all(|entry| entry.path.to_string().starts_with("file-")), "whole names only");
            let difference = sandbox.call(diff()).await;
            assert_eq!((difference.truncated, difference.patch.0.len(), difference.files.len()), (true, 1_000, 1));
        })
        .await;
    }
}
