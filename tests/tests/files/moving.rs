//! Moving: by a rename where the kernel can, as mv(1) does where it cannot.

use cabana_tests::{Sandbox, in_agent_by, in_sandbox};
use serde_json::json;

use super::on_disk;

/// Starts a program in whose root the directory `image` is an overlay over another: see on_overlay.sh.
const ON_OVERLAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/on_overlay.sh");

/// Lists names, kinds, modes, owners, times and content.
const LIST: &str = r"find . -printf '%P %y %m %U:%G %T@ %l\n' | sort; find . -type f -exec sha256sum {} + | sort";

async fn rename(sandbox: &Sandbox, from: &str, to: &str) -> String {
    let answer = sandbox.post("file.move", json!({ "from": from, "to": to })).await;
    if answer.status.is_success() { "moved".to_owned() } else { answer.code() }
}

#[tokio::test]
async fn a_directory_replaces_nothing() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p d/in empty full/x; echo 1 > f; echo 2 > g; ln -s f link").await;
        for (from, to, expected) in [
            ("d", "empty", "conflict"),
            ("d", "full", "conflict"),
            ("d", "f", "conflict"),
            ("d", "d", "conflict"),
            ("d", "d/in/it", "conflict"),
            ("f", "empty", "conflict"),
            ("none", "new", "not_found"),
            ("f", "none/new", "not_found"),
            ("f", "g", "moved"),
            ("link", "l", "moved"),
            ("d", "new", "moved"),
        ] {
            assert_eq!(rename(sandbox, from, to).await, expected, "{from} {to}");
        }
        assert_eq!(sandbox.shell("find . | sort; cat g").await, ".\n./empty\n./full\n./full/x\n./g\n./l\n./new\n./new/in\n1\n");
    })
    .await;
}

mod agent_only {
    use super::*;

    const TREE: &str = "mkdir -p tree/a/b tree/empty && cd tree && echo one > a/f && head -c 300000 /dev/urandom > a/b/large && ln -s ../x a/l && \
                        printf '#!/bin/sh\\n' > run && chmod 4755 run && chmod 500 empty && find . -exec touch -h -d '2001-02-03 04:05:06.7 UTC' {} + && chmod 1777 a && touch -d '2001-02-03 UTC' a";

    #[tokio::test]
    async fn a_move_to_another_file_system_copies_and_removes() {
        in_agent_by(&on_disk("disk:size=10m"), &[], async |sandbox| {
            sandbox.shell(TREE).await;
            let before = sandbox.shell(&format!("cd tree && {LIST}")).await;
            sandbox.shell("mkdir disk/there; mkdir -p odd; mkfifo odd/fifo").await;
            assert_eq!(rename(sandbox, "tree", "disk/there").await, "conflict", "even onto an empty directory");
            assert_eq!(rename(sandbox, "tree", "disk/tree").await, "moved");
            assert_eq!(sandbox.shell(&format!("ls; cd disk/tree && {LIST}")).await, format!("disk\nodd\n{before}"));
            for (from, to) in [("disk/tree/run", "run"), ("disk/tree/a/l", "l")] {
                assert_eq!(rename(sandbox, from, to).await, "moved", "{from}");
            }
            assert_eq!(sandbox.shell("stat -c %a run; readlink l; ls disk/tree").await, "4755\n../x\na\nempty\n");
            assert_eq!(rename(sandbox, "odd", "disk/odd").await, "conflict", "a FIFO");
            sandbox.shell("head -c 20000000 /dev/zero > large").await;
            assert_eq!(rename(sandbox, "large", "disk/large").await, "storage_full");
            assert_eq!(
                sandbox.shell("ls -A . disk odd").await,
                ".:\ndisk\nl\nlarge\nodd\nrun\n\ndisk:\nthere\ntree\n\nodd:\nfifo\n"
            );
        })
        .await;
    }

    #[tokio::test]
    async fn a_directory_of_an_image_layer_is_moved() {
        in_agent_by(&["unshare", "--mount", "--propagation=private", "sh", ON_OVERLAY, "--"], &[], async |sandbox| {
            let before = sandbox.shell(&format!("cd image/tree && {LIST}")).await;
            assert!(before.contains("a/f"), "{before}");
            assert_eq!(rename(sandbox, "image/tree", "image/moved").await, "moved");
            assert_eq!(sandbox.shell(&format!("ls image; cd image/moved && {LIST}")).await, format!("moved\n{before}"));
        })
        .await;
    }
}
