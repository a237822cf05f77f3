//! Full disks, limits on the size of files, read-only file systems: each write has a code and changes nothing.

use cabana_tests::{Sandbox, in_agent_by, in_sandbox};
use futures_util::stream;
use reqwest::{Body, Method, header};
use serde_json::{Value, json};

use super::{REFUSING, on_disk};

/// A disk of 1 MiB and 64 files.
const SMALL_DISK: &str = "small:size=1m,nr_inodes=64";

/// More than is free on the small disk, and less than a file may have.
const TOO_MUCH: usize = 700_000;

/// Everything that writes, each with more than fits, into this directory. Files called `old` are there already.
fn writes(directory: &str) -> Vec<(&'static str, Value)> {
    let large = "x".repeat(TOO_MUCH);
    let path = |name: &str| format!("{directory}/{name}");
    let added: String = large.as_bytes().chunks(1_000).map(|line| format!("+{}\n", std::str::from_utf8(line).unwrap())).collect();
    let patch =
        format!("--- a/other\n+++ b/other\n@@ -1 +1 @@\n-other\n+changed\n--- /dev/null\n+++ b/new\n@@ -0,0 +1,700 @@\n{added}");
    vec![
        ("file.write", json!({ "path": path("old"), "content": large })),
        ("file.write", json!({ "path": path("old"), "content": large, "append": true })),
        ("file.write", json!({ "path": path("made/new"), "content": large })),
        ("file.edit", json!({ "path": path("old"), "edits": [{ "old": "old", "new": large }] })),
        ("file.patch", json!({ "path": directory, "patch": patch })),
        ("file.copy", json!({ "from": "large", "to": path("old") })),
        ("file.copy", json!({ "from": "tree", "to": path("new"), "recursive": true })),
    ]
}

/// Checks that everything that writes too much into this directory is refused with this code and changes nothing.
pub(crate) async fn check(sandbox: &Sandbox, directory: &str, code: &str) {
    check_all(sandbox, directory, code, writes(directory)).await;
}

async fn check_all(sandbox: &Sandbox, directory: &str, code: &str, writes: Vec<(&str, Value)>) {
    let show = format!("cd {directory} && ls -A && cat old other");
    let before = sandbox.shell(&show).await;
    for (name, request) in writes {
        let append = &request["append"];
        assert_eq!(sandbox.post(name, request.clone()).await.code(), code, "{name}, append: {append}");
        assert!(sandbox.shell(&show).await == before, "{name}, append: {append}");
    }
    let pieces = (0..7).map(|_| Ok::<_, std::io::Error>("x".repeat(TOO_MUCH / 7)));
    assert_eq!(sandbox.put(&format!("{directory}/old"), Body::wrap_stream(stream::iter(pieces))).await.code(), code);
    assert_eq!(sandbox.put(&format!("{directory}/old"), "x".repeat(TOO_MUCH)).await.code(), code);
    assert_eq!(sandbox.shell(&show).await, before);
}

#[tokio::test]
async fn a_file_size_limit_ends_the_write_and_not_the_agent() {
    in_sandbox(async |sandbox| {
        sandbox
            .shell("mkdir tree d; head -c 700000 /dev/urandom | tee large > tree/large; echo old > d/old; echo other > d/other")
            .await;
        let limit =
            "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (600000, resource.RLIM_INFINITY))";
        sandbox.shell_as_root(&format!("exec python3 -c '{limit}'")).await;
        check(sandbox, "d", "payload_too_large").await;
        sandbox.put("d/old", "small enough").await.success();
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_leaves_everything_as_it_was() {
        in_agent_by(&on_disk(SMALL_DISK), &[], async |sandbox| {
            let setup = "mkdir tree; head -c 700000 /dev/urandom | tee large > tree/large; echo old > small/old; echo other > small/other; \
                         head -c 600000 /dev/urandom > small/filler";
            sandbox.shell(setup).await;
            check(sandbox, "small", "storage_full").await;
            sandbox.shell("rm small/filler; i=0; while : > small/file$i; do i=$((i + 1)); done 2> /dev/null; ls small | wc -l").await;
            for (name, request) in [
                ("file.write", json!({ "path": "small/old", "content": "x" })),
                ("file.write", json!({ "path": "small/new", "content": "x", "append": true })),
                ("file.mkdir", json!({ "path": "small/new" })),
                ("file.mkdir", json!({ "path": "small/new/er", "parents": true })),
                ("file.symlink", json!({ "path": "small/new", "target": "old" })),
                ("file.copy", json!({ "from": "small/old", "to": "small/new" })),
                ("file.copy", json!({ "from": "tree", "to": "small/new", "recursive": true })),
                ("file.edit", json!({ "path": "small/old", "edits": [{ "old": "old", "new": "x" }] })),
            ] {
                assert_eq!(sandbox.post(name, request.clone()).await.code(), "storage_full", "{name} {request}");
            }
            assert_eq!(sandbox.shell("cat small/old; ls -A small | grep -v '^file'").await, "old\nold\nother\n");
            sandbox.post("file.remove", json!({ "path": "small/file1" })).await.success();
            sandbox.put("small/old", "room again").await.success();
        })
        .await;
    }

    #[tokio::test]
    async fn replaced_files_free_their_room_at_once() {
        in_agent_by(&on_disk("d:size=100m"), &[], async |sandbox| {
            for round in 0..10 {
                // Two of them fit, and no third.
                let pieces = (0..40).map(|_| Ok::<_, std::io::Error>("x".repeat(1 << 20)));
                let request = sandbox.file(Method::PUT, "d/file");
                let request = if round % 2 == 0 { request.header(header::CONTENT_LENGTH, 40 << 20) } else { request };
                sandbox.send(request.body(Body::wrap_stream(stream::iter(pieces)))).await.success();
            }
            assert_eq!(sandbox.shell("ls -A d; stat -c %s d/file").await, "file\n41943040\n");
        })
        .await;
    }

    #[tokio::test]
    async fn a_read_only_file_system_can_be_read() {
        in_agent_by(&on_disk(SMALL_DISK), &[("CABANA_KEEP_CAPABILITIES", "sys_admin")], async |sandbox| {
            sandbox.shell("mkdir tree; echo large | tee large > tree/large; echo old > small/old; echo other > small/other; mount -o remount,ro small").await;
            check(sandbox, "small", "forbidden").await;
            for (name, request) in [
                ("file.mkdir", json!({ "path": "small/new" })),
                ("file.symlink", json!({ "path": "small/new", "target": "old" })),
                ("file.chmod", json!({ "path": "small/old", "mode": "0600" })),
                ("file.remove", json!({ "path": "small/old" })),
                ("file.move", json!({ "from": "small/old", "to": "small/new" })),
            ] {
                assert_eq!(sandbox.post(name, request.clone()).await.code(), "forbidden", "{name} {request}");
            }
            assert_eq!(sandbox.get("small/old").await.success(), b"old\n");
        })
        .await;
    }

    /// Errors that take a quota, or a disk that breaks: the kernel is made to give them for each write of more than a few KiB.
    #[tokio::test]
    async fn a_quota_and_a_broken_disk_leave_everything_as_it_was() {
        const EDQUOT: &str = "122";
        const EIO: &str = "5";
        for (errno, code) in [(EDQUOT, "storage_full"), (EIO, "internal")] {
            in_agent_by(&["python3", REFUSING, "write", "4096", errno], &[], async |sandbox| {
                sandbox.shell("mkdir d; echo old > d/old; echo other > d/other").await;
                // A copy is the kernel's own work, and writes nothing.
                let writes = writes("d").into_iter().filter(|(name, _)| *name != "file.copy").collect();
                check_all(sandbox, "d", code, writes).await;
                sandbox.put("d/old", "small enough").await.success();
            })
            .await;
        }
    }
}
