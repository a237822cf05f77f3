//! The list of snapshots: how they descend from each other, and how many are kept.

use super::*;

#[tokio::test]
async fn snapshots_show_their_parents_and_children() {
    let sandbox = Named::new("family", json!({})).await;
    sandbox.print("echo 1 > f").await;
    let first = sandbox.snapshot("first").await["id"].clone();
    let second = sandbox.snapshot("second").await["id"].clone();
    let (status, made) = sandbox.call(Method::POST, "/fork", Some(json!({}))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let fork = Named::of(made["items"][0]["id"].as_str().unwrap());
    let child = Named::new("child", json!({ "from": { "snapshot": first } })).await;
    let listed = sandbox.snapshots().await;
    let show = |id: &Value| listed.iter().find(|snapshot| snapshot["id"] == *id).unwrap();
    assert_eq!((&show(&first)["children"], &show(&first)["sandboxes"]), (&json!([second]), &json!([child.id])));
    assert_eq!(show(&second)["parent"], first);
    let forked = show(&made["snapshot"]["id"]);
    assert_eq!((&forked["parent"], &forked["sandboxes"]), (&second, &json!([fork.id])));
    let (_, one) = sandbox.call(Method::GET, &format!("/snapshots/{}", first.as_str().unwrap()), None).await;
    assert_eq!(&one, show(&first));
    child.end().await;
    fork.end().await;
    sandbox.end().await;
}

#[tokio::test]
async fn a_list_that_keeps_few_forgets_the_oldest() {
    let sandbox = Named::new("retains", json!({ "keep_snapshots": 2 })).await;
    sandbox.print("echo 1 > f").await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(sandbox.snapshot(name).await["id"].clone());
    }
    let listed = async || -> Vec<Value> { sandbox.snapshots().await.iter().map(|snapshot| snapshot["id"].clone()).collect() };
    assert_eq!(listed().await, [&ids[2], &ids[1]].map(Clone::clone));
    // The oldest that is left makes room for the present files, and is restored all the same.
    sandbox.print("echo 2 > f").await;
    let restore = format!("/snapshots/{}/restore", ids[1].as_str().unwrap());
    assert_eq!(sandbox.call(Method::POST, &restore, None).await.0, StatusCode::OK);
    assert_eq!(sandbox.print("cat f").await, "1\n");
    assert_eq!(listed().await.len(), 2);
    sandbox.change(json!({ "keep_snapshots": 1 })).await;
    assert_eq!(listed().await.len(), 1);
    let shown = sandbox.change(json!({ "keep_snapshots": null, "keep_snapshots_ms": 60_000 })).await;
    assert_eq!((&shown["keep_snapshots"], &shown["keep_snapshots_ms"]), (&Value::Null, &json!(60_000)));
    sandbox.end().await;
}
