//! Writes keep the owner, the mode and whole content, and leave nothing else.

use cabana_tests::{Sandbox, in_sandbox, until};
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::stat;

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

async fn write(sandbox: &Sandbox, body: Value) -> cabana_tests::Answer {
    sandbox.post("file.write", body).await
}

#[tokio::test]
async fn requested_modes_ignore_the_umask() {
    in_sandbox(async |sandbox| {
        for (path, append) in [("replaced", false), ("appended", true)] {
            write(sandbox, json!({ "path": path, "content": "", "append": append, "mode": "0666" })).await.success();
            assert_eq!(stat(sandbox, path).await.mode.to_string(), "0666", "whatever the umask");
            write(sandbox, json!({ "path": path, "content": "x", "append": append, "mode": "4710" })).await.success();
            assert_eq!(stat(sandbox, path).await.mode.to_string(), "4710");
        }
        write(sandbox, json!({ "path": "new", "content": "", "append": true })).await.success();
        assert_eq!(stat(sandbox, "new").await.mode.to_string(), "0644");
    })
    .await;
}

#[tokio::test]
async fn a_replaced_file_keeps_its_owner_and_loses_its_privileges() {
    in_sandbox(async |sandbox| {
        // A user that may not give files away keeps them.
        let before = sandbox.shell("touch f; chown 1000:1000 f 2> /dev/null; chmod 6755 f; stat -c %u:%g f").await;
        sandbox.put("f", "new").await.success();
        assert_eq!(sandbox.shell("stat -c %u:%g f").await, before);
        assert_eq!(stat(sandbox, "f").await.mode.to_string(), "0755", "new content has not earned the set-user-ID bit");
    })
    .await;
}

#[tokio::test]
async fn a_symlink_is_followed_by_reads_and_writes() {
    in_sandbox(async |sandbox| {
        sandbox
            .shell("mkdir d; echo old > d/file; chmod 600 d/file; ln -s d/file link; ln -s link twice; ln -s new/sub/file dangling; ln -s loop loop; ln -s d directory; ln -s d/file removed")
            .await;
        let etag = sandbox.get("twice").await.header("etag").unwrap().to_owned();
        let put = async |etag: &str| sandbox.send(sandbox.file(Method::PUT, "twice").header(header::IF_MATCH, etag).body("put")).await;
        let answer = put(&etag).await;
        assert_eq!(answer.json()["created"], false);
        assert_eq!(answer.json()["etag"].as_str(), sandbox.get("link").await.header("etag"));
        assert_eq!(put(&etag).await.code(), "precondition_failed");
        write(sandbox, json!({ "path": "link", "content": " and more", "append": true })).await.success();
        assert_eq!(sandbox.shell("cat d/file; readlink link twice").await, "put and mored/file\nlink\n");
        assert_eq!(stat(sandbox, "d/file").await.mode.to_string(), "0600");
        assert_eq!(write(sandbox, json!({ "path": "dangling", "content": "made" })).await.json()["created"], true);
        assert_eq!(sandbox.shell("cat new/sub/file").await, "made");
        assert_eq!(sandbox.put("loop", "x").await.code(), "forbidden");
        assert_eq!(sandbox.put("directory", "x").await.code(), "conflict");
        let etag = sandbox.get("removed").await.header("etag").unwrap().to_owned();
        let delete = async |etag: &str| sandbox.send(sandbox.file(Method::DELETE, "removed").header(header::IF_MATCH, etag)).await;
        assert_eq!(delete("\"other\"").await.code(), "precondition_failed");
        delete(&etag).await.success();
        assert_eq!(sandbox.shell("ls").await, "d\ndangling\ndirectory\nlink\nloop\nnew\ntwice\n");
    })
    .await;
}

#[tokio::test]
async fn a_refused_write_makes_no_directories() {
    in_sandbox(async |sandbox| {
        for append in [false, true] {
            let body = json!({ "path": "a/b/c", "content": "x", "append": append, "if_match": "*" });
            assert_eq!(write(sandbox, body).await.code(), "precondition_failed");
        }
        let put = sandbox.file(Method::PUT, "a/b/c").header(header::IF_MATCH, "\"other\"").body("x");
        assert_eq!(sandbox.send(put).await.code(), "precondition_failed");
        assert_eq!(sandbox.shell("ls -A").await, "");
    })
    .await;
}

#[tokio::test]
async fn a_fifo_is_refused_without_disturbing_its_writer() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkfifo fifo").await;
        let script = "echo $$ > writer; exec sh -c 'printf precious > fifo; : waits for a reader'";
        let read = async {
            // It sleeps only where it opens the FIFO.
            let waits = "ps -o stat=,args= -p $(cat writer) | grep '^S.*waits for a reader'";
            until("the writer waits", async || sandbox.exec(json!({ "command": waits })).await.result.success()).await;
            assert_eq!(sandbox.get("fifo").await.code(), "conflict");
            assert_eq!(sandbox.post("file.read", json!({ "path": "fifo" })).await.code(), "conflict");
            assert_eq!(sandbox.put("fifo", "x").await.code(), "conflict");
            assert_eq!(sandbox.shell("cat fifo").await, "precious");
        };
        let (written, ()) = tokio::join!(sandbox.exec(json!({ "command": script })), read);
        assert!(written.result.success(), "{written:?}");
    })
    .await;
}
