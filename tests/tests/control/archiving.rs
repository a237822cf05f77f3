//! Archives in the deployment's bucket: they outlast sandboxes, share chunks, and are restored whole or not at all.

use cabana_tests::{Answer, Caller, until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{code, fresh_name, lifecycle::Named, logs};

/// A tree with unusual names, and some megabytes that do not shrink.
pub(super) const MAKE: &str = r#"
    set -e
    mkdir -p tree/deep/a; cd tree
    echo text > plain; chmod 640 plain; touch -d @1000000000 plain; ln -s plain link; mkdir empty
    printf x > "$(printf 'new\nline \377 name')"
    head -c 6000000 /dev/urandom > deep/a/large; cp deep/a/large deep/copy
    : > deep/nothing; printf '#!/bin/sh\n' > run; chmod 755 run"#;

/// What is in a tree, by names, kinds, modes, times and content.
pub(super) const LIST: &str = r#"cd tree && find . -mindepth 1 -printf '%P %y %m %l\n' | sort && find . -type f -printf '%P %T@\n' | sort && \
    find . -type f -print0 | sort -z | xargs -0 sha256sum"#;

impl Named {
    async fn archive(&self, fields: Value) -> Value {
        let (status, archive) = self.call(Method::POST, "/archives", Some(fields)).await;
        assert_eq!(status, StatusCode::CREATED, "{archive}");
        archive
    }

    async fn restore(&self, archive: &Value, fields: Value) -> (StatusCode, Value) {
        let route = format!("/archives/{}/restore", archive["id"].as_str().unwrap());
        self.call(Method::POST, &route, Some(fields)).await
    }

    pub(super) async fn archives(&self) -> Vec<Value> {
        let (status, list) = self.call(Method::GET, "/archives", None).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        list["items"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn an_archive_outlasts_its_sandbox_and_is_restored_in_one_of_another_kind() {
    let sandbox = Named::new("archived", json!({})).await;
    sandbox.print(MAKE).await;
    let listed = sandbox.print(LIST).await;
    let archive = sandbox.archive(json!({ "path": "/workspace/tree", "name": "first" })).await;
    assert_eq!((&archive["name"], &archive["path"]), (&json!("first"), &json!("/workspace/tree")));
    assert!(archive["size_bytes"].as_u64() > Some(12_000_000) && archive["stored_bytes"].as_u64() < Some(7_000_000), "{archive}");
    sandbox.end().await;
    let other = Named::new("another", json!({ "kind": "python" })).await;
    assert!(other.archives().await.contains(&archive));
    other.print("mkdir tree; echo before > tree/before").await;
    let (status, restored) = other.restore(&archive, json!({})).await;
    assert_eq!(status, StatusCode::OK, "{restored}");
    assert!(restored["entries"].as_u64() > Some(8), "{restored}");
    assert_eq!(other.print(LIST).await, listed, "what was there before is gone");
    let (status, _) = other.restore(&archive, json!({ "path": "/workspace/new/place" })).await;
    assert_eq!(status, StatusCode::OK);
    other.print("diff -r tree new/place && ! ls -A tree new/place | grep cabana").await;
    let one = format!("/archives/{}", archive["id"].as_str().unwrap());
    assert_eq!(other.call(Method::GET, &one, None).await, (StatusCode::OK, archive.clone()));
    for _ in 0..2 {
        assert_eq!(other.call(Method::DELETE, &one, None).await.0, StatusCode::NO_CONTENT);
    }
    let (status, gone) = other.restore(&archive, json!({})).await;
    assert_eq!((status, &gone["error"]["details"]["reason"]), (StatusCode::NOT_FOUND, &json!("no_such_archive")));
    other.end().await;
}

#[tokio::test]
async fn a_second_archive_stores_only_what_has_changed() {
    let sandbox = Named::new("dedup", json!({})).await;
    sandbox.print("for i in $(seq 40); do head -c 1000000 /dev/urandom > f$i; done").await;
    let first = sandbox.archive(json!({})).await;
    let count = |name: &str| first[name].as_u64().unwrap();
    // The chunk of the archive's end is that of every archive behind a large file.
    assert!((count("chunks") - 1..=count("chunks")).contains(&count("new_chunks")), "{first}");
    let again = sandbox.archive(json!({})).await;
    assert_eq!((&again["new_chunks"], &again["stored_bytes"]), (&json!(0), &json!(0)));
    sandbox.print("printf changed | dd of=f20 conv=notrunc bs=1 seek=500000 status=none").await;
    let changed = sandbox.archive(json!({})).await;
    let stored = |archive: &Value| archive["stored_bytes"].as_u64().unwrap();
    assert!(stored(&changed) > 0 && stored(&changed) * 4 < stored(&first), "{changed}");
    // The first goes, and the others need most of its chunks.
    let one = format!("/archives/{}", first["id"].as_str().unwrap());
    assert_eq!(sandbox.call(Method::DELETE, &one, None).await.0, StatusCode::NO_CONTENT);
    let sums = sandbox.print("sha256sum f*").await;
    assert_eq!(sandbox.restore(&changed, json!({})).await.0, StatusCode::OK);
    assert_eq!(sandbox.print("sha256sum f*").await, sums);
    sandbox.end().await;
}

#[tokio::test]
async fn globs_and_ignore_files_leave_things_out() {
    let sandbox = Named::new("excludes", json!({})).await;
    sandbox
        .print(
            "mkdir -p repo/target repo/src other/target && cd repo && git init -q && echo target > .gitignore &&
             touch target/built src/main.rs src/note.txt ../other/target/kept",
        )
        .await;
    let archive = sandbox.archive(json!({ "exclude": ["**/*.txt", "repo/.git"], "ignore_files": true })).await;
    assert_eq!(sandbox.restore(&archive, json!({ "path": "/workspace/out" })).await.0, StatusCode::OK);
    let found = sandbox.print("cd out && find . -type f | sort").await;
    assert_eq!(found, "./other/target/kept\n./repo/.gitignore\n./repo/src/main.rs\n");
    sandbox.end().await;
}

#[tokio::test]
async fn what_cannot_be_archived_or_restored_changes_nothing() {
    let sandbox = Named::new("archiverefuses", json!({})).await;
    sandbox.print("echo kept > f").await;
    let archive = sandbox.archive(json!({})).await;
    for (fields, status, wanted) in [
        (json!({ "path": "/workspace/none" }), StatusCode::NOT_FOUND, "not_found"),
        (json!({ "path": "/etc" }), StatusCode::FORBIDDEN, "forbidden"),
        (json!({ "exclude": ["["] }), StatusCode::BAD_REQUEST, "invalid_request"),
        (json!({ "exclude": vec!["a"; 65] }), StatusCode::BAD_REQUEST, "invalid_request"),
        (json!({ "name": "" }), StatusCode::BAD_REQUEST, "invalid_request"),
        (json!({ "files": true }), StatusCode::BAD_REQUEST, "invalid_request"),
    ] {
        let (answered, refused) = sandbox.call(Method::POST, "/archives", Some(fields.clone())).await;
        assert_eq!((answered, code(&refused)), (status, wanted), "{fields}: {refused}");
    }
    let own = sandbox.archives().await.into_iter().filter(|archive| archive["sandbox"] == sandbox.id.as_str()).count();
    assert_eq!(own, 1, "none of these was made");
    let id = archive["id"].as_str().unwrap();
    let unknown = json!({ "id": format!("{}zzzz", &id[..id.len() - 4]) });
    assert_eq!(sandbox.restore(&unknown, json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(sandbox.restore(&json!({ "id": "odd" }), json!({})).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(sandbox.restore(&archive, json!({ "path": "/etc" })).await.0, StatusCode::FORBIDDEN);
    let (status, refused) = sandbox.restore(&archive, json!({ "path": "/workspace/f" })).await;
    assert_eq!((status, code(&refused)), (StatusCode::CONFLICT, "conflict"), "{refused}");
    let foreign = Caller::of_tenant("test-foreigner", json!({})).await;
    let made = foreign.post("/v1/sandboxes", json!({ "name": fresh_name("foreign") })).await.json();
    let base = format!("/v1/sandboxes/{}/archives", made["id"].as_str().unwrap());
    assert_eq!(foreign.get(&base).await.json()["items"], json!([]));
    let answers: [Answer; 2] =
        [foreign.get(&format!("{base}/{id}")).await, foreign.post(&format!("{base}/{id}/restore"), json!({})).await];
    assert!(answers.iter().all(|answer| answer.status == StatusCode::NOT_FOUND));
    assert_eq!(foreign.delete(&format!("{base}/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(sandbox.print("cat f; ls -A").await, "kept\nf\n");
    assert_eq!(sandbox.restore(&archive, json!({})).await.0, StatusCode::OK, "it is still there");
    foreign.delete(&format!("/v1/sandboxes/{}", made["id"].as_str().unwrap())).await;
    sandbox.end().await;
}

#[tokio::test]
async fn a_damaged_archive_is_refused_and_changes_nothing_until_it_is_whole_again() {
    let Some(directory) = logs::directory() else { return };
    // Nobody else's chunks are damaged.
    let tenant = fresh_name("damaged");
    let owner = Caller::operator_for(&tenant);
    let made = owner.post("/v1/sandboxes", json!({})).await.json();
    let sandbox = owner.sandbox(made["id"].as_str().unwrap());
    sandbox.shell("head -c 3000000 /dev/urandom > f; sha256sum f > sum").await;
    let ask = async |route: &str| sandbox.send(sandbox.request(Method::POST, route).json(&json!({}))).await;
    let archive = ask("/archives").await.json();
    let restore = format!("/archives/{}/restore", archive["id"].as_str().unwrap());
    let damage = |kind: &str, what: &str| {
        let mut program = std::process::Command::new("python3");
        program.args(["-c", include_str!("damage_object.py")]).arg(directory.join("state"));
        let output = program.args([&format!("{tenant}/{kind}/"), what]).output().unwrap();
        assert!(output.stdout.starts_with(tenant.as_bytes()), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for kind in ["chunks", "archives"] {
        sandbox.shell("echo later > later").await;
        damage(kind, "change");
        let refused = ask(&restore).await;
        assert_eq!(
            (refused.code().as_str(), refused.json()["error"]["details"]["reason"].as_str()),
            ("unprocessable", Some("damaged"))
        );
        assert_eq!(sandbox.shell("cat later; sha256sum -c --quiet sum; ls -A").await, "later\nf\nlater\nsum\n", "{kind}");
        damage(kind, "change");
        assert_eq!(ask(&restore).await.status, StatusCode::OK, "{kind}");
        assert_eq!(sandbox.shell("sha256sum -c --quiet sum; ls -A").await, "f\nsum\n", "{kind}");
    }
    sandbox.shell("echo later > later").await;
    for (kind, code, reason) in [("chunks", "unprocessable", "damaged"), ("archives", "unprocessable", "damaged")] {
        damage(kind, "remove");
        let refused = ask(&restore).await;
        assert_eq!(
            (refused.code().as_str(), refused.json()["error"]["details"]["reason"].as_str()),
            (code, Some(reason)),
            "{kind}"
        );
        assert_eq!(sandbox.shell("cat later; sha256sum -c --quiet sum").await, "later\n", "{kind}");
    }
    sandbox.destroy().await;
}

#[tokio::test]
async fn a_tar_archive_goes_to_a_key_of_the_bucket_and_comes_back() {
    let sandbox = Named::new("exports", json!({})).await;
    sandbox.print(MAKE).await;
    let key = fresh_name("exported/tree of") + ".tar.zst";
    let route = |path: &str, key: &str| format!("/archive?path={path}&key={}", key.replace(' ', "%20"));
    let (status, stored) = sandbox.call(Method::GET, &(route("tree", &key) + "&format=tar.zst"), None).await;
    assert_eq!(status, StatusCode::OK, "{stored}");
    assert!(stored["size_bytes"].as_u64() > Some(6_000_000), "{stored}");
    let other = Named::new("imports", json!({})).await;
    let (status, extracted) = other.call(Method::PUT, &route("tree", &key), None).await;
    assert_eq!((status, extracted["entries"].as_u64() > Some(8)), (StatusCode::OK, true), "{extracted}");
    assert_eq!(other.print(LIST).await, sandbox.print(LIST).await);
    for (key, wanted, reason) in [("none", StatusCode::NOT_FOUND, "no_such_key"), ("", StatusCode::BAD_REQUEST, "invalid_field")]
    {
        let (status, refused) = other.call(Method::PUT, &route("tree", key), None).await;
        assert_eq!((status, &refused["error"]["details"]["reason"]), (wanted, &json!(reason)), "{refused}");
    }
    let (status, refused) = sandbox.call(Method::GET, &route("none", &key), None).await;
    assert_eq!((status, code(&refused)), (StatusCode::NOT_FOUND, "not_found"), "{refused}");
    assert_eq!(other.call(Method::PUT, &route("again", &key), None).await.0, StatusCode::OK, "what was stored is still there");
    other.end().await;
    sandbox.end().await;
}

#[tokio::test]
async fn archives_are_made_side_by_side() {
    let sandbox = Named::new("sidebyside", json!({})).await;
    sandbox.print("head -c 3000000 /dev/urandom > f").await;
    let (one, two) = tokio::join!(sandbox.archive(json!({ "name": "one" })), sandbox.archive(json!({ "name": "two" })));
    for archive in [one, two] {
        assert_eq!(sandbox.restore(&archive, json!({ "path": "/workspace/out" })).await.0, StatusCode::OK);
        sandbox.print("cmp f out/f").await;
        let one = format!("/archives/{}", archive["id"].as_str().unwrap());
        until("it is forgotten", async || sandbox.call(Method::DELETE, &one, None).await.0 == StatusCode::NO_CONTENT).await;
    }
    sandbox.end().await;
}
