//! The operations on files, filled.

use cabana_protocol::{file::*, *};

use super::{Example, StreamExample};

fn metadata() -> Metadata {
    Metadata {
        path: "src/main.rs".into(),
        kind: Kind::File,
        size_bytes: 12,
        mode: Mode::from_bits(0o644),
        modified_at: "2026-11-20T12:00:00Z".into(),
        etag: Some("\"1-c-5\"".into()),
        target: None,
    }
}

impl Example for Read {
    fn request() -> Self {
        let (lines, encoding) = (Some(Lines { from: 2, to: Some(2) }), Some(Encoding::Text));
        Self { path: "src/main.rs".into(), offset: Some(4), length: Some(12), lines, encoding, session: Some("build".into()) }
    }
    fn response() -> Content {
        Content {
            content: "fn main() {}".into(),
            offset: 4,
            lines: Some(Lines { from: 2, to: Some(2) }),
            size_bytes: 16,
            media_type: "text/x-rust".into(),
            etag: "\"1-10-5\"".into(),
        }
    }
}

impl Example for Write {
    fn request() -> Self {
        let mode = Some(Mode::from_bits(0o755));
        Self {
            path: vec![b'a', 0xff].into(),
            content: vec![0xff].into(),
            mode,
            append: true,
            offset: Some(4),
            if_match: Some("*".into()),
            session: Some("build".into()),
        }
    }
    fn response() -> Written {
        Written { created: true, size_bytes: 1, etag: "\"1-1-5\"".into() }
    }
}

impl Example for Stat {
    fn request() -> Self {
        Self { path: "src/main.rs".into(), session: Some("build".into()) }
    }
    fn response() -> Metadata {
        metadata()
    }
}

fn failed<T>() -> Outcome<T> {
    Outcome::new("none".into(), Err(Error::not_found("none: no such file or directory").because("no_such_file")))
}

impl Example for ReadMany {
    fn request() -> Self {
        Self { paths: vec!["src/main.rs".into(), "none".into()], encoding: Some(Encoding::Text), session: Some("build".into()) }
    }
    fn response() -> Outcomes<Content> {
        Outcomes { items: vec![Outcome::new("src/main.rs".into(), Ok(Read::response())), failed()] }
    }
}

impl Example for WriteMany {
    fn request() -> Self {
        let file = |path: &str, mode| NewFile { path: path.into(), content: "x".into(), mode };
        Self { files: vec![file("a", None), file("b", Some(Mode::from_bits(0o755)))], session: Some("build".into()) }
    }
    fn response() -> Outcomes<Written> {
        Outcomes { items: vec![Outcome::new("a".into(), Ok(Write::response())), failed()] }
    }
}

impl Example for StatMany {
    fn request() -> Self {
        Self { paths: vec!["src/main.rs".into(), "none".into()], session: Some("build".into()) }
    }
    fn response() -> Outcomes<Metadata> {
        Outcomes { items: vec![Outcome::new("src/main.rs".into(), Ok(metadata())), failed()] }
    }
}

impl Example for List {
    fn request() -> Self {
        let (depth, hidden, glob) = (Some(2), Some(false), Some("*.rs".into()));
        Self {
            path: "/workspace".into(),
            depth,
            recursive: true,
            hidden,
            glob,
            limit: Some(2),
            cursor: Some("src".into()),
            session: Some("build".into()),
        }
    }
    fn response() -> Listing {
        let link = Metadata { kind: Kind::Symlink, etag: None, target: Some("../x".into()), ..metadata() };
        Listing { entries: vec![metadata(), link], cursor: Some("src/main.rs".into()) }
    }
}

impl Example for Mkdir {
    fn request() -> Self {
        Self { path: "a/b".into(), parents: true, session: Some("build".into()) }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Remove {
    fn request() -> Self {
        Self { path: "a".into(), recursive: true, session: Some("build".into()) }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Move {
    fn request() -> Self {
        Self { from: "a".into(), to: "b".into(), session: Some("build".into()) }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Copy {
    fn request() -> Self {
        Self { from: "a".into(), to: "b".into(), recursive: true, session: Some("build".into()) }
    }
    fn response() -> Copied {
        Copied { entries: 3, size_bytes: 12, skipped: 1 }
    }
}

impl Example for Symlink {
    fn request() -> Self {
        Self { path: "latest".into(), target: "releases/7".into(), session: Some("build".into()) }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Chmod {
    fn request() -> Self {
        Self { path: "run.sh".into(), mode: Mode::from_bits(0o755), session: Some("build".into()) }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Find {
    fn request() -> Self {
        Self {
            path: "src".into(),
            pattern: "*.rs".into(),
            kind: Some(Kind::File),
            exclude: vec!["generated".into()],
            hidden: true,
            ignored: true,
            limit: Some(10),
            timeout_ms: Some(1_000),
            session: Some("build".into()),
        }
    }
    fn response() -> Found {
        Found { entries: vec![metadata()], skipped: 1, truncated: true, timed_out: true }
    }
}

impl Example for Search {
    fn request() -> Self {
        Self {
            path: "src".into(),
            pattern: "fn (main|run)".into(),
            literal: true,
            ignore_case: true,
            word: true,
            include: vec!["*.rs".into()],
            exclude: vec!["generated".into()],
            hidden: true,
            ignored: true,
            binary: true,
            context: Some(1),
            max_per_file: Some(10),
            limit: Some(100),
            timeout_ms: Some(1_000),
            session: Some("build".into()),
        }
    }
    fn response() -> Searched {
        let line = MatchLine { line: 7, text: "fn main() {".into(), offset: 2_048, matches: vec![Span { start: 0, end: 7 }] };
        let near = MatchLine { line: 8, text: vec![0xff].into(), offset: 0, matches: vec![] };
        let files = vec![FileMatches { path: "src/main.rs".into(), lines: vec![line, near], truncated: true }];
        Searched { files, matches: 1, searched: 9, skipped: 1, truncated: true, timed_out: true }
    }
}

impl Example for Edit {
    fn request() -> Self {
        let replacement = Replacement { old: "one".into(), new: vec![0xff].into(), all: true };
        Self { path: "a".into(), edits: vec![replacement], if_match: Some("\"1-3-5\"".into()), session: Some("build".into()) }
    }
    fn response() -> Edited {
        Edited { replacements: 2, size_bytes: 9, etag: "\"2-9-5\"".into() }
    }
}

impl Example for Patch {
    fn request() -> Self {
        let patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\n+new\n".into();
        Self { path: "project".into(), patch, strip: Some(1), dry_run: true, session: Some("build".into()) }
    }
    fn response() -> Patched {
        let modified = PatchedFile {
            path: "project/f".into(),
            action: PatchAction::Modified,
            from: None,
            hunks: 1,
            offset_lines: 2,
            etag: Some("\"2-4-5\"".into()),
        };
        let (action, from) = (PatchAction::Renamed, Some("project/g".into()));
        Patched { files: vec![modified.clone(), PatchedFile { action, from, etag: None, ..modified }] }
    }
}

impl Example for GetChanges {
    fn request() -> Self {
        let Watch { path, recursive, include, exclude, .. } = Watch::request();
        Self { path, recursive, include, exclude, since: Some("k3x9ab-1.7".into()), session: Some("build".into()) }
    }
    fn response() -> RecentChanges {
        let changes = vec![Change::Modified { path: "main.rs".into() }];
        RecentChanges { changes, resync: false, version: "k3x9ab-1.8".into() }
    }
}

impl Example for Watch {
    fn request() -> Self {
        Self {
            path: "src".into(),
            recursive: Some(true),
            include: vec!["*.rs".into()],
            exclude: Some(vec!["target".into()]),
            limit: Some(100),
            timeout_ms: Some(30_000),
            session: Some("build".into()),
        }
    }
    fn response() -> Watched {
        Watched { reason: WatchEnd::TimedOut }
    }
}

impl StreamExample for Watch {
    fn events() -> Vec<Change> {
        let path = || FilePath::from("main.rs");
        vec![
            Change::Ready {},
            Change::Created { path: path(), directory: false },
            Change::Modified { path: path() },
            Change::Attributes { path: path(), directory: false },
            Change::Renamed { from: path(), to: vec![0xff].into(), directory: false },
            Change::Removed { path: "old".into(), directory: true },
            Change::Overflow {},
        ]
    }
    fn inputs() -> Vec<Never> {
        Vec::new()
    }
}
