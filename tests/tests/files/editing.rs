//! Edits and unified diffs: all or nothing.

use cabana_protocol::file::{Edit, Edited, Patch, PatchAction, Patched};
use cabana_tests::{Sandbox, in_sandbox};
use serde_json::{Value, json};

use super::stat;

async fn edit(sandbox: &Sandbox, path: &str, edits: Value) -> Edited {
    sandbox.call(serde_json::from_value::<Edit>(json!({ "path": path, "edits": edits })).unwrap()).await
}

async fn patch(sandbox: &Sandbox, path: &str, patch: &str) -> Patched {
    sandbox.call(Patch { path: path.into(), patch: patch.into(), strip: None, dry_run: false, session: None }).await
}

#[tokio::test]
async fn edits_are_made_in_their_order() {
    in_sandbox(async |sandbox| {
        sandbox.shell("printf 'one two two\\n' > f; chmod 750 f; ln -s f link; printf 'a\\377b' > binary").await;
        let edits =
            json!([{ "old": "one", "new": "1" }, { "old": "two", "new": "2", "all": true }, { "old": "1 2", "new": "1+2" }]);
        let edited = edit(sandbox, "link", edits).await;
        assert_eq!((edited.replacements, edited.size_bytes), (4, 6));
        assert_eq!(sandbox.shell("cat f; readlink link").await, "1+2 2\nf\n");
        let file = stat(sandbox, "f").await;
        assert_eq!((file.mode.to_string(), file.etag), ("0750".to_owned(), Some(edited.etag)));
        edit(sandbox, "binary", json!([{ "old": { "base64": "/w==" }, "new": "\0" }])).await;
        assert_eq!(sandbox.get("binary").await.success(), b"a\0b");
    })
    .await;
}

#[tokio::test]
async fn an_edit_that_does_not_fit_changes_nothing_and_says_why() {
    in_sandbox(async |sandbox| {
        let content = "fn main() {\n    run(1);\n    run(2);\n}\n";
        sandbox.put("f", content).await.success();
        let etag = stat(sandbox, "f").await.etag;
        let first = json!({ "old": "main", "new": "start" });
        for (second, details, message) in [
            (
                json!({ "old": "    run(3);\n    run(2);\n", "new": "" }),
                json!({ "edit": 1, "line": 2, "closest": "    run(1);\n    run(2);\n" }),
                "run(3)",
            ),
            (json!({ "old": "\trun(2);\n", "new": "" }), json!({ "edit": 1, "line": 3, "closest": "    run(2);\n" }), "line 3"),
            (json!({ "old": "run", "new": "" }), json!({ "edit": 1, "lines": [2, 3] }), "more than once"),
            (json!({ "old": "main", "new": "" }), json!({ "edit": 1 }), "edit 2 of 2"),
            (json!({ "old": "quite different: 7", "new": "", "all": true }), json!({ "edit": 1 }), "does not occur"),
        ] {
            let answer = sandbox.post("file.edit", json!({ "path": "f", "edits": [first, second] })).await;
            assert_eq!(answer.code(), "unprocessable", "{second}");
            let error = &answer.json()["error"];
            for (name, value) in details.as_object().unwrap() {
                assert_eq!(&error["details"][name], value, "{error}");
            }
            assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        }
        for (request, code) in [
            (json!({ "path": "f", "edits": [] }), "invalid_request"),
            (json!({ "path": "f", "edits": [{ "old": "", "new": "x" }] }), "invalid_request"),
            (json!({ "path": "f", "edits": [{ "old": "main", "new": "main" }] }), "invalid_request"),
            (json!({ "path": "f", "edits": [first], "if_match": "\"other\"" }), "precondition_failed"),
            (json!({ "path": "nothing", "edits": [first] }), "not_found"),
            (json!({ "path": ".", "edits": [first] }), "conflict"),
            (json!({ "path": "/etc/passwd", "edits": [{ "old": "root", "new": "x" }] }), "forbidden"),
            (json!({ "path": "f", "edits": [{ "old": "run", "new": "x".repeat(5 << 20), "all": true }] }), "payload_too_large"),
        ] {
            assert_eq!(sandbox.post("file.edit", request.clone()).await.code(), code, "{code}");
        }
        assert_eq!(stat(sandbox, "f").await.etag, etag);
        let etag = etag.unwrap();
        sandbox.post("file.edit", json!({ "path": "f", "edits": [first], "if_match": etag })).await.success();
        assert_eq!(sandbox.shell("cat f; ls -A").await, format!("{}f\n", content.replace("main", "start")));
    })
    .await;
}

#[tokio::test]
async fn concurrent_edits_are_all_made() {
    in_sandbox(async |sandbox| {
        let numbers = 0..12;
        let content: String = numbers.clone().map(|number| format!("<{number}>\n")).collect();
        sandbox.put("f", content.clone()).await.success();
        let edits = numbers.map(async |number| {
            let edits = json!([{ "old": format!("<{number}>"), "new": format!("[{number}]") }]);
            loop {
                let answer = sandbox.post("file.edit", json!({ "path": "f", "edits": edits })).await;
                if answer.status == 200 {
                    break;
                }
                assert_eq!(answer.code(), "conflict");
            }
        });
        futures_util::future::join_all(edits).await;
        assert_eq!(sandbox.shell("cat f; ls -A").await, format!("{}f\n", content.replace('<', "[").replace('>', "]")));
    })
    .await;
}

#[tokio::test]
async fn a_diff_of_git_is_applied() {
    in_sandbox(async |sandbox| {
        let make = "mkdir -p p/src && cd p && seq 1 30 > src/numbers && echo gone > gone && printf 'no break' > end && seq 40 60 > old && echo x > run && \
                    touch \"$(printf 'odd\\t\\303\\251')\" && cp -r . ../q && cd ../q && sed -i -e '3s/.*/three/' -e '25d' src/numbers && rm gone && echo ' now' >> end && \
                    mkdir new && echo made > new/file && sed -i 's/50/fifty/' old && mv old moved && chmod +x run && echo y > \"$(printf 'odd\\t\\303\\251')\" && cd ..";
        sandbox.shell(make).await;
        let diff = sandbox.exec(json!({ "command": "git diff --no-index -M p q | sed -e 's#a/p/#a/#g' -e 's#b/q/#b/#g' -e 's#from p/#from #' -e 's#to q/#to #'" })).await;
        let diff = String::from_utf8(diff.stdout.0.into()).unwrap();
        let request = Patch { path: "p".into(), patch: diff.as_str().into(), strip: None, dry_run: true, session: None };
        let planned = sandbox.call(request.clone()).await;
        assert_eq!(sandbox.shell("ls p").await.lines().count(), 6, "nothing was done");
        let patched = sandbox.call(Patch { dry_run: false, ..request }).await;
        let told = |patched: &Patched| patched.files.iter().map(|file| (file.path.to_string(), file.action)).collect::<Vec<_>>();
        assert_eq!(told(&patched), told(&planned));
        let mut told = told(&patched);
        told.sort_by(|one, other| one.0.cmp(&other.0));
        let expected = [
            ("p/end", PatchAction::Modified),
            ("p/gone", PatchAction::Deleted),
            ("p/moved", PatchAction::Renamed),
            ("p/new/file", PatchAction::Created),
            ("p/odd\t\u{e9}", PatchAction::Modified),
            ("p/run", PatchAction::Modified),
            ("p/src/numbers", PatchAction::Modified),
        ];
        assert_eq!(told, expected.map(|(path, action)| (path.to_owned(), action)));
        sandbox.shell("diff -r p q && test -x p/run && ls -A p/new p/src").await;
    })
    .await;
}

#[tokio::test]
async fn a_moved_hunk_is_applied() {
    in_sandbox(async |sandbox| {
        sandbox
            .shell("seq 1 30 > f; seq 1 30 | sed 's/^20$/twenty/' > g; diff -u f g > diff || true; sed -i '1i new\\nlines' f")
            .await;
        let diff = sandbox.shell("sed -e 's#^--- f#--- f#' -e 's#^+++ g#+++ f#' diff").await;
        let patched = patch(sandbox, ".", &diff).await;
        assert_eq!((patched.files[0].hunks, patched.files[0].offset_lines), (1, 2));
        assert_eq!(sandbox.shell("grep -n twenty f").await, "22:twenty\n");
        assert_eq!(stat(sandbox, "f").await.etag, patched.files[0].etag);
    })
    .await;
}

#[tokio::test]
async fn a_patch_that_does_not_apply_changes_nothing() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir d; echo one > d/a; echo two > d/b; ln -s /etc d/out; ln -s a d/link").await;
        let before = sandbox.shell("find d | sort; cat d/a d/b; stat -c %i%Y d/a d/b").await;
        let good = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+1\n";
        let hunk = "@@ -1 +1 @@\n-x\n+y\n";
        let make = "@@ -0,0 +1 @@\n+y\n";
        for (bad, code) in [
            ("--- a/b\n+++ b/b\n@@ -1 +1 @@\n-tow\n+2\n".to_owned(), "unprocessable"),
            (format!("--- a/none\n+++ b/none\n{hunk}"), "not_found"),
            (format!("--- /dev/null\n+++ b/b\n{make}"), "conflict"),
            ("--- a/b\n+++ /dev/null\n@@ -1 +0,0 @@\n-two and more\n".to_owned(), "unprocessable"),
            (format!("--- /dev/null\n+++ b/a/b\n{make}"), "conflict"),
            (format!("--- /dev/null\n+++ b/../c\n{make}"), "unprocessable"),
            (format!("--- /dev/null\n+++ b//etc/c\n{make}"), "unprocessable"),
            (format!("--- /dev/null\n+++ b/out/c\n{make}"), "forbidden"),
            ("--- a/out/passwd\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n".to_owned(), "forbidden"),
            (good.to_owned(), "unprocessable"),
            ("--- a/link\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n".to_owned(), "conflict"),
            ("diff --git a/b b/b\nGIT binary patch\nliteral 1\n".to_owned(), "unprocessable"),
            ("--- a/b\n+++ b/b\n@@ -1 +1 @@\n-two\n+2\n+3\n".to_owned(), "unprocessable"),
        ] {
            let answer = sandbox.post("file.patch", json!({ "path": "d", "patch": format!("{good}{bad}") })).await;
            assert_eq!(answer.code(), code, "{bad}: {}", answer.json());
            assert_eq!(sandbox.shell("find d | sort; cat d/a d/b; stat -c %i%Y d/a d/b").await, before, "{bad}");
        }
        let misfit =
            sandbox.post("file.patch", json!({ "path": "d", "patch": "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-tow\n+2\n" })).await.json();
        let details = &misfit["error"]["details"];
        assert_eq!(
            (&details["path"], &details["hunk"], &details["closest"]),
            (&json!("d/b"), &json!(1), &json!("two\n")),
            "{misfit}"
        );
    })
    .await;
}
