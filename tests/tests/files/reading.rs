//! Reading in JSON: ranges of bytes and of lines, encodings, and media types.

use cabana_protocol::file::Lines;
use cabana_tests::in_sandbox;
use serde_json::json;

use super::read;

#[tokio::test]
async fn lines_are_read_with_their_breaks() {
    in_sandbox(async |sandbox| {
        sandbox.put("poem", "one\ntwo\r\n\nfour").await.success();
        for (lines, content, offset, found) in [
            (json!({}), "one\ntwo\r\n\nfour", 0, Some((1, 4))),
            (json!({ "from": 2, "to": 3 }), "two\r\n\n", 4, Some((2, 3))),
            (json!({ "to": 1 }), "one\n", 0, Some((1, 1))),
            (json!({ "from": 4, "to": 99 }), "four", 10, Some((4, 4))),
            (json!({ "from": 5 }), "", 14, None),
        ] {
            let answer = sandbox.post("file.read", json!({ "path": "poem", "lines": lines })).await.json();
            let found = found.map(|(from, to)| json!({ "from": from, "to": to })).unwrap_or_default();
            assert_eq!(
                (&answer["content"], &answer["offset"], &answer["lines"]),
                (&json!(content), &json!(offset), &found),
                "{lines}"
            );
        }
        for lines in [json!({ "from": 0 }), json!({ "from": 3, "to": 2 })] {
            let answer = sandbox.post("file.read", json!({ "path": "poem", "lines": lines })).await;
            assert_eq!(answer.code(), "invalid_request", "{lines}");
        }
        let both = json!({ "path": "poem", "offset": 1, "lines": { "from": 1 } });
        assert_eq!(sandbox.post("file.read", both).await.code(), "invalid_request");
    })
    .await;
}

#[tokio::test]
async fn lines_deep_in_large_files_are_read_and_oversized_ones_refused() {
    in_sandbox(async |sandbox| {
        sandbox
            .shell("seq 3000000 > numbers; head -c 9000000 /dev/zero | tr '\\0' x > wide; echo >> wide; echo end >> wide")
            .await;
        let lines = |from, to| Some(Lines { from, to });
        let mut request = read("numbers", None, None);
        request.lines = lines(2_999_999, None);
        assert_eq!(sandbox.call(request).await.content, "2999999\n3000000\n".into());
        let mut request = read("wide", None, None);
        request.lines = lines(2, None);
        assert_eq!(sandbox.call(request).await.content, "end\n".into());
        for body in [json!({ "path": "wide", "lines": { "to": 1 } }), json!({ "path": "wide" }), json!({ "path": "numbers" })] {
            let answer = sandbox.post("file.read", body).await;
            assert_eq!(answer.code(), "payload_too_large");
            assert_eq!(answer.json()["error"]["details"]["limit_bytes"], 8 << 20);
        }
    })
    .await;
}

#[tokio::test]
async fn content_is_read_in_the_requested_encoding() {
    in_sandbox(async |sandbox| {
        sandbox.put("text", "h\u{e9}").await.success();
        sandbox.put("binary", vec![0xff, 0xfe]).await.success();
        let base64 = |text: &str| json!({ "base64": text });
        for (path, encoding, content) in [
            ("text", json!(null), json!("h\u{e9}")),
            ("text", json!("text"), json!("h\u{e9}")),
            ("text", json!("base64"), base64("aMOp")),
            ("binary", json!(null), base64("//4=")),
            ("binary", json!("base64"), base64("//4=")),
        ] {
            let answer = sandbox.post("file.read", json!({ "path": path, "encoding": encoding })).await;
            assert_eq!(answer.json()["content"], content, "{path} {encoding}");
        }
        let binary = json!({ "path": "binary", "encoding": "text" });
        assert_eq!(sandbox.post("file.read", binary).await.code(), "unprocessable");
        let cut = json!({ "path": "text", "length": 2, "encoding": "text" });
        assert_eq!(sandbox.post("file.read", cut).await.code(), "unprocessable");
    })
    .await;
}

#[tokio::test]
async fn the_media_type_follows_content_and_name() {
    in_sandbox(async |sandbox| {
        for (path, content, media_type) in [
            ("main.rs", b"fn main() {}".as_slice(), "text/x-rust"),
            ("module.ts", b"export {}", "text/plain"),
            ("picture", b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
            ("notes", b"hello", "text/plain"),
            ("noise", b"\0\xff", "application/octet-stream"),
        ] {
            sandbox.put(path, content).await.success();
            assert_eq!(sandbox.call(read(path, Some(1), None)).await.media_type, media_type, "{path}");
        }
    })
    .await;
}
