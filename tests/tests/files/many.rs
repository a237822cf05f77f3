//! Many small files in one request.

use cabana_tests::in_sandbox;
use serde_json::json;

#[tokio::test]
async fn many_files_are_written_read_and_described_and_each_fails_for_itself() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir dir; ln -s /etc/passwd out").await;
        let files = json!([
            { "path": "a/b/one", "content": "one\n" },
            { "path": "two", "content": { "base64": "AP8=" }, "mode": "0755" },
            { "path": "dir", "content": "x" },
            { "path": "/etc/passwd", "content": "x" },
            { "path": "three", "content": "" },
        ]);
        let written = sandbox.post("file.write_many", json!({ "files": files })).await.json();
        let codes = |answer: &serde_json::Value| {
            let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
            items.iter().map(|item| item["error"]["code"].as_str().unwrap_or("ok").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(codes(&written), ["ok", "ok", "conflict", "forbidden", "ok"], "{written}");
        assert_eq!((&written["items"][0]["type"], &written["items"][0]["file"]["created"]), (&json!("file"), &json!(true)));
        assert_eq!(sandbox.shell("cat a/b/one; stat -c %a two; wc -c < two").await, "one\n755\n2\n");

        let paths = json!(["two", "a/b/one", "none", "dir", "out", "three"]);
        let read = sandbox.post("file.read_many", json!({ "paths": paths })).await.json();
        assert_eq!(codes(&read), ["ok", "ok", "not_found", "conflict", "forbidden", "ok"], "{read}");
        assert_eq!(read["items"][0]["file"]["content"], json!({ "base64": "AP8=" }));
        assert_eq!((&read["items"][1]["path"], &read["items"][1]["file"]["content"]), (&json!("a/b/one"), &json!("one\n")));
        let stat = sandbox.post("file.stat_many", json!({ "paths": paths })).await.json();
        assert_eq!(codes(&stat), ["ok", "ok", "not_found", "ok", "ok", "ok"], "{stat}");
        assert_eq!(
            (&stat["items"][4]["file"]["kind"], &stat["items"][3]["file"]["kind"]),
            (&json!("symlink"), &json!("directory"))
        );
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_into_one_answer_is_said_of_each_file() {
    in_sandbox(async |sandbox| {
        sandbox.shell("for i in 1 2 3; do head -c 3145728 /dev/zero | tr '\\0' x > $i; done; echo small > 4").await;
        let read = sandbox.post("file.read_many", json!({ "paths": ["1", "2", "3", "4"] })).await.json();
        let shown: Vec<_> = (0..4).map(|index| read["items"][index]["error"]["code"].as_str().unwrap_or("ok")).collect();
        assert_eq!(shown, ["ok", "ok", "payload_too_large", "ok"]);
        let many: Vec<_> = (0..1_001).map(|number| number.to_string()).collect();
        for request in [json!({ "paths": [] }), json!({ "paths": many })] {
            for operation in ["file.read_many", "file.stat_many"] {
                assert_eq!(sandbox.post(operation, request.clone()).await.code(), "invalid_request");
            }
        }
        assert_eq!(sandbox.post("file.write_many", json!({ "files": [] })).await.code(), "invalid_request");
    })
    .await;
}
