//! Files: the operations, and in the files below the byte lane, writing, and what no path may do.

mod confinement;
mod copying;
pub(crate) mod disk;
mod editing;
mod hostile;
mod huge;
mod lane;
mod many;
mod mounts;
mod moving;
mod ownership;
mod parts;
mod reading;
mod removal;
mod searching;
mod series;
mod watch;
mod writing;

use cabana_protocol::file::{Chmod, Copy, FilePath, Kind, List, Metadata, Mkdir, Mode, Move, Read, Remove, Stat, Symlink, Write};
use cabana_tests::{Sandbox, in_sandbox};
use reqwest::Method;
use serde_json::json;

/// Starts a program that a file beside the cases becomes: see refusing.py.
const REFUSING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/refusing.py");

/// Swaps a directory and a symlink in a sandbox: see swap.py.
pub(crate) const SWAP: &str = include_str!("files/swap.py");

/// Starts a program for which directories of its root are disks: see on_small_disks.sh.
const ON_SMALL_DISKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/on_small_disks.sh");

/// The words that start an agent for which this directory of its root is a disk with these mount options. Takes root.
fn on_disk(disk: &str) -> [&str; 7] {
    ["unshare", "--mount", "--propagation=private", "sh", ON_SMALL_DISKS, disk, "--"]
}

/// Makes a tree of 600 levels, each with a file and, if `siblings` says so, an empty directory. The agent may from then on open less than
/// a descriptor for each level.
pub(crate) async fn make_deep_tree(sandbox: &Sandbox, name: &str, siblings: bool) {
    let mut command = vec!["python3", "-c", include_str!("files/deep_tree.py"), name];
    command.extend(siblings.then_some("siblings"));
    // The agent's limits are root's to change, and the next case's agent needs its descriptors.
    sandbox.mark_changed();
    let made = sandbox.exec(json!({ "command": command, "user": "root" })).await;
    assert!(made.result.success(), "{made:?}");
}

fn read(path: &str, offset: Option<u64>, length: Option<u64>) -> Read {
    Read { path: path.into(), offset, length, lines: None, encoding: None, session: None }
}

fn list(path: &str) -> List {
    List { path: path.into(), depth: None, recursive: false, hidden: None, glob: None, limit: None, cursor: None, session: None }
}

async fn stat(sandbox: &Sandbox, path: &str) -> Metadata {
    sandbox.call(Stat { path: path.into(), session: None }).await
}

#[tokio::test]
async fn file_operations_change_files_as_documented() {
    in_sandbox(async |sandbox| {
        let write = |path: &str, content: &str, append| Write {
            path: path.into(),
            content: content.into(),
            mode: None,
            append,
            offset: None,
            if_match: None,
            session: None,
        };
        assert!(sandbox.call(write("d/f", "one\n", false)).await.created);
        assert!(!sandbox.call(write("d/f", "two\n", true)).await.created);
        assert_eq!(sandbox.call(read("d/f", None, None)).await.content, "one\ntwo\n".into());
        for (offset, length, content) in
            [(Some(4), None, "two\n"), (None, Some(3), "one"), (Some(4), Some(2), "tw"), (Some(99), None, "")]
        {
            let answer = sandbox.call(read("d/f", offset, length)).await;
            assert_eq!((answer.content, answer.size_bytes), (content.into(), 8));
        }
        sandbox.call(write("d/f", "new", false)).await;
        assert_eq!(sandbox.shell("cat d/f").await, "new");
        sandbox.call(Move { from: "d/f".into(), to: "g".into(), session: None }).await;
        sandbox.call(Mkdir { path: "x/y/z".into(), parents: true, session: None }).await;
        sandbox.call(Mkdir { path: "x/y/z".into(), parents: true, session: None }).await;
        assert_eq!(sandbox.post("file.mkdir", json!({ "path": "x" })).await.code(), "conflict");
        assert_eq!(sandbox.post("file.remove", json!({ "path": "x" })).await.code(), "conflict");
        assert_eq!(sandbox.post("file.move", json!({ "from": "x", "to": "x/y/in-itself" })).await.code(), "conflict");
        assert_eq!(sandbox.post("file.write", json!({ "path": "x", "content": "" })).await.code(), "conflict");
        sandbox.call(Remove { path: "x".into(), recursive: true, session: None }).await;
        sandbox.call(Remove { path: "d".into(), recursive: false, session: None }).await;
        assert_eq!(sandbox.shell("ls -A").await, "g\n");
    })
    .await;
}

#[tokio::test]
async fn stat_describes_a_symlink_and_does_not_follow_it() {
    in_sandbox(async |sandbox| {
        sandbox.shell("printf hello > file; ln -s file link; mkdir directory; mkfifo fifo; chmod 750 file; touch -d 2020-01-02T03:04:05Z file").await;
        let file = stat(sandbox, "file").await;
        assert_eq!((file.kind, file.size_bytes, file.mode.to_string()), (Kind::File, 5, "0750".to_owned()));
        assert_eq!(file.modified_at, "2020-01-02T03:04:05.000Z");
        assert_eq!(file.etag.as_deref(), sandbox.get("file").await.header("etag"));
        let link = stat(sandbox, "link").await;
        assert_eq!((link.kind, link.target), (Kind::Symlink, Some("file".into())));
        assert_eq!(stat(sandbox, "directory").await.kind, Kind::Directory);
        assert_eq!(stat(sandbox, "fifo").await.kind, Kind::Other);
        assert_eq!(stat(sandbox, ".").await.kind, Kind::Directory);
        assert_eq!(sandbox.get("link").await.success(), b"hello", "reading follows a link that stays inside");
        assert_eq!(sandbox.get("fifo").await.code(), "conflict", "a FIFO is refused, not waited for");
        assert_eq!(sandbox.put("fifo", "x").await.code(), "conflict");
    })
    .await;
}

#[tokio::test]
async fn a_listing_is_sorted_and_paged() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p b/c; touch a b/c/d b/e b.x .hidden z; ln -s / outside").await;
        let paths = |entries: &[Metadata]| entries.iter().map(|entry| entry.path.to_string()).collect::<Vec<_>>();
        let top = sandbox.call(list(".")).await;
        assert_eq!(paths(&top.entries), [".hidden", "a", "b", "b.x", "outside", "z"]);
        let all = sandbox.call(List { depth: Some(9), hidden: Some(false), ..list(".") }).await;
        let recursive = List { recursive: true, hidden: Some(false), ..list(".") };
        assert_eq!(sandbox.call(recursive).await.entries.len(), all.entries.len());
        let expected = ["a", "b", "b/c", "b/c/d", "b/e", "b.x", "outside", "z"];
        assert_eq!((paths(&all.entries), all.cursor), (expected.map(str::to_owned).to_vec(), None));
        for limit in 1..=9 {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page =
                    sandbox.call(List { depth: Some(9), hidden: Some(false), limit: Some(limit), cursor, ..list(".") }).await;
                assert!(page.entries.len() <= limit as usize);
                seen.extend(paths(&page.entries));
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "limit {limit}");
        }
        for (glob, depth, expected) in [
            ("*", 1, vec![".hidden", "a", "b", "b.x", "outside", "z"]),
            ("[a-b]*", 1, vec!["a", "b", "b.x"]),
            ("{d,e}", 9, vec!["b/c/d", "b/e"]),
            ("b/*", 9, vec!["b/c", "b/e"]),
            ("b/**", 9, vec!["b/c", "b/c/d", "b/e"]),
            ("{d,e}", 1, vec![]),
        ] {
            let listed = sandbox.call(List { depth: Some(depth), glob: Some(glob.into()), ..list(".") }).await;
            assert_eq!(paths(&listed.entries), expected, "{glob}");
        }
        assert_eq!(sandbox.post("file.list", json!({ "path": ".", "glob": "[" })).await.code(), "invalid_request");
    })
    .await;
}

#[tokio::test]
async fn a_listing_survives_concurrent_changes() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir flux; cd flux; for i in $(seq 100); do touch stays$i; done").await;
        let change = "import os\nos.chdir('flux')\nwhile not os.path.exists('../stop'):\n  for i in range(20):\n    name = f'x{i}'\n    \
                      os.symlink('a', 't'); os.rename('t', name)\n    open('t', 'w').close(); os.rename('t', name)\n    \
                      os.unlink(name); os.makedirs(name + '/in/it'); os.removedirs(name + '/in/it')";
        let list = async {
            for _ in 0..200 {
                let entries = sandbox.call(List { depth: Some(3), ..list("flux") }).await.entries;
                assert_eq!(entries.iter().filter(|entry| entry.path.as_bytes().starts_with(b"stays")).count(), 100);
            }
            sandbox.put("stop", "").await.success();
        };
        let (changed, ()) = tokio::join!(sandbox.exec(json!({ "command": ["python3", "-c", change] })), list);
        assert!(changed.result.success(), "{changed:?}");
    })
    .await;
}

#[tokio::test]
async fn names_of_any_bytes_survive() {
    in_sandbox(async |sandbox| {
        for name in [
            b"with space".as_slice(),
            b"line\nbreak",
            b"tab\t",
            b"\xff\xfe",
            "\u{1f30a}".as_bytes(),
            b"-rf",
            b"%2e%2e",
            b"a+b&c=d",
        ] {
            let path = FilePath::from(name.to_vec());
            sandbox
                .call(Write {
                    path: path.clone(),
                    content: "x".into(),
                    mode: None,
                    append: false,
                    offset: None,
                    if_match: None,
                    session: None,
                })
                .await;
            assert_eq!(sandbox.call(Stat { path: path.clone(), session: None }).await.path, path);
            let listed = sandbox.call(list(".")).await;
            assert_eq!(listed.entries.iter().map(|entry| &entry.path).collect::<Vec<_>>(), [&path]);
            let encoded: String = name.iter().map(|byte| format!("%{byte:02x}")).collect();
            assert_eq!(sandbox.send(sandbox.request(Method::GET, &format!("/files?path={encoded}"))).await.success(), b"x");
            let copy = FilePath::from([b"copy of ", name].concat());
            sandbox.call(Copy { from: path.clone(), to: copy.clone(), recursive: false, session: None }).await;
            sandbox.call(Chmod { path: copy.clone(), mode: Mode::from_bits(0o600), session: None }).await;
            sandbox.call(Remove { path: path.clone(), recursive: false, session: None }).await;
            sandbox.call(Symlink { path: path.clone(), target: copy.clone(), session: None }).await;
            let link = sandbox.call(Stat { path: path.clone(), session: None }).await;
            assert_eq!((link.kind, link.target), (Kind::Symlink, Some(copy.clone())));
            let content = sandbox.call(Read { path: path.clone(), ..read("", None, None) }).await;
            assert_eq!(content.content, "x".into());
            sandbox.call(Mkdir { path: [b"directory ", name].concat().into(), parents: false, session: None }).await;
            sandbox.call(Move { from: copy, to: [b"directory ", name, b"/", name].concat().into(), session: None }).await;
            sandbox.call(Remove { path: [b"directory ", name].concat().into(), recursive: true, session: None }).await;
            sandbox.call(Remove { path, recursive: false, session: None }).await;
        }
    })
    .await;
}
