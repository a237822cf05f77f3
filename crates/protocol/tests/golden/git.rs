//! The operations on repositories, filled.

use cabana_protocol::{Never, file::Done, git::*};

use super::{Example, StreamExample};

fn repository() -> Option<cabana_protocol::file::FilePath> {
    Some("project".into())
}

fn hash() -> String {
    "0123456789abcdef0123456789abcdef01234567".to_owned()
}

fn progress() -> Vec<TransferEvent> {
    vec![TransferEvent::Progress { phase: "Receiving objects".into(), done: 9, total: 20 }]
}

impl Example for Clone {
    fn request() -> Self {
        Self {
            url: "https://example.com/team/project.git".into(),
            path: repository(),
            branch: Some("main".into()),
            depth: Some(1),
            filter: Some("blob:none".into()),
            credentials: Some(Credentials::Token { token: "a-token".into() }),
            timeout_ms: Some(60_000),
        }
    }
    fn response() -> Cloned {
        Cloned { path: "project".into(), branch: Some("main".into()), commit: Some(hash()) }
    }
}

impl StreamExample for Clone {
    fn events() -> Vec<TransferEvent> {
        progress()
    }
    fn inputs() -> Vec<Never> {
        Vec::new()
    }
}

impl Example for Status {
    fn request() -> Self {
        Self { path: repository(), untracked: Some(false) }
    }
    fn response() -> State {
        let entry = |path: &str| StatusEntry { path: path.into(), from: None, staged: None, unstaged: None, conflict: None };
        State {
            branch: Some("main".into()),
            commit: Some(hash()),
            upstream: Some("origin/main".into()),
            ahead: Some(1),
            behind: Some(0),
            entries: vec![
                StatusEntry {
                    from: Some("old".into()),
                    staged: Some(Change::Renamed),
                    unstaged: Some(Change::Modified),
                    ..entry("new")
                },
                StatusEntry { conflict: Some(Conflict::BothModified), ..entry("both") },
            ],
            truncated: false,
        }
    }
}

impl Example for Diff {
    fn request() -> Self {
        Self { path: repository(), staged: true, from: Some("HEAD~2".into()), to: Some("main".into()), paths: vec!["src".into()] }
    }
    fn response() -> Difference {
        Difference {
            files: vec![FileDifference { path: "new".into(), from: Some("old".into()), added: Some(1), deleted: Some(0) }],
            patch: "diff --git a/old b/new\n".into(),
            truncated: true,
        }
    }
}

impl Example for Log {
    fn request() -> Self {
        Self { path: repository(), revision: Some("main".into()), limit: Some(10), skip: Some(20), paths: vec!["src".into()] }
    }
    fn response() -> History {
        let signature =
            || Signature { name: "Ada".into(), email: "ada@example.com".into(), at: "2026-11-20T12:00:00+01:00".into() };
        let commit = LogEntry {
            commit: hash(),
            parents: vec![hash()],
            author: signature(),
            committer: signature(),
            message: "Say hello\n".into(),
        };
        History { commits: vec![commit], more: true }
    }
}

impl Example for Branch {
    fn request() -> Self {
        let create = BranchAction::Create { name: "feature".into(), start: Some("main".into()) };
        Self { path: repository(), action: Some(create), remotes: true }
    }
    fn response() -> Branches {
        let main = BranchInfo {
            name: "main".into(),
            commit: hash(),
            upstream: Some("origin/main".into()),
            current: true,
            remote: false,
        };
        Branches { branches: vec![main], truncated: false }
    }
}

impl Example for Checkout {
    fn request() -> Self {
        Self { path: repository(), branch: Some("feature".into()), commit: Some("HEAD~1".into()), create: true }
    }
    fn response() -> CheckedOut {
        CheckedOut { branch: Some("feature".into()), commit: Some(hash()) }
    }
}

impl Example for Add {
    fn request() -> Self {
        Self { path: repository(), paths: vec!["src".into(), vec![b'a', 0xff].into()], all: true }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Commit {
    fn request() -> Self {
        let author = Some(Person { name: "Ada".into(), email: "ada@example.com".into() });
        Self { path: repository(), message: "Say hello".into(), author, all: true, allow_empty: true }
    }
    fn response() -> Committed {
        Committed { commit: hash(), branch: Some("main".into()) }
    }
}

impl Example for Pull {
    fn request() -> Self {
        Self {
            path: repository(),
            remote: Some("origin".into()),
            branch: Some("main".into()),
            strategy: Some(Strategy::Merge),
            author: Some(Person { name: "Ada".into(), email: "ada@example.com".into() }),
            credentials: Some(Credentials::Password { username: "ada".into(), password: "a-password".into() }),
            timeout_ms: Some(60_000),
        }
    }
    fn response() -> Pulled {
        Pulled { branch: Some("main".into()), commit: Some(hash()), updated: true }
    }
}

impl StreamExample for Pull {
    fn events() -> Vec<TransferEvent> {
        progress()
    }
    fn inputs() -> Vec<Never> {
        Vec::new()
    }
}

impl Example for Push {
    fn request() -> Self {
        Self {
            path: repository(),
            remote: Some("origin".into()),
            branch: Some("main".into()),
            force: true,
            set_upstream: true,
            credentials: Some(Credentials::Token { token: "a-token".into() }),
            timeout_ms: Some(60_000),
        }
    }
    fn response() -> Pushed {
        Pushed { branch: "main".into(), outcome: PushOutcome::Created }
    }
}

impl StreamExample for Push {
    fn events() -> Vec<TransferEvent> {
        progress()
    }
    fn inputs() -> Vec<Never> {
        Vec::new()
    }
}
