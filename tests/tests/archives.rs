//! Trees of files as tar archives, exported and imported, with GNU tar as the other side.

mod changes;
mod refusals;
mod tar_builder;

use cabana_tests::{Answer, Sandbox, in_sandbox};
use reqwest::{Body, Method};
use serde_json::json;

use crate::files::make_deep_tree;

/// Sends an archive to be extracted into this directory.
async fn import(sandbox: &Sandbox, into: &str, archive: impl Into<Body>) -> Answer {
    sandbox.send(sandbox.request(Method::PUT, "/archive").query(&[("path", into)]).body(archive)).await
}

/// Fetches what is at this path as an archive.
async fn export(sandbox: &Sandbox, path: &str, format: &str) -> Answer {
    sandbox.send(sandbox.request(Method::GET, "/archive").query(&[("path", path), ("format", format)])).await
}

/// A tree with all that an archive can say, in the directory `tree`.
const TREE: &str = r#"
    mkdir -p tree/empty tree/a/b tree/locked && cd tree
    printf 'one\n' > a/file; printf '' > a/empty; head -c 700000 /dev/urandom > a/b/large
    printf '#!/bin/sh\n' > program; chmod 751 program; chmod 500 locked
    ln -s ../a/file a/link; ln -s /nowhere dangling; ln a/file hard
    long=$(printf 'x%.0s' $(seq 120)); mkdir -p "$long/$long"; echo deep > "$long/$long/file"; ln -s "$long/$long/file" far
    printf x > "$(printf 'line\nbreak')"; printf x > "$(printf '\377\376')"; printf x > 'a\b *'
    find . -mindepth 1 -exec touch -h -d '2001-02-03 04:05:06.789012345 UTC' {} +
"#;

/// Lists a tree: names, kinds, modes, times, what links lead to and what files hold.
const LIST: &str = r#"find . -mindepth 1 -printf '%P %y %m %T@ %l\n' | sort; find . -type f -exec sha256sum {} + | sort"#;

async fn list(sandbox: &Sandbox, directory: &str) -> String {
    let listed = sandbox.exec(json!({ "command": LIST, "cwd": directory })).await;
    assert!(listed.result.success(), "{listed:?}");
    // Names of any bytes are among them.
    String::from_utf8_lossy(&listed.stdout.0).into_owned()
}

#[tokio::test]
async fn exported_archives_are_extracted_by_gnu_tar() {
    in_sandbox(async |sandbox| {
        sandbox.shell(TREE).await;
        for (format, media_type, option) in
            [("tar", "application/x-tar", ""), ("tar.gz", "application/gzip", "z"), ("tar.zst", "application/zstd", "")]
        {
            let answer = export(sandbox, "tree", format).await;
            assert_eq!(answer.header("content-type"), Some(media_type));
            let archive = answer.success();
            sandbox.put("archive", archive.clone()).await.success();
            if format != "tar.zst" {
                sandbox.shell(&format!("rm -rf peer; mkdir peer; tar -C peer -x{option}pf archive")).await;
                assert_eq!(list(sandbox, "peer").await, list(sandbox, "tree").await, "{format}");
            }
            let extracted = import(sandbox, format, archive).await.success();
            let entries: u64 = sandbox.shell("cd tree && find . -mindepth 1 -printf x | wc -c").await.trim().parse().unwrap();
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&extracted).unwrap()["entries"], entries);
            assert_eq!(list(sandbox, format).await, list(sandbox, "tree").await, "{format}");
        }
    })
    .await;
}

#[tokio::test]
async fn archives_of_gnu_tar_are_imported() {
    in_sandbox(async |sandbox| {
        sandbox.shell(TREE).await;
        let backwards = "find . -mindepth 1 -depth -print0 | tar -c --format=posix --null --no-recursion -T -";
        for tar in ["tar -c --format=posix .", "tar -cz --format=posix .", "tar -c --format=posix -b 1 .", backwards] {
            sandbox.shell(&format!("cd tree && {tar} > ../archive")).await;
            let archive = sandbox.get("archive").await.success();
            import(sandbox, "new/into", archive).await.success();
            assert_eq!(list(sandbox, "new/into").await, list(sandbox, "tree").await, "{tar}");
            assert_eq!(sandbox.shell("cd new/into && stat -c %h hard a/file").await, "2\n2\n", "hard links stay links");
            sandbox.shell("chmod 700 new/into/locked; rm -r new").await;
        }
    })
    .await;
}

#[tokio::test]
async fn archives_of_gnus_own_format_are_imported_with_whole_seconds() {
    in_sandbox(async |sandbox| {
        sandbox.shell(&TREE.replace(".789012345", "")).await;
        for tar in ["tar -c --format=gnu .", "tar -c --format=gnu -b 1 .", "tar -cz --format=ustar --exclude=x* --exclude=far ."] {
            sandbox.shell(&format!("rm -rf peer; mkdir peer; cd tree && {tar} > ../archive; tar -C ../peer -x$(case \"{tar}\" in *cz*) echo z;; esac)pf ../archive")).await;
            let archive = sandbox.get("archive").await.success();
            import(sandbox, "out", archive).await.success();
            assert_eq!(list(sandbox, "out").await, list(sandbox, "peer").await, "{tar}");
            sandbox.shell("chmod 700 out/locked; rm -r out").await;
        }
    })
    .await;
}

#[tokio::test]
async fn archives_without_an_end_mark_are_imported_with_a_note() {
    in_sandbox(async |sandbox| {
        sandbox.shell("echo content > f; echo more > g; tar -cf whole f g").await;
        for (script, imported, noted) in [
            ("head -c 2048 whole", true, true),
            ("head -c 2560 whole", true, false),
            ("cat whole", true, false),
            ("head -c 1536 whole", false, false),
            ("head -c 1600 whole", false, false),
            ("true", false, false),
            ("head -c 2048 whole | gzip", true, true),
            ("(gzip -c whole; head -c 512 /dev/zero)", true, false),
            ("(gzip -c whole; head -c 512 /dev/zero; gzip -c whole; head -c 1 /dev/zero)", true, false),
            ("(gzip -c whole; echo garbage)", false, false),
        ] {
            sandbox.shell(&format!("rm -rf out; {script} > archive")).await;
            let answer = import(sandbox, "out", sandbox.get("archive").await.success()).await;
            if imported {
                assert_eq!(answer.json()["entries"], 2, "{script}: {}", answer.json());
                assert_eq!(answer.json()["note"].is_string(), noted, "{script}: {}", answer.json());
                assert_eq!(sandbox.shell("cat out/f out/g").await, "content\nmore\n");
            } else {
                assert_eq!(answer.code(), "unprocessable", "{script}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_member_is_read_to_the_length_that_gnu_tar_reads() {
    in_sandbox(async |sandbox| {
        let inner = tar_builder::TarBuilder::default().file("inner", "x").cut_off();
        let claims = |size| tar_builder::Header::new(b'0', b"outer").size(size);
        let archive = tar_builder::TarBuilder::default;
        for (what, archive) in [
            ("as the header says", archive().raw(claims(1024), &inner)),
            ("as an extended header says, more", archive().extended(b'x', &[b"size=1024"]).raw(claims(0), &inner)),
            ("as an extended header says, less", archive().extended(b'x', &[b"size=0"]).raw(claims(1024), &inner)),
            ("as its last record says", archive().extended(b'x', &[b"size=5", b"size=1024"]).raw(claims(0), &inner)),
            ("not as a comment says", archive().extended(b'x', &[b"comment=\n9 size=0\n"]).raw(claims(1024), &inner)),
            ("in binary", archive().raw(claims(0).field(124, b"\x80\0\0\0\0\0\0\0\0\0\x04\0"), &inner)),
        ] {
            let archive = archive.file("last", "x").end();
            sandbox.put("archive", archive.clone()).await.success();
            sandbox.shell("rm -rf peer out; mkdir peer; tar -C peer -xf archive").await;
            import(sandbox, "out", archive).await.success();
            assert_eq!(list(sandbox, "out").await, list(sandbox, "peer").await, "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_single_file_is_exported_as_an_archive_of_one_entry() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir d; echo content > d/file; ln -s d/file link; mkfifo fifo").await;
        for (path, name) in [("d/file", "file"), ("link", "link")] {
            let archive = export(sandbox, path, "tar").await.success();
            import(sandbox, "out", archive).await.success();
            assert_eq!(sandbox.shell(&format!("cat out/{name}; ls out; rm -r out")).await, format!("content\n{name}\n"));
        }
        for (path, code) in [("none", "not_found"), ("fifo", "conflict"), ("..", "forbidden"), ("/etc", "forbidden")] {
            assert_eq!(export(sandbox, path, "tar").await.code(), code, "{path}");
        }
        for query in ["", "path=d&format=zip", "path="] {
            let answer = sandbox.send(sandbox.request(Method::GET, &format!("/archive?{query}"))).await;
            assert_eq!(answer.code(), "invalid_request", "{query}");
        }
        assert_eq!(sandbox.send(sandbox.request(Method::DELETE, "/archive?path=d")).await.code(), "method_not_allowed");
    })
    .await;
}

#[tokio::test]
async fn existing_files_are_replaced_or_kept_as_asked() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p d/kept; echo old | tee d/file d/other d/linked; ln -s linked d/link; chmod 700 d").await;
        let archive = tar_builder::TarBuilder::default()
            .member(b'5', b"./", b"")
            .file("./file", "new")
            .file("kept/new", "new")
            .file("link", "new")
            .symlink("other", "file")
            .hard_link("hard", "file")
            .hard_link("file", "hard")
            .end();
        for _ in 0..2 {
            assert_eq!(import(sandbox, "d", archive.clone()).await.json(), json!({ "entries": 7, "size_bytes": 9 }));
        }
        let after = "cd d; ls -A . kept; cat file kept/new link hard; cat linked; readlink other; stat -c %a .; stat -c %h file";
        let expected = ".:\nfile\nhard\nkept\nlink\nlinked\nother\n\nkept:\nnew\nnewnewnewnewold\nfile\n700\n2\n";
        assert_eq!(sandbox.shell(after).await, expected);
    })
    .await;
}

#[tokio::test]
async fn globs_select_the_exported_files() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p tree/src/deep tree/modules/src tree/empty; cd tree; touch a.rs a.txt src/b.rs src/deep/c.rs modules/src/d.rs").await;
        for (query, members) in [
            ("", "a.rs a.txt empty/ modules/ modules/src/ modules/src/d.rs src/ src/b.rs src/deep/ src/deep/c.rs"),
            ("&exclude=modules&exclude=*.txt", "a.rs empty/ src/ src/b.rs src/deep/ src/deep/c.rs"),
            ("&include=*.rs", "a.rs modules/src/d.rs src/b.rs src/deep/c.rs"),
            ("&include=src/**&include=*.txt", "a.txt src/b.rs src/deep/ src/deep/c.rs"),
            ("&include=*.rs&exclude=src/deep", "a.rs modules/src/d.rs src/b.rs"),
            ("&include=none", ""),
        ] {
            let request = sandbox.request(Method::GET, &format!("/archive?path=tree{query}"));
            sandbox.put("archive", sandbox.send(request).await.success()).await.success();
            assert_eq!(sandbox.shell("tar -tf archive | sort | xargs").await.trim(), members, "{query}");
        }
        for query in ["include=[", "exclude=", "include=%ff"] {
            let request = sandbox.request(Method::GET, &format!("/archive?path=tree&{query}"));
            assert_eq!(sandbox.send(request).await.code(), "invalid_request", "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_deep_tree_is_exported_and_imported() {
    in_sandbox(async |sandbox| {
        make_deep_tree(sandbox, "tree", true).await;
        let archive = export(sandbox, "tree", "tar").await.success();
        assert_eq!(import(sandbox, "out", archive).await.json()["entries"], 1_800);
        assert_eq!(sandbox.shell("find out -mindepth 1 | wc -l").await, "1800\n");
    })
    .await;
}

#[tokio::test]
async fn privileges_are_not_extracted() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir tree; touch tree/program; mkdir tree/shared; chmod 6755 tree/program; chmod 3777 tree/shared").await;
        let archive = export(sandbox, "tree", "tar").await.success();
        import(sandbox, "out", archive).await.success();
        assert_eq!(sandbox.shell("cd out && stat -c '%n %a' *").await, "program 755\nshared 777\n");
    })
    .await;
}

#[tokio::test]
async fn a_large_archive_is_exported_and_imported_in_bounded_memory() {
    const BYTES: usize = 64 << 20;
    /// What the agent may take for it, in KiB.
    const GROWTH: u64 = 24 << 10;

    in_sandbox(async |sandbox| {
        sandbox.shell(&format!("mkdir tree; head -c {BYTES} /dev/urandom > tree/large")).await;
        let before = sandbox.peak_memory_kib().await;
        for format in ["tar", "tar.zst"] {
            let archive = export(sandbox, "tree", format).await.success();
            assert!(archive.len() > BYTES, "{format}: random bytes do not become fewer");
            import(sandbox, format, archive).await.success();
            sandbox.shell(&format!("cmp tree/large {format}/large && rm -r {format}")).await;
        }
        let grown = sandbox.peak_memory_kib().await - before;
        assert!(grown < GROWTH, "{grown} KiB");
    })
    .await;
}

mod agent_only {
    use cabana_tests::{in_agent, until};

    use super::*;

    #[tokio::test]
    async fn a_stalled_reader_gives_its_place_to_others() {
        in_agent(&[("CABANA_MAX_ARCHIVES", "1"), ("CABANA_ARCHIVE_TIMEOUT_MS", "300")], async |sandbox| {
            sandbox.shell("mkdir d; head -c 100000000 /dev/urandom > d/noise; mkdir e").await;
            let request = || sandbox.request(Method::GET, "/archive").query(&[("path", "d")]);
            let stalled = request().send().await.unwrap();
            assert_eq!(stalled.status(), 200);
            assert_eq!(sandbox.send(request()).await.code(), "too_many_requests");
            until("there is a place", async || export(sandbox, "e", "tar").await.status == 200).await;
            assert!(stalled.bytes().await.is_err(), "it looks complete");
        })
        .await;
    }
}
