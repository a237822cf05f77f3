//! Uploads in parts: in place, in order, and on from where they were interrupted.

use cabana_protocol::file::Write;
use cabana_tests::{Answer, Sandbox, in_agent_by, in_sandbox};
use futures_util::stream;
use reqwest::{Body, Method, StatusCode, header};
use serde_json::json;

use super::{on_disk, stat};

async fn put(sandbox: &Sandbox, path: &str, range: &str, body: impl Into<Body>) -> Answer {
    sandbox.send(sandbox.file(Method::PUT, path).header(header::CONTENT_RANGE, range).body(body)).await
}

#[tokio::test]
async fn parts_in_order_make_the_file() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir d; seq 1000 > d/f; chmod 640 d/f").await;
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let part = content.len() / 3;
        for (path, status) in [("d/f", StatusCode::OK), ("new/f", StatusCode::CREATED)] {
            for number in 0..3 {
                let (first, end) = (number * part, (number + 1) * part);
                let range = format!("bytes {first}-{}/{}", end - 1, content.len());
                let answer = put(sandbox, path, &range, content[first..end].to_vec()).await;
                assert_eq!(answer.status, if number == 0 { status } else { StatusCode::OK });
                assert_eq!(answer.json()["size_bytes"], end, "{path}");
                assert_eq!(answer.json()["etag"], json!(stat(sandbox, path).await.etag), "{path}");
            }
            assert!(sandbox.get(path).await.success() == content, "{path}");
        }
        assert_eq!(stat(sandbox, "d/f").await.mode.to_string(), "0640");
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_part_can_be_resumed() {
    in_sandbox(async |sandbox| {
        sandbox.put("f", "0123").await.success();
        let pieces = stream::iter([Ok("45".to_owned()), Err(std::io::Error::other("the connection breaks"))]);
        let request = sandbox.file(Method::PUT, "f").header(header::CONTENT_RANGE, "bytes 4-9/10");
        assert!(request.body(Body::wrap_stream(pieces)).send().await.is_err());
        let head = sandbox.send(sandbox.file(Method::HEAD, "f")).await;
        let size: usize = head.header("content-length").unwrap().parse().unwrap();
        assert!((4..=6).contains(&size), "{size}");
        let rest = &"0123456789"[size..];
        put(sandbox, "f", &format!("bytes {size}-9/10"), rest).await.success();
        assert_eq!(sandbox.get("f").await.success(), b"0123456789");
    })
    .await;
}

#[tokio::test]
async fn refused_parts_change_nothing() {
    in_sandbox(async |sandbox| {
        sandbox.put("f", "0123456789").await.success();
        sandbox.shell("mkdir d; mkfifo fifo").await;
        let etag = stat(sandbox, "f").await.etag;
        for (path, range, body, status, code) in [
            ("f", "bytes 11-12/13", "xx", 416, "range_not_satisfiable"),
            ("f", "bytes 2-5/10", "xx", 400, "invalid_request"),
            ("f", "bytes 2-5/10", "xxxxx", 400, "invalid_request"),
            ("f", "bytes 5-2/10", "xxxx", 400, "invalid_request"),
            ("f", "bytes 2-5/5", "xxxx", 400, "invalid_request"),
            ("f", "bytes */10", "", 400, "invalid_request"),
            ("f", "lines 2-5/10", "xxxx", 400, "invalid_request"),
            ("new", "bytes 1-2/3", "xx", 404, "not_found"),
            ("none/new", "bytes 1-2/3", "xx", 404, "not_found"),
            ("d", "bytes 0-1/2", "xx", 409, "conflict"),
            ("fifo", "bytes 0-1/2", "xx", 409, "conflict"),
            ("../f", "bytes 0-1/2", "xx", 403, "forbidden"),
        ] {
            let answer = put(sandbox, path, range, body).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{path} {range}");
            if status == 416 {
                assert_eq!(answer.json()["error"]["details"]["size_bytes"], 10);
            }
        }
        let conditional =
            sandbox.file(Method::PUT, "f").header(header::CONTENT_RANGE, "bytes 0-1/2").header(header::IF_MATCH, "\"x\"");
        assert_eq!(sandbox.send(conditional.body("xx")).await.code(), "precondition_failed");
        assert_eq!((stat(sandbox, "f").await.etag, sandbox.shell("ls").await), (etag, "d\nf\nfifo\n".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn one_of_two_writers_of_a_version_wins() {
    in_sandbox(async |sandbox| {
        for round in 0..10 {
            let etag = sandbox.put("f", "0123456789").await.json()["etag"].as_str().unwrap().to_owned();
            let write = async |text: &'static str| {
                let request = sandbox.file(Method::PUT, "f").header(header::CONTENT_RANGE, "bytes 5-9/10");
                sandbox.send(request.header(header::IF_MATCH, &etag).body(text)).await
            };
            let (one, other) = tokio::join!(write("aaaaa"), write("bbbbb"));
            let won =
                [(&one, "01234aaaaa"), (&other, "01234bbbbb")].map(|(answer, content)| (answer.status.is_success(), content));
            let lost = if won[0].0 { other } else { one };
            assert_eq!(won.iter().filter(|(won, _)| *won).count(), 1, "round {round}");
            assert!(["precondition_failed", "conflict"].contains(&lost.code().as_str()));
            let content = won.iter().find(|(won, _)| *won).unwrap().1;
            assert_eq!(sandbox.get("f").await.success(), content.as_bytes());
        }
    })
    .await;
}

#[tokio::test]
async fn small_content_is_written_at_an_offset() {
    in_sandbox(async |sandbox| {
        let write = |offset: u64, content: &str| Write {
            path: "d/f".into(),
            content: content.into(),
            mode: None,
            append: false,
            offset: Some(offset),
            if_match: None,
            session: None,
        };
        assert!(sandbox.call(write(0, "0123")).await.created);
        sandbox.shell("ln d/f d/other").await;
        let written = sandbox.call(write(4, "4567")).await;
        assert_eq!((written.created, written.size_bytes), (false, 8));
        assert_eq!(sandbox.call(write(2, "__")).await.size_bytes, 8, "what is behind stays");
        assert_eq!(sandbox.call(write(8, "")).await.etag, stat(sandbox, "d/f").await.etag.unwrap());
        assert_eq!(sandbox.shell("cat d/other").await, "01__4567", "in place");
        let request = |fields| {
            let mut request = json!({ "path": "d/f", "content": "x" });
            request.as_object_mut().unwrap().extend(serde_json::from_value::<serde_json::Map<_, _>>(fields).unwrap());
            request
        };
        for (fields, code) in [
            (json!({ "offset": 9 }), "range_not_satisfiable"),
            (json!({ "offset": 1, "append": true }), "invalid_request"),
            (json!({ "offset": -1 }), "invalid_request"),
            (json!({ "offset": u64::MAX }), "payload_too_large"),
            (json!({ "offset": 1, "if_match": "\"x\"" }), "precondition_failed"),
            (json!({ "offset": 1, "path": "d/none" }), "not_found"),
        ] {
            assert_eq!(sandbox.post("file.write", request(fields.clone())).await.code(), code, "{fields}");
        }
        assert_eq!(sandbox.shell("cat d/f; ls d").await, "01__4567f\nother\n");
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn a_part_that_does_not_fit_on_the_disk_changes_nothing() {
        in_agent_by(&on_disk("small:size=1m"), &[], async |sandbox| {
            sandbox.shell("echo old > small/old").await;
            let before = stat(sandbox, "small/old").await;
            for path in ["small/old", "small/new"] {
                let answer = put(sandbox, path, "bytes 0-2097151/*", vec![b'x'; 2 << 20]).await;
                assert_eq!(answer.code(), "storage_full", "{path}");
            }
            assert_eq!((stat(sandbox, "small/old").await, sandbox.shell("ls small").await), (before, "old\n".to_owned()));
            put(sandbox, "small/old", "bytes 4-7/*", "more").await.success();
            assert_eq!(sandbox.shell("cat small/old").await, "old\nmore");
        })
        .await;
    }
}
