//! The byte lane.

use cabana_tests::in_sandbox;
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

#[tokio::test]
async fn the_media_type_is_told_by_bytes_and_name() {
    in_sandbox(async |sandbox| {
        let large = [b"\x89PNG\r\n\x1a\n\0".as_slice(), &noise(200_000)].concat();
        for (path, content, media_type) in [
            ("main.rs", b"fn main() {}".to_vec(), "text/x-rust; charset=utf-8"),
            ("page.html", b"<script>alert(1)</script>".to_vec(), "text/html; charset=utf-8"),
            ("data.json", b"{}".to_vec(), "application/json"),
            (
                "sheet.xlsx",
                b"PK\x03\x04\x14\0\0\0\xff".to_vec(),
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            ),
            ("picture", large, "image/png"),
            ("noise", b"\0\xff".to_vec(), "application/octet-stream"),
        ] {
            sandbox.put(path, content.clone()).await.success();
            for method in [Method::GET, Method::HEAD] {
                let answer = sandbox.send(sandbox.file(method, path)).await;
                assert_eq!(answer.header("content-type"), Some(media_type), "{path}");
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
                assert_eq!(answer.header("content-security-policy"), Some("sandbox"), "{path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn directories_have_a_head_and_missing_files_say_since_when() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p a/b").await;
        for path in ["a", "a/b/", ".", &sandbox.root] {
            let head = sandbox.send(sandbox.file(Method::HEAD, path)).await;
            assert_eq!((head.status, head.header("content-type")), (StatusCode::OK, Some("inode/directory")), "{path}");
            assert!(head.header("last-modified").is_some(), "{path}");
        }
        let refused = sandbox.get("a").await;
        assert_eq!(
            (refused.code().as_str(), &refused.json()["error"]["details"]["reason"]),
            ("conflict", &json!("is_a_directory"))
        );
        assert_eq!(sandbox.send(sandbox.file(Method::HEAD, "none")).await.status, StatusCode::NOT_FOUND);
        let missing = sandbox.get("none").await.json();
        let started_at = missing["error"]["details"]["started_at"].as_str().unwrap_or_else(|| panic!("{missing}")).to_owned();
        let made = sandbox.post("file.stat", json!({ "path": "a" })).await.json()["modified_at"].as_str().unwrap().to_owned();
        assert!(started_at < made && started_at.len() == made.len(), "of one precision: {started_at} {made}");
    })
    .await;
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
            (range(&format!("bytes={}0-9", "0-9,".repeat(1_000))), 200, "0123456789", None),
            (range("bytes=99999999999999999999-"), 200, "0123456789", None),
            (range("bytes=+1-2"), 200, "0123456789", None),
            (range("Bytes=1-2"), 206, "12", Some("bytes 1-2/10")),
            (tagged(&etag), 206, "12", Some("bytes 1-2/10")),
            (tagged("\"other\""), 200, "0123456789", None),
            (vec![("if-none-match", etag.clone())], 304, "", None),
            (vec![("if-none-match", format!("\"other\", W/{etag}"))], 304, "", None),
            (vec![("if-none-match", "\"other\"".to_owned()), ("if-none-match", etag.clone())], 304, "", None),
            (vec![("if-match", etag.clone())], 200, "0123456789", None),
            (vec![("if-none-match", "\"other\"".to_owned())], 200, "0123456789", None),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let request = sandbox.file(method.clone(), "digits");
                let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, value));
                let answer = sandbox.send(request).await;
                // HEAD knows no ranges.
                let (status, content, content_range) = match (&method, status) {
                    (&Method::HEAD, 206 | 416) => (200, "0123456789", None),
                    _ => (status, content, content_range),
                };
                assert_eq!((answer.status.as_u16(), answer.header("content-range")), (status, content_range), "{fields:?}");
                let body = if method == Method::HEAD { "" } else { content };
                if status == 416 && method == Method::GET {
                    let error = &answer.json()["error"];
                    assert_eq!((&error["code"], &error["details"]["size_bytes"]), (&json!("range_not_satisfiable"), &json!(10)));
                } else {
                    assert_eq!(String::from_utf8_lossy(&answer.bytes), body, "{method} {fields:?}");
                }
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
async fn a_file_rewritten_with_its_old_time_has_another_etag() {
    in_sandbox(async |sandbox| {
        let etag = sandbox.put("f", "one").await.json()["etag"].as_str().unwrap().to_owned();
        sandbox.shell("touch -r f time; while [ \"$(stat -c %z f)\" = \"$(stat -c %z time)\" ]; do touch time; done").await;
        sandbox.shell("touch -r f time; printf two > f; touch -r time f").await;
        let request = sandbox.file(Method::PUT, "f").header(header::IF_MATCH, &etag).body("lost");
        assert_eq!(sandbox.send(request).await.code(), "precondition_failed");
        assert_eq!(sandbox.get("f").await.success(), b"two");
    })
    .await;
}

#[tokio::test]
async fn a_file_not_modified_since_a_date_is_not_sent() {
    in_sandbox(async |sandbox| {
        sandbox.shell("echo content > f; touch -d '2020-01-02 03:04:05.6 UTC' f").await;
        let etag = sandbox.get("f").await.header("etag").unwrap().to_owned();
        for (fields, status) in [
            (vec![("if-modified-since", "Thu, 02 Jan 2020 03:04:05 GMT")], 304),
            (vec![("if-modified-since", "Thu, 02 Jan 2020 03:04:06 GMT")], 304),
            (vec![("if-modified-since", "Thu, 02 Jan 2020 03:04:04 GMT")], 200),
            (vec![("if-modified-since", "nonsense")], 200),
            (vec![("if-modified-since", "Thu, 02 Jan 2020 03:04:06 GMT"), ("if-none-match", "\"other\"")], 200),
            (vec![("if-modified-since", "Thu, 02 Jan 2020 03:04:04 GMT"), ("if-none-match", &etag)], 304),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let request = sandbox.file(method.clone(), "f");
                let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                assert_eq!(sandbox.send(request).await.status.as_u16(), status, "{method} {fields:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_condition_that_is_not_understood_is_refused() {
    in_sandbox(async |sandbox| {
        let etag = sandbox.put("f", "kept").await.json()["etag"].as_str().unwrap().to_owned();
        let bare = etag.trim_matches('"').to_owned();
        for (fields, code) in [
            (vec![("if-match", bare.as_bytes())], "invalid_request"),
            (vec![("if-match", b"\"\xff\"".as_slice())], "invalid_request"),
            (vec![("if-none-match", b"\"zz\"".as_slice()), ("if-none-match", b"*".as_slice())], "invalid_request"),
            (vec![("if-unmodified-since", b"Sat, 29 Oct 1994 19:43:31 GMT".as_slice())], "invalid_request"),
            (vec![("if-match", format!("W/{etag}").as_bytes())], "precondition_failed"),
            (vec![("if-match", b"\"other\"".as_slice())], "precondition_failed"),
        ] {
            for method in [Method::GET, Method::PUT, Method::DELETE] {
                let request = sandbox.file(method.clone(), "f").body("changed");
                let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                assert_eq!(sandbox.send(request).await.code(), code, "{method} {fields:?}");
            }
        }
        let request = sandbox.file(Method::PUT, "f").header(header::IF_NONE_MATCH, "\"other\"");
        let request = request.header(header::IF_NONE_MATCH, format!("W/{etag}"));
        assert_eq!(sandbox.send(request.body("changed")).await.code(), "precondition_failed", "each line counts");
        assert_eq!(
            sandbox.post("file.write", json!({ "path": "f", "content": "", "if_match": bare })).await.code(),
            "invalid_request"
        );
        assert_eq!(sandbox.get("f").await.success(), b"kept");
    })
    .await;
}

#[tokio::test]
async fn partial_and_encoded_uploads_are_refused_and_change_nothing() {
    in_sandbox(async |sandbox| {
        let etag = sandbox.put("f", "0123456789").await.json()["etag"].as_str().unwrap().to_owned();
        for (field, value, status, code) in [
            ("content-range", "bytes 2-8/10", 400, "invalid_request"),
            ("content-range", "bytes 0-9/10", 400, "invalid_request"),
            ("content-range", "bytes */10", 400, "invalid_request"),
            ("content-range", "lines 1-2/3", 400, "invalid_request"),
            ("content-range", "nonsense", 400, "invalid_request"),
            ("content-encoding", "gzip", 415, "unsupported_media_type"),
            ("content-encoding", "identity, br", 415, "unsupported_media_type"),
            ("content-encoding", "unknown", 415, "unsupported_media_type"),
        ] {
            for (path, content) in [("f", b"part".to_vec()), ("f", noise(200_000)), ("new", b"part".to_vec())] {
                let request = sandbox.file(Method::PUT, path).header(field, value).body(content);
                let answer = sandbox.send(request).await;
                assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{field}: {value}");
            }
            let archive = sandbox.request(Method::PUT, "/archive").query(&[("path", "into")]).header(field, value);
            assert_eq!(sandbox.send(archive.body(noise(100))).await.code(), code, "{field}: {value}");
        }
        assert_eq!(sandbox.shell("ls -A").await, "f\n", "nothing was made");
        let kept = sandbox.get("f").await;
        assert_eq!(kept.header("etag"), Some(etag.as_str()));
        assert_eq!(kept.success(), b"0123456789");
        let identity = sandbox.file(Method::PUT, "f").header("content-encoding", "identity").body("whole");
        sandbox.send(identity).await.success();
        assert_eq!(sandbox.get("f").await.success(), b"whole");
    })
    .await;
}

#[tokio::test]
async fn a_file_of_any_date_is_served() {
    in_sandbox(async |sandbox| {
        for date in ["1960-01-01", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "@253402300800", "@99999999999999"] {
            sandbox.shell(&format!("echo old > f && touch -d {date} f")).await;
            let answer = sandbox.get("f").await;
            assert!(answer.header("last-modified").is_some(), "{date}");
            assert_eq!(answer.success(), b"old\n", "{date}");
            assert_eq!(sandbox.send(sandbox.file(Method::HEAD, "f")).await.status, StatusCode::OK, "{date}");
            assert!(super::stat(sandbox, "f").await.modified_at.ends_with('Z'), "{date}");
        }
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
