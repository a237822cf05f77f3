//! Sandboxes that move to another image of their kind.

use cabana_tests::Kind;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    archiving::{LIST, MAKE},
    lifecycle::Named,
    local_engine::LocalEngine,
};

/// What a sandbox shows of its image: a variable, a program, and the files of each release.
const SHOW: &str = "echo $RELEASE; release; ls /opt/cabana-releases; cat /opt/outside 2>/dev/null || echo none";

/// What [`SHOW`] prints on a release; `outside` is what was written outside the roots.
fn shown(release: u32, outside: &str) -> String {
    format!("{release}\n{release} by program\nonly-in-{release}\n{outside}\n")
}

/// Makes the kind's image that of a release, with a variable, a program and a file of its own.
async fn publish(engine: &LocalEngine, image: &str, release: u32) {
    let dockerfile = Kind::Renewed.dockerfile();
    engine.build(image, &dockerfile.replace("RELEASE=0", &format!("RELEASE={release}"))).await;
    let builder = Named::new("builder", json!({ "kind": Kind::Renewed.name() })).await;
    let install = format!(
        "mkdir /opt/cabana-releases && : > /opt/cabana-releases/only-in-{release} && \
         printf '#!/bin/sh\\necho {release} by program\\n' > /usr/local/bin/release && chmod 755 /usr/local/bin/release"
    );
    builder.print(&install).await;
    engine.commit(&engine.container_of(&builder).await, image).await;
    builder.end().await;
}

/// Has the sandbox of this id upgraded; returns what it was before.
async fn upgrade(sandbox: &Named) -> Value {
    let (status, upgraded) = sandbox.call(Method::POST, "/upgrade", None).await;
    assert_eq!((status, &upgraded["sandbox"]["state"]), (StatusCode::OK, &json!("sleeping")), "{upgraded}");
    assert!(sandbox.archives().await.iter().all(|archive| archive["sandbox"] != sandbox.id.as_str()), "none is left");
    upgraded["before"].clone()
}

async fn restore(sandbox: &Named, snapshot: &Value) {
    let back = format!("/snapshots/{}/restore", snapshot["id"].as_str().unwrap());
    assert_eq!(sandbox.call(Method::POST, &back, None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_upgrade_keeps_the_files_of_the_roots_and_has_a_way_back() {
    let sandbox = Named::new("upgraded", json!({})).await;
    sandbox.print(MAKE).await;
    sandbox.print("echo outside > /opt/outside").await;
    let listed = sandbox.print(LIST).await;
    let before = upgrade(&sandbox).await;
    assert_eq!(sandbox.print(LIST).await, listed);
    assert_eq!(sandbox.print("cat /opt/outside 2>/dev/null || echo new").await, "new\n");
    restore(&sandbox, &before).await;
    assert_eq!(sandbox.print("cat /opt/outside").await, "outside\n");
    assert_eq!(sandbox.print(LIST).await, listed);
    sandbox.end().await;
}

#[tokio::test]
async fn a_sandbox_wakes_on_its_image_until_it_is_upgraded_to_the_new_one() {
    if !Kind::Renewed.is_served().await {
        return;
    }
    let fields = json!({ "kind": Kind::Renewed.name() });
    let probe = Named::new("renewed", fields.clone()).await;
    let Some(engine) = LocalEngine::find(&probe).await else { return };
    let image = engine.container_of(&probe).await.image;
    probe.end().await;

    publish(&engine, &image, 1).await;
    let sandbox = Named::new("renewed", fields.clone()).await;
    sandbox.print(MAKE).await;
    sandbox.print("echo outside > /opt/outside").await;
    let listed = sandbox.print(LIST).await;
    assert_eq!(sandbox.print(SHOW).await, shown(1, "outside"));

    publish(&engine, &image, 2).await;
    let fresh = Named::new("fresh", fields).await;
    assert_eq!(fresh.print(SHOW).await, shown(2, "none"), "a new sandbox has the new image");
    fresh.end().await;
    assert_eq!(sandbox.print(SHOW).await, shown(1, "outside"), "one that runs keeps its own");
    assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
    assert_eq!(sandbox.print(SHOW).await, shown(1, "outside"), "and wakes on it");

    let before = upgrade(&sandbox).await;
    for _ in 0..2 {
        assert_eq!(sandbox.print(SHOW).await, shown(2, "none"));
        assert_eq!(sandbox.print(LIST).await, listed);
        assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
    }
    restore(&sandbox, &before).await;
    assert_eq!(sandbox.print(SHOW).await, shown(1, "outside"), "the way back leads to the old image");
    assert_eq!(sandbox.print(LIST).await, listed);
    upgrade(&sandbox).await;
    assert_eq!(sandbox.print(SHOW).await, shown(2, "none"), "and from there it is upgraded again");
    assert_eq!(sandbox.print(LIST).await, listed);
    sandbox.end().await;
    engine.build(&image, Kind::Renewed.dockerfile()).await;
}
