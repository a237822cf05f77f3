//! One golden file per operation: what it says on the wire, and the schema of every type it uses. A change of the wire
//! shows as a change of a file under `golden/`; `CABANA_BLESS=1 cargo test -p cabana-protocol` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "golden/git.rs"]
mod git_examples;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use cabana_protocol::{exec::*, file::*, table::DESCRIPTORS, *};
use schemars::{JsonSchema, schema_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Every field of a request and of its response, filled. A listed operation without an example does not compile.
trait Example: Operation {
    fn request() -> Self;
    fn response() -> Self::Response;
}

/// The same for what a streaming operation says and can be told.
trait StreamExample: Example + Streaming {
    fn events() -> Vec<Self::Event>;
    fn inputs() -> Vec<Self::Input>;
}

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
        Self { path: "src/main.rs".into(), offset: Some(4), length: Some(12), lines, encoding }
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
        Self { path: vec![b'a', 0xff].into(), content: vec![0xff].into(), mode, append: true, if_match: Some("*".into()) }
    }
    fn response() -> Written {
        Written { created: true, size_bytes: 1, etag: "\"1-1-5\"".into() }
    }
}

impl Example for Stat {
    fn request() -> Self {
        Self { path: "src/main.rs".into() }
    }
    fn response() -> Metadata {
        metadata()
    }
}

impl Example for List {
    fn request() -> Self {
        let (depth, hidden, glob) = (Some(2), Some(false), Some("*.rs".into()));
        Self { path: "/workspace".into(), depth, hidden, glob, limit: Some(2), cursor: Some("src".into()) }
    }
    fn response() -> Listing {
        let link = Metadata { kind: Kind::Symlink, etag: None, target: Some("../x".into()), ..metadata() };
        Listing { entries: vec![metadata(), link], cursor: Some("src/main.rs".into()) }
    }
}

impl Example for Mkdir {
    fn request() -> Self {
        Self { path: "a/b".into(), parents: true }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Remove {
    fn request() -> Self {
        Self { path: "a".into(), recursive: true }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Move {
    fn request() -> Self {
        Self { from: "a".into(), to: "b".into() }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Copy {
    fn request() -> Self {
        Self { from: "a".into(), to: "b".into(), recursive: true }
    }
    fn response() -> Copied {
        Copied { entries: 3, size_bytes: 12, skipped: 1 }
    }
}

impl Example for Symlink {
    fn request() -> Self {
        Self { path: "latest".into(), target: "releases/7".into() }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for Chmod {
    fn request() -> Self {
        Self { path: "run.sh".into(), mode: Mode::from_bits(0o755) }
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
        Self { path: "a".into(), edits: vec![replacement], if_match: Some("\"1-3-5\"".into()) }
    }
    fn response() -> Edited {
        Edited { replacements: 2, size_bytes: 9, etag: "\"2-9-5\"".into() }
    }
}

impl Example for Patch {
    fn request() -> Self {
        let patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\n+new\n".into();
        Self { path: "project".into(), patch, strip: Some(1), dry_run: true }
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

impl Example for Exec {
    fn request() -> Self {
        Self {
            command: ["cargo", "test"].into(),
            cwd: Some("/workspace/project".into()),
            env: [("CI".into(), Some("1".into())), ("LANG".into(), None)].into(),
            user: Some("sandbox".into()),
            stdin: Some(Stdin::Bytes("yes\n".into())),
            tty: Some(tty()),
            timeout_ms: Some(60_000),
            detach: true,
            name: Some("tests".into()),
            session: Some("k3x9ab-s1".into()),
            max_output_bytes: Some(65_536),
        }
    }
    fn response() -> ExecResult {
        let usage = Some(Usage { cpu_ms: 1_200, peak_memory_bytes: Some(52_428_800) });
        ExecResult { process: process(), exit: Some(Exit::Exited { code: 101 }), duration_ms: 1_500, session_ended: true, usage }
    }
}

impl StreamExample for Exec {
    fn events() -> Vec<ExecEvent> {
        vec![
            ExecEvent::Started { process: process(), pid: 42 },
            ExecEvent::Stdout { offset: 0, bytes: "running 1 test\n".into() },
            ExecEvent::Stderr { offset: 15, bytes: vec![0xff].into() },
            ExecEvent::Gap { from: 16, to: 20 },
        ]
    }
    fn inputs() -> Vec<ExecInput> {
        let Tty { cols, rows } = tty();
        vec![
            ExecInput::Stdin { bytes: "y\n".into() },
            ExecInput::Eof,
            ExecInput::Resize { cols, rows },
            ExecInput::Signal { signal: Signal::TERM },
        ]
    }
}

impl Example for process::List {
    fn request() -> Self {
        Self {}
    }
    fn response() -> process::Processes {
        process::Processes { processes: vec![process::Get::response()] }
    }
}

impl Example for process::Get {
    fn request() -> Self {
        Self { process: "tests".into() }
    }
    fn response() -> process::Process {
        process::Process {
            process: process(),
            name: Some("tests".into()),
            pid: 42,
            command: "cargo test".into(),
            started_at: "2026-11-20T12:00:00Z".into(),
            output_bytes: 16,
            exit: Some(Exit::OomKilled),
            duration_ms: Some(1_500),
            usage: Some(Usage { cpu_ms: 1_200, peak_memory_bytes: None }),
        }
    }
}

impl Example for process::Input {
    fn request() -> Self {
        Self { process: "tests".into(), data: Some("y\n".into()), eof: true }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for process::Resize {
    fn request() -> Self {
        let Tty { cols, rows } = tty();
        Self { process: "tests".into(), cols, rows }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for process::SendSignal {
    fn request() -> Self {
        Self { process: process().to_string(), signal: Signal::TERM }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for process::Wait {
    fn request() -> Self {
        let until = process::Until::Log(process::Pattern::Regex("listening on .*".into()));
        Self { process: "server".into(), until, timeout_ms: Some(5_000) }
    }
    fn response() -> process::Waited {
        process::Waited::Logged { line: "listening on 3000".into() }
    }
}

impl Example for process::Logs {
    fn request() -> Self {
        Self { process: "server".into(), from: Some(16), max_bytes: Some(3) }
    }
    fn response() -> process::Log {
        let exit = Some(Exit::Signalled { signal: Signal::KILL });
        process::Log { from: 16, to: 19, output_bytes: 24, stdout: "a\n".into(), stderr: vec![0xff].into(), exit }
    }
}

impl Example for process::Remove {
    fn request() -> Self {
        Self { process: "server".into() }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for session::Create {
    fn request() -> Self {
        Self {
            cwd: Some("src".into()),
            env: [("CI".into(), Some("1".into())), ("LANG".into(), None)].into(),
            user: Some("sandbox".into()),
            shell: Some(session::Shell::Bash),
        }
    }
    fn response() -> session::Session {
        let created_at = "2026-11-20T12:00:00Z".into();
        session::Session { session: "k3x9ab-s1".into(), shell: session::Shell::Bash, pid: 43, created_at }
    }
}

impl Example for session::List {
    fn request() -> Self {
        Self {}
    }
    fn response() -> session::Sessions {
        session::Sessions { sessions: vec![session::Create::response()] }
    }
}

impl Example for session::Get {
    fn request() -> Self {
        Self { session: "k3x9ab-s1".into() }
    }
    fn response() -> session::Session {
        session::Create::response()
    }
}

impl Example for session::Delete {
    fn request() -> Self {
        Self { session: "k3x9ab-s1".into() }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for port::List {
    fn request() -> Self {
        Self {}
    }
    fn response() -> port::Ports {
        let (program, process) = (Some("python3".into()), Some(process()));
        let protocol = port::Protocol::Tcp4;
        port::Ports {
            ports: vec![port::Port { port: 3_000, address: "0.0.0.0".into(), protocol, pid: Some(42), program, process }],
        }
    }
}

impl Example for system::Stats {
    fn request() -> Self {
        Self {}
    }
    fn response() -> system::Usage {
        system::Usage {
            cpu: system::Cpu { used_ms: 1_230, count: 0.5 },
            memory: system::Space { used_bytes: 64 << 20, total_bytes: 1 << 30 },
            disk: system::Space { used_bytes: 1 << 30, total_bytes: 4 << 30 },
            processes: 7,
            uptime_ms: 60_000,
        }
    }
}

impl Example for system::Info {
    fn request() -> Self {
        Self {}
    }
    fn response() -> system::System {
        system::System {
            version: "0.1.0".into(),
            kernel: "6.12.0".into(),
            architecture: "x86_64".into(),
            hostname: "sandbox".into(),
            distribution: Some("Debian GNU/Linux 13 (trixie)".into()),
            user: "root".into(),
            shell: "/bin/bash".into(),
            root: "/workspace".into(),
            confinement: Some(system::Confinement::Openat2),
            programs: [("python3".into(), "/usr/bin/python3".into())].into(),
        }
    }
}

impl Example for process::Attach {
    fn request() -> Self {
        Self { process: "server".into(), from: Some(16) }
    }
    fn response() -> ExecResult {
        Exec::response()
    }
}

impl StreamExample for process::Attach {
    fn events() -> Vec<ExecEvent> {
        Exec::events()
    }
    fn inputs() -> Vec<ExecInput> {
        Exec::inputs()
    }
}

impl Example for GetChanges {
    fn request() -> Self {
        let Watch { path, recursive, include, exclude, .. } = Watch::request();
        Self { path, recursive, include, exclude, since: Some("k3x9ab-1.7".into()) }
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

fn tty() -> Tty {
    Tty { cols: Cells::new(120).unwrap(), rows: Cells::new(40).unwrap() }
}

fn process() -> ProcessId {
    ProcessId::new("k3x9ab", 17)
}

/// The value as JSON, after checking that it reads back to the same JSON, also with a field that nobody knows.
fn wire<T: Serialize + DeserializeOwned>(value: &T) -> Value {
    let encoded = serde_json::to_value(value).unwrap();
    let mut grown = encoded.clone();
    grown.as_object_mut().unwrap().insert("added_later".into(), json!(1));
    let back: T = serde_json::from_value(grown).unwrap();
    assert_eq!(serde_json::to_value(&back).unwrap(), encoded);
    encoded
}

fn call<O: Example + JsonSchema>() -> Value
where
    O::Response: JsonSchema,
{
    json!({
        "name": O::NAME,
        "idempotent": O::IDEMPOTENT,
        "wakes": O::WAKES,
        "request": { "example": wire(&O::request()), "schema": schema_for!(O) },
        "response": { "example": wire(&O::response()), "schema": schema_for!(O::Response) },
    })
}

fn stream<O: StreamExample + JsonSchema>() -> Value
where
    O::Response: JsonSchema,
    O::Event: JsonSchema + Clone,
    O::Input: JsonSchema,
    <O::Fold as Fold<O>>::Output: JsonSchema,
{
    let mut fold = O::Fold::new(&O::request());
    O::events().into_iter().for_each(|event| fold.push(event));
    let mut golden = call::<O>();
    golden["event"] = json!({ "examples": O::events().iter().map(wire).collect::<Vec<_>>(), "schema": schema_for!(O::Event) });
    golden["input"] = json!({ "examples": O::inputs().iter().map(wire).collect::<Vec<_>>(), "schema": schema_for!(O::Input) });
    golden["fold"] = json!({
        "example": wire(&fold.finish(O::response())),
        "schema": schema_for!(<O::Fold as Fold<O>>::Output),
    });
    golden
}

macro_rules! goldens {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        vec![$(call::<$call>(),)* $(stream::<$stream>(),)*]
    };
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[test]
fn the_wire_is_what_the_golden_files_say() {
    for golden in operations!(goldens) {
        let name = golden["name"].as_str().unwrap();
        let path = directory().join(format!("{name}.json"));
        let text = format!("{golden:#}\n");
        if std::env::var_os("CABANA_BLESS").is_some() {
            fs::write(&path, text).unwrap();
        } else {
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == text, "the wire of {name} has changed; CABANA_BLESS=1 cargo test -p cabana-protocol writes:\n{text}");
        }
    }
}

#[test]
fn every_golden_file_belongs_to_an_operation() {
    let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = DESCRIPTORS.iter().map(|descriptor| format!("{}.json", descriptor.name));
    assert_eq!(files.collect::<BTreeSet<_>>(), names.collect::<BTreeSet<_>>());
}

/// How many operations the sources below this directory define.
fn count(directory: &Path) -> usize {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let counts = paths.map(|path| match path.is_dir() {
        true => count(&path),
        false => fs::read_to_string(path).unwrap().lines().filter(|line| line.starts_with("impl Operation for ")).count(),
    });
    counts.sum()
}

#[test]
fn every_operation_of_the_crate_is_listed() {
    let written = count(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert_eq!(written, DESCRIPTORS.len());
}

#[test]
fn names_are_family_and_verb() {
    for descriptor in DESCRIPTORS {
        let parts: Vec<_> = descriptor.name.split('.').collect();
        let words = parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        assert!(words && (parts.len() == 2 || descriptor.name == "exec"), "{}", descriptor.name);
    }
}
