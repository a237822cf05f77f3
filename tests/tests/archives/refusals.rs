//! Archives that are refused, and the files that they leave.

use cabana_tests::{Kind, in_either_confinement, in_kind, in_sandbox};
use reqwest::Method;
use serde_json::json;

use super::{
    export, import,
    tar_builder::{Header, TarBuilder},
};

#[tokio::test]
async fn members_that_lead_out_of_the_target_are_refused() {
    in_either_confinement(async |sandbox| {
        let root = &sandbox.root;
        sandbox.shell("mkdir outside target; echo kept > outside/f; chmod 600 outside/f; chmod 700 outside; ln -s ../outside target/out").await;
        let absolute = format!("{root}/outside/f");
        for (what, archive, code) in [
            ("a parent", TarBuilder::default().file("../outside/f", "x"), "forbidden"),
            ("a parent in between", TarBuilder::default().file("a/../../outside/f", "x"), "forbidden"),
            ("an absolute name", TarBuilder::default().file(&absolute, "x"), "forbidden"),
            ("an absolute directory", TarBuilder::default().member(b'5', b"/outside/", b""), "forbidden"),
            ("an extended name", TarBuilder::default().extended(b'x', &[b"path=../outside/f"]).file("f", "x"), "forbidden"),
            ("a long name", TarBuilder::default().member(b'L', b"././@LongLink", b"../outside/f\0").file("f", "x"), "forbidden"),
            ("a symlink that is there", TarBuilder::default().file("out/f", "x"), "forbidden"),
            ("a directory in one", TarBuilder::default().member(b'5', b"out/new", b""), "forbidden"),
            ("a directory where one is", TarBuilder::default().member(b'5', b"out", b""), "forbidden"),
            ("a symlink of its own", TarBuilder::default().symlink("own", "../outside").file("own/f", "x"), "forbidden"),
            ("an absolute one", TarBuilder::default().symlink("own", root).file("own/f", "x"), "forbidden"),
            ("one behind another", TarBuilder::default().symlink("a", ".").symlink("a/b", "..").file("a/b/f", "x"), "forbidden"),
            ("a magic one", TarBuilder::default().symlink("own", "/proc/self/root").file("own/f", "x"), "forbidden"),
            ("a chmod through one", TarBuilder::default().symlink("own", "../outside").member(b'5', b"own", b""), "forbidden"),
            ("a hard link", TarBuilder::default().hard_link("h", "../outside/f"), "forbidden"),
            ("an absolute hard link", TarBuilder::default().hard_link("h", &absolute), "forbidden"),
            ("a hard link through a symlink", TarBuilder::default().hard_link("h", "out/f"), "forbidden"),
            ("a hard link to a symlink", TarBuilder::default().hard_link("h", "out"), "conflict"),
        ] {
            let answer = import(sandbox, "target", archive.end()).await;
            assert_eq!(answer.code(), code, "{what}: {:?}", answer.json());
            assert!(answer.json()["error"]["details"]["entry"].is_string(), "{what}");
            let check = "ls -A . outside; cat outside/f; stat -c '%a %h' outside/f; stat -c %a outside; rm -rf target/own target/a target/b";
            let left = sandbox.shell(check).await;
            assert_eq!(left, ".:\noutside\ntarget\n\noutside:\nf\nkept\n600 1\n700\n", "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn ambiguous_and_malformed_archives_are_refused() {
    in_sandbox(async |sandbox| {
        let inner = || TarBuilder::default().file("smuggled", "x").cut_off();
        let size = |size: u64| format!("size={size}");
        for (what, archive) in [
            ("two names", TarBuilder::default().member(b'L', b"long", b"a\0").extended(b'x', &[b"path=b"]).file("f", "x").end()),
            (
                "two extended headers",
                TarBuilder::default().extended(b'x', &[b"path=a"]).extended(b'x', &[b"path=b"]).file("f", "x").end(),
            ),
            ("an extended header at the end", TarBuilder::default().extended(b'x', &[b"path=a"]).end()),
            ("a name for all", TarBuilder::default().extended(b'g', &[b"path=a"]).file("f", "x").end()),
            ("a size for all", TarBuilder::default().extended(b'g', &[size(512).as_bytes()]).file("f", "x").end()),
            ("a malformed record", TarBuilder::default().member(b'x', b"x", b"9 path=abc\n").file("f", "x").end()),
            (
                "a hard link with content",
                TarBuilder::default().file("a", "a").raw(Header::new(b'1', b"b").link(b"a").size(512), &inner()).end(),
            ),
            ("a directory with content", TarBuilder::default().raw(Header::new(b'5', b"d").size(512), &inner()).end()),
            ("a symlink with content", TarBuilder::default().raw(Header::new(b'2', b"l").link(b"a").size(512), &inner()).end()),
            ("a negative size", TarBuilder::default().raw(Header::new(b'0', b"f").field(124, &[0xff; 12]), b"").end()),
            ("a huge size", TarBuilder::default().extended(b'x', &[size(u64::MAX).as_bytes()]).file("f", "x").end()),
            (
                "a size that is no number",
                TarBuilder::default().raw(Header::new(b'0', b"f").field(124, b"0000000x001\0"), b"x").end(),
            ),
            (
                "a mixed format",
                TarBuilder::default().raw(Header::new(b'0', b"f").field(257, b"ustar\x0099").field(345, b"prefix"), b"").end(),
            ),
            ("a wrong checksum", [b"x", &inner()[1..]].concat()),
            ("no archive", b"plain text, not an archive".repeat(100)),
            ("nothing", Vec::new()),
            ("half a file", TarBuilder::default().raw(Header::new(b'0', b"f").size(5000), b"half").end()),
            ("half a header", TarBuilder::default().file("f", "x").cut_off()[..700].to_vec()),
            ("a device", TarBuilder::default().member(b'3', b"f", b"").end()),
            ("a block device", TarBuilder::default().member(b'4', b"f", b"").end()),
            ("a FIFO", TarBuilder::default().member(b'6', b"f", b"").end()),
            ("a sparse file", TarBuilder::default().member(b'S', b"f", b"x").end()),
            ("a sparse file, extended", TarBuilder::default().extended(b'x', &[b"GNU.sparse.major=1"]).file("f", "x").end()),
            ("an unknown member", TarBuilder::default().member(b'?', b"f", b"").end()),
            ("a name with a NUL", TarBuilder::default().extended(b'x', &[b"path=a\0b"]).file("f", "x").end()),
            ("a name too long", TarBuilder::default().member(b'L', b"long", &b"a/".repeat(2049)).file("f", "x").end()),
            ("a header too long", TarBuilder::default().raw(Header::new(b'x', b"f").size(8 << 30), b"").end()),
            ("a hard link to nothing", TarBuilder::default().hard_link("f", "nothing").end()),
            ("half a gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
            ("a damaged zstd", vec![0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff]),
        ] {
            let answer = import(sandbox, "target", archive).await;
            assert_eq!(answer.code(), "unprocessable", "{what}: {:?}", answer.json());
            let left = sandbox.shell("find . -name smuggled -o -name f -o -name '.cabana*'; rm -rf target").await;
            assert!(!left.contains("smuggled") && !left.contains(".cabana"), "{what}: {left}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_import_error_says_how_much_was_extracted() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p target/full/x; echo kept > target/file").await;
        let long = format!("path={}", "n".repeat(256));
        for (archive, code, entry) in [
            (TarBuilder::default().file("a", "12345").file("full", "x"), "conflict", "full"),
            (TarBuilder::default().file("a", "12345").symlink("full", "x"), "conflict", "full"),
            (TarBuilder::default().file("a", "12345").member(b'5', b"file/", b""), "conflict", "file/"),
            (TarBuilder::default().file("a", "12345").file("file/below", ""), "conflict", "file/below"),
            (TarBuilder::default().file("a", "12345").file(".", "x"), "conflict", "."),
            (
                TarBuilder::default().file("a", "12345").extended(b'x', &[long.as_bytes()]).file("f", "x"),
                "invalid_request",
                &long[5..],
            ),
            (TarBuilder::default().file("a", "12345").raw(Header::new(b'0', b"f").size(1 << 20), b""), "unprocessable", "f"),
            (
                TarBuilder::default().file("a", "12345").extended(b'x', &[b"size=1125899906842624"]).file("f", "x"),
                "storage_full",
                "f",
            ),
        ] {
            let answer = import(sandbox, "target", archive.end()).await;
            assert_eq!(answer.code(), code, "{entry}");
            let details = &answer.json()["error"]["details"];
            assert_eq!((&details["entries"], &details["size_bytes"], &details["entry"]), (&json!(1), &json!(5), &json!(entry)));
            assert_eq!(sandbox.shell("cat target/a target/file; rm target/a; find . -name '.cabana*'").await, "12345kept\n");
        }
        for (path, code) in [("target/file", "conflict"), ("..", "forbidden"), ("/etc", "forbidden")] {
            assert_eq!(import(sandbox, path, TarBuilder::default().file("a", "x").end()).await.code(), code, "{path}");
        }
        assert_eq!(sandbox.send(sandbox.request(Method::PUT, "/archive")).await.code(), "invalid_request");
    })
    .await;
}

#[tokio::test]
async fn an_archive_above_a_limit_is_refused_and_leaves_nothing() {
    in_kind(Kind::Tight, async |sandbox| {
        let files = |count| (0..count).fold(TarBuilder::default(), |tar, number| tar.file(&number.to_string(), "x"));
        import(sandbox, "target", files(3).end()).await.success();
        let many = import(sandbox, "target", files(4).end()).await;
        assert_eq!((many.code().as_str(), &many.json()["error"]["details"]["limit_entries"]), ("payload_too_large", &json!(3)));
        let bytes = Kind::Tight.limit("CABANA_MAX_ARCHIVE_BYTES");
        let content = "x".repeat(usize::try_from(bytes).unwrap());
        let large = import(sandbox, "target", TarBuilder::default().file("large", &content).end()).await;
        assert_eq!(
            (large.code().as_str(), &large.json()["error"]["details"]["limit_bytes"]),
            ("payload_too_large", &json!(bytes))
        );
        // Little while it is compressed.
        sandbox.shell(&format!("mkdir zeros; head -c {bytes} /dev/zero > zeros/zeros")).await;
        for format in ["tar.gz", "tar.zst"] {
            let bomb = export(sandbox, "zeros", format).await.success();
            assert!(bomb.len() < 1_000_000, "{format}: {} bytes", bomb.len());
            assert_eq!(import(sandbox, "target", bomb).await.code(), "payload_too_large", "{format}");
        }
        assert_eq!(sandbox.shell("ls -A target").await, "0\n1\n2\n");
    })
    .await;
}

#[tokio::test]
async fn a_compression_bomb_is_stopped_by_its_ratio() {
    in_kind(Kind::Tight, async |sandbox| {
        sandbox.shell("mkdir zeros; head -c 80000000 /dev/zero > zeros/zeros").await;
        for format in ["tar.gz", "tar.zst"] {
            let bomb = export(sandbox, "zeros", format).await.success();
            let answer = import(sandbox, "target", bomb).await;
            assert_eq!(answer.code(), "payload_too_large", "{format}");
            assert_eq!(answer.json()["error"]["details"]["limit_ratio"], 20);
            assert_eq!(sandbox.shell("ls -A target").await, "", "{format}");
        }
        import(sandbox, "target", export(sandbox, "zeros", "tar").await.success()).await.success();
    })
    .await;
}
