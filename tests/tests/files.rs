//! Files: the byte lane and the operations.

use cabana_protocol::file::{FilePath, Kind, List, Metadata, Mkdir, Move, Read, Remove, Stat, Write};
use cabana_tests::{Sandbox, in_sandbox};
use futures_util::stream;
use reqwest::{Body, Method, StatusCode, header};
use serde_json::json;

fn noise(length: u32) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

async fn stat(sandbox: &Sandbox, path: &str) -> Metadata {
    sandbox.call(Stat { path: path.into() }).await
}

#[tokio::test]
async fn content_comes_back_as_it_went_in() {
    in_sandbox(async |sandbox| {
        for (path, content) in [("empty", vec![]), ("small", b"h\0i\n".to_vec()), ("a/new/directory/large", noise(9_000_000))] {
            let answer = sandbox.put(path, content.clone()).await;
            assert_eq!(answer.status, StatusCode::CREATED);
            assert_eq!(answer.json()["size_bytes"], content.len());
            let etag = answer.json()["etag"].as_str().unwrap().to_owned();
            let answer = sandbox.get(path).await;
            assert_eq!(answer.header("etag"), Some(etag.as_str()));
            assert_eq!(answer.header("content-length"), Some(content.len().to_string().as_str()));
            assert!(answer.success() == content);
            let absolute = format!("{}/{path}", sandbox.root);
            assert!(sandbox.get(&absolute).await.success() == content);
            let seen = sandbox.shell(&format!("sha256sum < {path} | cut -d' ' -f1; wc -c < {path}")).await;
            assert!(seen.ends_with(&format!("\n{}\n", content.len())));
        }
        assert_eq!(sandbox.put("small", "again").await.status, StatusCode::OK, "replaced, not created");
    })
    .await;
}

#[tokio::test]
async fn content_streams_without_a_length() {
    in_sandbox(async |sandbox| {
        let pieces: Vec<_> = (0..100).map(|number| Ok::<_, std::io::Error>(format!("{number}\n").repeat(1_000))).collect();
        let whole: String = pieces.iter().flatten().cloned().collect();
        sandbox.put("streamed", Body::wrap_stream(stream::iter(pieces))).await.success();
        assert!(sandbox.get("streamed").await.success() == whole.as_bytes());
    })
    .await;
}

#[tokio::test]
async fn a_part_can_be_asked_for() {
    in_sandbox(async |sandbox| {
        sandbox.put("digits", "0123456789").await.success();
        let etag = sandbox.get("digits").await.header("etag").unwrap().to_owned();
        let tagged = |tag: &str| vec![("range", "bytes=1-2".to_owned()), ("if-range", tag.to_owned())];
        let range = |range: &str| vec![("range", range.to_owned())];
        for (fields, status, content, content_range) in [
            (range("bytes=2-4"), 206, "234", Some("bytes 2-4/10")),
            (range("bytes=7-"), 206, "789", Some("bytes 7-9/10")),
            (range("bytes=-2"), 206, "89", Some("bytes 8-9/10")),
            (range("bytes=5-99"), 206, "56789", Some("bytes 5-9/10")),
            (range("bytes=10-"), 416, "", Some("bytes */10")),
            (range("bytes=0-1,4-5"), 200, "0123456789", None),
            (tagged(&etag), 206, "12", Some("bytes 1-2/10")),
            (tagged("\"other\""), 200, "0123456789", None),
            (vec![("if-none-match", etag.clone())], 304, "", None),
            (vec![("if-none-match", "\"other\"".to_owned())], 200, "0123456789", None),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let request = sandbox.file(method.clone(), "digits");
                let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, value));
                let answer = sandbox.send(request).await;
                assert_eq!((answer.status.as_u16(), answer.header("content-range")), (status, content_range), "{fields:?}");
                let body = if method == Method::HEAD { "" } else { content };
                assert_eq!(String::from_utf8_lossy(&answer.bytes), body, "{method} {fields:?}");
                if status < 300 {
                    assert_eq!(answer.header("content-length"), Some(content.len().to_string().as_str()), "{method} {fields:?}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_can_be_tied_to_a_version() {
    in_sandbox(async |sandbox| {
        let put = async |field: &'static str, tag: &str, content: &'static str| {
            sandbox.send(sandbox.file(Method::PUT, "f").header(field, tag).body(content)).await
        };
        assert_eq!(put("if-match", "*", "no").await.code(), "precondition_failed");
        let first = put("if-none-match", "*", "one").await.json()["etag"].as_str().unwrap().to_owned();
        assert_eq!(put("if-none-match", "*", "no").await.code(), "precondition_failed");
        assert_eq!(put("if-match", "\"other\"", "no").await.code(), "precondition_failed");
        let second = put("if-match", &first, "two").await.json()["etag"].as_str().unwrap().to_owned();
        assert_ne!(first, second);
        assert_eq!(put("if-match", &first, "no").await.code(), "precondition_failed");
        assert_eq!(sandbox.get("f").await.success(), b"two");
        let delete = async |tag: &str| sandbox.send(sandbox.file(Method::DELETE, "f").header(header::IF_MATCH, tag)).await;
        assert_eq!(delete(&first).await.code(), "precondition_failed");
        assert_eq!(delete(&second).await.status, StatusCode::NO_CONTENT);
        assert_eq!(sandbox.get("f").await.code(), "not_found");
        assert_eq!(sandbox.send(sandbox.file(Method::DELETE, "f")).await.code(), "not_found");
    })
    .await;
}

#[tokio::test]
async fn of_many_writers_with_one_version_one_wins() {
    in_sandbox(async |sandbox| {
        let mut etag = sandbox.put("contested", "start").await.json()["etag"].as_str().unwrap().to_owned();
        for round in 0..10 {
            let writes = (0..16).map(async |writer| {
                let request = sandbox.file(Method::PUT, "contested").header(header::IF_MATCH, &etag);
                sandbox.send(request.body(format!("{round} {writer}"))).await
            });
            let answers = futures_util::future::join_all(writes).await;
            let won: Vec<_> = answers.iter().filter(|answer| answer.status.is_success()).collect();
            assert_eq!(won.len(), 1);
            assert!(answers.iter().all(|answer| answer.status.is_success() || answer.code() == "precondition_failed"));
            etag = won[0].json()["etag"].as_str().unwrap().to_owned();
        }
        assert_eq!(sandbox.shell("ls -A").await, "contested\n", "no temporary file is left");
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_changes_nothing() {
    in_sandbox(async |sandbox| {
        sandbox.put("kept", "old").await.success();
        let broken = stream::iter([Ok("new ".repeat(100_000)), Err(std::io::Error::other("the client breaks off"))]);
        assert!(sandbox.file(Method::PUT, "kept").body(Body::wrap_stream(broken)).send().await.is_err());
        cabana_tests::until("the temporary file is gone", async || sandbox.shell("ls -A").await == "kept\n").await;
        assert_eq!(sandbox.get("kept").await.success(), b"old");
    })
    .await;
}

#[tokio::test]
async fn modes_are_kept_and_set() {
    in_sandbox(async |sandbox| {
        let put = async |path: &str, query: &[(&str, &str)]| {
            sandbox.send(sandbox.file(Method::PUT, path).query(query).body("#!/bin/sh\necho ran\n")).await.success()
        };
        put("plain", &[]).await;
        put("program", &[("mode", "0755")]).await;
        assert_eq!(stat(sandbox, "plain").await.mode.to_string(), "0644");
        assert_eq!(sandbox.shell("./program").await, "ran\n");
        put("program", &[]).await;
        assert_eq!(stat(sandbox, "program").await.mode.to_string(), "0755", "a replaced file keeps its mode");
    })
    .await;
}

#[tokio::test]
async fn the_operations_do_what_they_say() {
    in_sandbox(async |sandbox| {
        let write = |path: &str, content: &str, append| Write {
            path: path.into(),
            content: content.into(),
            mode: None,
            append,
            if_match: None,
        };
        let read = |path: &str, offset, length| Read { path: path.into(), offset, length };
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
        sandbox.call(Move { from: "d/f".into(), to: "g".into() }).await;
        sandbox.call(Mkdir { path: "x/y/z".into(), parents: true }).await;
        sandbox.call(Mkdir { path: "x/y/z".into(), parents: true }).await;
        assert_eq!(sandbox.post("file.mkdir", json!({ "path": "x" })).await.code(), "conflict");
        assert_eq!(sandbox.post("file.remove", json!({ "path": "x" })).await.code(), "conflict");
        assert_eq!(sandbox.post("file.move", json!({ "from": "x", "to": "x/y/in-itself" })).await.code(), "conflict");
        assert_eq!(sandbox.post("file.write", json!({ "path": "x", "content": "" })).await.code(), "conflict");
        sandbox.call(Remove { path: "x".into(), recursive: true }).await;
        sandbox.call(Remove { path: "d".into(), recursive: false }).await;
        assert_eq!(sandbox.shell("ls -A").await, "g\n");
    })
    .await;
}

#[tokio::test]
async fn a_path_is_described_and_never_followed() {
    in_sandbox(async |sandbox| {
        sandbox.shell("printf hello > file; ln -s file link; mkdir directory; mkfifo fifo; chmod 750 file; touch -d 2020-01-02T03:04:05Z file").await;
        let file = stat(sandbox, "file").await;
        assert_eq!((file.kind, file.size_bytes, file.mode.to_string()), (Kind::File, 5, "0750".to_owned()));
        assert_eq!(file.modified_at, "2020-01-02T03:04:05.000000000Z");
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
        let list = |depth, hidden, limit, cursor: Option<FilePath>| List { path: ".".into(), depth, hidden, limit, cursor };
        let paths = |entries: &[Metadata]| entries.iter().map(|entry| entry.path.to_string()).collect::<Vec<_>>();
        let top = sandbox.call(list(None, None, None, None)).await;
        assert_eq!(paths(&top.entries), [".hidden", "a", "b", "b.x", "outside", "z"]);
        let all = sandbox.call(list(Some(9), Some(false), None, None)).await;
        let expected = ["a", "b", "b/c", "b/c/d", "b/e", "b.x", "outside", "z"];
        assert_eq!((paths(&all.entries), all.cursor), (expected.map(str::to_owned).to_vec(), None));
        for limit in 1..=9 {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = sandbox.call(list(Some(9), Some(false), Some(limit), cursor)).await;
                assert!(page.entries.len() <= limit as usize);
                seen.extend(paths(&page.entries));
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "limit {limit}");
        }
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
            sandbox.call(Write { path: path.clone(), content: "x".into(), mode: None, append: false, if_match: None }).await;
            assert_eq!(sandbox.call(Stat { path: path.clone() }).await.path, path);
            let listed = sandbox.call(List { path: ".".into(), depth: None, hidden: None, limit: None, cursor: None }).await;
            assert_eq!(listed.entries.iter().map(|entry| &entry.path).collect::<Vec<_>>(), [&path]);
            let encoded: String = name.iter().map(|byte| format!("%{byte:02x}")).collect();
            assert_eq!(sandbox.send(sandbox.request(Method::GET, &format!("/files?path={encoded}"))).await.success(), b"x");
            sandbox.call(Remove { path, recursive: false }).await;
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_outside_the_roots_is_reached() {
    in_sandbox(async |sandbox| {
        let twin = format!("{}-twin", sandbox.root);
        let setup = format!(
            "mkdir -p {twin} inside && echo secret > {twin}/f && ln -s {twin} link && ln -s {twin}/f filelink && ln -s /proc/self/root magic \
             && ln -s ../../../../../.. up && ln -s /proc/self/fd fds"
        );
        sandbox.shell(&setup).await;
        let outside = [
            "../f".to_owned(),
            "inside/../../f".to_owned(),
            "/etc/passwd".to_owned(),
            format!("{}/../etc/passwd", sandbox.root),
            format!("{twin}/f"),
            "link/f".to_owned(),
            "filelink".to_owned(),
            "magic/etc/passwd".to_owned(),
            "up/etc/passwd".to_owned(),
            "fds/0".to_owned(),
            "/".to_owned(),
            "..".to_owned(),
        ];
        for path in &outside {
            assert_eq!(sandbox.post("file.read", json!({ "path": path })).await.code(), "forbidden", "read {path}");
            assert_eq!(sandbox.get(path).await.code(), "forbidden", "get {path}");
        }
        for path in outside.iter().filter(|path| !matches!(path.as_str(), "filelink" | "..")) {
            assert_eq!(sandbox.put(path, "x").await.code(), "forbidden", "put {path}");
            for (name, body) in [
                ("file.stat", json!({ "path": path })),
                ("file.write", json!({ "path": path, "content": "x" })),
                ("file.mkdir", json!({ "path": format!("{path}/new"), "parents": true })),
                ("file.remove", json!({ "path": path, "recursive": true })),
                ("file.move", json!({ "from": path, "to": "stolen" })),
                ("file.move", json!({ "from": "inside", "to": path })),
            ] {
                assert_eq!(sandbox.post(name, body.clone()).await.code(), "forbidden", "{name} {body}");
            }
        }
        sandbox.put("filelink", "a file of its own").await.success();
        assert_eq!(sandbox.shell(&format!("cat {twin}/f filelink; rm -r {twin}")).await, "secret\na file of its own");
    })
    .await;
}

#[tokio::test]
async fn a_race_with_a_symlink_leads_nowhere() {
    in_sandbox(async |sandbox| {
        let twin = format!("{}-race", sandbox.root);
        sandbox
            .shell(&format!("mkdir -p {twin} real && echo outside > {twin}/f && echo inside > real/f && ln -s {twin} evil"))
            .await;
        // Swaps directory and symlink as quickly as it can.
        let swap = "import ctypes, os\nlibc = ctypes.CDLL(None)\nwhile not os.path.exists('stop'):\n  \
                    assert libc.renameat2(-100, b'real', -100, b'evil', 2) == 0";
        let race = async {
            for round in 0..300 {
                let read = sandbox.get("real/f").await;
                assert!(
                    if read.status.is_success() { read.bytes == b"inside\n" } else { read.code() == "forbidden" },
                    "{read:?}"
                );
                sandbox.put(&format!("real/{round}"), "x").await;
                sandbox.post("file.remove", json!({ "path": "real/f2", "recursive": true })).await;
            }
            sandbox.put("stop", "").await.success();
        };
        let (output, ()) = tokio::join!(sandbox.exec(json!({ "command": ["python3", "-c", swap] })), race);
        assert!(output.result.exit.success(), "{output:?}");
        assert_eq!(sandbox.shell(&format!("ls -A {twin}; rm -r {twin}")).await, "f\n");
    })
    .await;
}
