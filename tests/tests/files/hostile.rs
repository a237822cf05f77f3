//! Paths that no file can have, special files, sizes beyond the disk, and files that change while they are read.

use std::io;

use cabana_tests::{drain, in_either_confinement, in_sandbox};
use futures_util::{
    future,
    stream::{self, StreamExt},
};
use reqwest::{Body, Method, header};
use serde_json::json;

#[tokio::test]
async fn a_path_is_percent_decoded_once() {
    in_either_confinement(async |sandbox| {
        for (query, code) in [
            ("path=%2e%2e%2f%2e%2e%2fetc%2fpasswd".to_owned(), "forbidden"),
            ("path=%252e%252e%252fetc".to_owned(), "not_found"),
            ("path=..%5c..%5cetc%5cpasswd".to_owned(), "not_found"),
            ("path=%c0%ae%c0%ae/etc".to_owned(), "not_found"),
            ("path=a%00b".to_owned(), "invalid_request"),
            ("path=".to_owned(), "invalid_request"),
            (format!("path={}", "n".repeat(256)), "invalid_request"),
            (format!("path={}", "d/".repeat(2_500)), "invalid_request"),
            (format!("path={}f", "./".repeat(2_040)), "not_found"),
        ] {
            let answer = sandbox.send(sandbox.request(Method::GET, &format!("/files?{query}"))).await;
            assert_eq!(answer.code(), code, "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn special_files_are_refused_at_once() {
    in_sandbox(async |sandbox| {
        sandbox
            .shell("mkfifo fifo; mknod zero c 1 5 || mkfifo zero; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"; mkdir d")
            .await;
        for path in ["fifo", "zero", "socket", "d"] {
            assert_eq!(sandbox.get(path).await.code(), "conflict", "{path}");
            assert_eq!(sandbox.post("file.read", json!({ "path": path })).await.code(), "conflict", "{path}");
            assert_eq!(sandbox.post("file.write", json!({ "path": path, "content": "x", "append": true })).await.code(), "conflict");
        }
    })
    .await;
}

/// The kernel lets a user link only to files that the user owns or may write, so reading and appending by another name need no care.
#[tokio::test]
async fn replacing_a_file_leaves_its_hard_links_unchanged() {
    in_either_confinement(async |sandbox| {
        let outside = format!("{}-linked", sandbox.root);
        let archive = sandbox.shell("mkdir archived; echo new > archived/f; tar -C archived -cf archive f; echo new > new").await;
        assert_eq!(archive, "");
        let archive = sandbox.get("archive").await.success();
        let operations = [
            ("file.write", json!({ "path": "f", "content": "new\n" })),
            ("file.edit", json!({ "path": "f", "edits": [{ "old": "old", "new": "new" }] })),
            ("file.patch", json!({ "path": ".", "patch": "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\n+new\n" })),
            ("file.copy", json!({ "from": "new", "to": "f" })),
            ("PUT", json!("/files?path=f")),
            ("PUT", json!("/archive?path=.")),
        ];
        for (name, request) in operations {
            sandbox
                .shell_as_root(&format!("mkdir {outside}; echo old > {outside}/f; chmod 600 {outside}/f; ln {outside}/f f"))
                .await;
            match (name, request.as_str()) {
                ("PUT", Some("/files?path=f")) => sandbox.put("f", "new\n").await.success(),
                ("PUT", Some(route)) => sandbox.send(sandbox.request(Method::PUT, route).body(archive.clone())).await.success(),
                _ => sandbox.post(name, request.clone()).await.success(),
            };
            let seen = sandbox.shell_as_root(&format!("cat f {outside}/f; stat -c '%h %a' {outside}/f; rm -r f {outside}")).await;
            assert_eq!(seen, "new\nold\n1 600\n", "{name} {request}");
        }
    })
    .await;
}

#[tokio::test]
async fn readers_see_one_whole_version_of_a_replaced_file() {
    in_sandbox(async |sandbox| {
        let content = |round: usize| ["a", "b"][round % 2].repeat(300_000);
        sandbox.put("f", content(0)).await.success();
        let write = async {
            for round in 0..200 {
                sandbox.put("f", content(round)).await.success();
            }
        };
        let read = async |_| {
            for _ in 0..200 {
                let seen = sandbox.get("f").await.success();
                assert!(seen == content(0).as_bytes() || seen == content(1).as_bytes(), "{} bytes", seen.len());
            }
        };
        future::join(write, future::join_all((0..2).map(read))).await;
    })
    .await;
}

#[tokio::test]
async fn a_file_truncated_during_a_download_breaks_it_off() {
    in_sandbox(async |sandbox| {
        sandbox.shell("truncate -s 500M f").await;
        let mut response = sandbox.file(Method::GET, "f").send().await.unwrap();
        assert!(response.chunk().await.unwrap().is_some());
        sandbox.shell("truncate -s 1000 f").await;
        assert!(drain(response).await.is_err(), "it must not look whole");
        assert_eq!(sandbox.get("f").await.success().len(), 1_000);
    })
    .await;
}

#[tokio::test]
async fn an_upload_larger_than_the_disk_is_refused_before_its_body() {
    in_sandbox(async |sandbox| {
        sandbox.put("f", "kept").await.success();
        // Of all that is announced, only the beginning is ever sent.
        let beginning = stream::iter([Ok::<_, io::Error>("x")]).chain(stream::pending());
        let request = sandbox.file(Method::PUT, "f").header(header::CONTENT_LENGTH, 1_u64 << 50);
        assert_eq!(sandbox.send(request.body(Body::wrap_stream(beginning))).await.code(), "storage_full");
        assert_eq!(sandbox.shell("cat f; ls -A").await, "keptf\n");
    })
    .await;
}
