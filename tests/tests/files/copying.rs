//! Copies, symlinks and permission bits.

use cabana_protocol::file::{Chmod, Copied, Copy, Mode, Symlink};
use cabana_tests::{Sandbox, in_sandbox};
use serde_json::json;

use super::make_deep_tree;
use super::stat;

async fn copy(sandbox: &Sandbox, from: &str, to: &str, recursive: bool) -> Copied {
    sandbox.call(Copy { from: from.into(), to: to.into(), recursive, session: None }).await
}

#[tokio::test]
async fn a_copy_has_content_and_mode_but_no_privileges() {
    in_sandbox(async |sandbox| {
        sandbox.shell("printf hello > f; chmod 6750 f; ln -s f link; ln -s nowhere dangling; echo old > there").await;
        assert_eq!(copy(sandbox, "f", "g", false).await, Copied { entries: 1, size_bytes: 5, skipped: 0 });
        assert_eq!(stat(sandbox, "g").await.mode.to_string(), "0750");
        copy(sandbox, "f", "there", false).await;
        copy(sandbox, "link", "link2", false).await;
        copy(sandbox, "dangling", "g", false).await;
        assert_eq!(
            sandbox.shell("cat there; readlink link2 g; ls -A").await,
            "hellof\nnowhere\ndangling\nf\ng\nlink\nlink2\nthere\n"
        );
    })
    .await;
}

#[tokio::test]
async fn a_tree_is_copied_but_for_special_files() {
    in_sandbox(async |sandbox| {
        let make = "mkdir -p t/a/b t/closed t/empty; echo 1 > t/a/b/one; echo 22 > t/two; chmod 700 t/two; ln -s ../two t/a/link; ln -s / t/out; \
                    mkfifo t/fifo; touch t/closed/f; chmod 500 t/closed; chmod 1777 t/empty; printf x > \"$(printf 't/\\377')\"";
        sandbox.shell(make).await;
        let copied = copy(sandbox, "t", "copy", true).await;
        assert_eq!(copied, Copied { entries: 11, size_bytes: 6, skipped: 1 });
        let show = |top: &str| format!("cd {top}; find . ! -name fifo ! -name empty -printf '%p %y %m %l\\n' | cat -v | sort; cat a/b/one two");
        assert_eq!(sandbox.shell(&show("copy")).await, sandbox.shell(&show("t")).await);
        assert_eq!(stat(sandbox, "copy/empty").await.mode.to_string(), "0777");
        assert_eq!(sandbox.shell("ls -A; chmod 700 */closed").await, "copy\nt\n");
    })
    .await;
}

#[tokio::test]
async fn a_refused_copy_leaves_nothing() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p d/e full; touch f d/e/f; mkfifo fifo").await;
        for (from, to, recursive, code) in [
            ("d", "x", false, "conflict"),
            ("d", "full", true, "conflict"),
            ("d", "f", true, "conflict"),
            ("f", "d", true, "conflict"),
            ("f", "new/", false, "conflict"),
            ("fifo", "x", false, "conflict"),
            ("d", "d/x", true, "conflict"),
            ("d", "d/e/x", true, "conflict"),
            (".", "d/x", true, "conflict"),
            ("d", "nowhere/x", true, "not_found"),
            ("nothing", "x", true, "not_found"),
            ("f", ".", false, "forbidden"),
        ] {
            let answer = sandbox.post("file.copy", json!({ "from": from, "to": to, "recursive": recursive })).await;
            assert_eq!(answer.code(), code, "{from} {to}");
        }
        assert_eq!(sandbox.shell("find . | sort").await, ".\n./d\n./d/e\n./d/e/f\n./f\n./fifo\n./full\n");
    })
    .await;
}

#[tokio::test]
async fn a_tree_deeper_than_the_descriptor_limit_is_copied() {
    in_sandbox(async |sandbox| {
        make_deep_tree(sandbox, "top", false).await;
        assert_eq!(copy(sandbox, "top", "copy", true).await.entries, 1_201);
        assert_eq!(sandbox.shell("diff -r top copy && find copy -type d | wc -l").await, "601\n");
    })
    .await;
}

#[tokio::test]
async fn holes_of_sparse_files_are_kept() {
    in_sandbox(async |sandbox| {
        sandbox.shell("truncate -s 1T sparse; printf x | dd of=sparse bs=1 seek=1000000000 conv=notrunc status=none").await;
        assert_eq!(copy(sandbox, "sparse", "copy", false).await.size_bytes, 1 << 40);
        let read = json!({ "path": "copy", "offset": 999_999_999, "length": 3 });
        assert_eq!(sandbox.post("file.read", read).await.json()["content"], "\0x\0");
        assert!(sandbox.shell("du -k copy").await.split_once('\t').unwrap().0.parse::<u64>().unwrap() < 1_000);
    })
    .await;
}

#[tokio::test]
async fn a_symlink_is_created_with_the_given_target() {
    in_sandbox(async |sandbox| {
        for (path, target) in [("relative", "../x"), ("absolute", "/etc/passwd"), ("odd", "a\n b/"), ("itself", "itself")] {
            sandbox.call(Symlink { path: path.into(), target: target.into(), session: None }).await;
            assert_eq!(stat(sandbox, path).await.target, Some(target.into()));
        }
        assert_eq!(sandbox.get("absolute").await.code(), "forbidden");
        for (path, target, code) in [
            ("odd", "x", "conflict"),
            ("no/parent", "x", "not_found"),
            ("slash/", "x", "invalid_request"),
            ("empty", "", "invalid_request"),
            ("nul", "a\0b", "invalid_request"),
            (".", "x", "forbidden"),
        ] {
            assert_eq!(sandbox.post("file.symlink", json!({ "path": path, "target": target })).await.code(), code, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn permission_bits_are_set_as_asked() {
    in_sandbox(async |sandbox| {
        sandbox.shell("touch f; mkdir d; ln -s f link; ln -s /etc out; mkfifo fifo").await;
        for (path, mode, changed) in [
            ("f", 0o600, "f"),
            ("d", 0o1777, "d"),
            ("f", 0o4755, "f"),
            ("f", 0o000, "f"),
            ("link", 0o640, "f"),
            ("fifo", 0o600, "fifo"),
            (".", 0o755, "."),
        ] {
            sandbox.call(Chmod { path: path.into(), mode: Mode::from_bits(mode), session: None }).await;
            assert_eq!(stat(sandbox, changed).await.mode, Mode::from_bits(mode), "{path}");
        }
        for (path, mode, code) in [
            ("out", "0777", "forbidden"),
            ("nothing", "0644", "not_found"),
            ("f", "u+x", "invalid_request"),
            ("f/", "0644", "conflict"),
        ] {
            assert_eq!(sandbox.post("file.chmod", json!({ "path": path, "mode": mode })).await.code(), code, "{path} {mode}");
        }
    })
    .await;
}
