//! Work on repositories, against a real git server that runs in the sandbox.

mod credentials;
mod errors;
mod history;
mod hostile;
mod poisoned;
mod remote;

use cabana_protocol::git::{self, Change, Clone, Push, PushOutcome, StatusEntry};
use cabana_tests::in_sandbox;
use serde_json::json;

use remote::Remote;

fn entry(path: &str) -> StatusEntry {
    StatusEntry { path: path.into(), from: None, staged: None, unstaged: None, conflict: None }
}

fn status(path: &str) -> git::Status {
    git::Status { path: Some(path.into()), untracked: None }
}

#[tokio::test]
async fn a_repository_is_cloned_changed_and_pushed() {
    in_sandbox(async |sandbox| {
        let remote = Remote::start(sandbox).await;
        let cloned = remote.clone("deep/work").await;
        assert_eq!((cloned.path, cloned.branch.as_deref()), ("deep/work".into(), Some("main")));
        let state = sandbox.call(status("deep/work")).await;
        assert_eq!((state.branch.as_deref(), state.upstream.as_deref()), (Some("main"), Some("origin/main")));
        assert_eq!((state.ahead, state.behind, state.entries.as_slice()), (Some(0), Some(0), &[][..]));
        assert_eq!(state.commit, cloned.commit);

        sandbox.put("deep/work/new", "new\n").await.success();
        sandbox.put("deep/work/file", "line 1\n").await.success();
        let state = sandbox.call(status("deep/work")).await;
        let expected = [
            StatusEntry { unstaged: Some(Change::Modified), ..entry("file") },
            StatusEntry { unstaged: Some(Change::Untracked), ..entry("new") },
        ];
        assert_eq!(state.entries, expected);
        let commit = remote.commit("deep/work", "new", "new\n").await;
        let state = sandbox.call(status("deep/work")).await;
        assert_eq!((state.commit, state.ahead), (Some(commit.clone()), Some(1)));

        let pushed = remote.fold::<Push>(json!({ "path": "deep/work" })).await;
        assert_eq!((pushed.branch.as_str(), pushed.outcome), ("main", PushOutcome::Updated));
        let again = remote.fold::<Clone>(json!({ "url": remote.url("project.git"), "depth": 1, "filter": "blob:none" })).await;
        assert_eq!((again.path, again.commit), ("project".into(), Some(commit)));
        assert_eq!(sandbox.get("project/new").await.success(), b"new\n");
    })
    .await;
}
