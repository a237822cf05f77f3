//! Finding sandboxes: labels, filters, pages. The directory follows a moment later, so every case waits for it.

use std::collections::BTreeSet;

use cabana_tests::until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{code, create, destroy, exec, fresh_name, request};

/// Asks for a list and returns its page.
async fn page(query: &str) -> Value {
    let (status, body) = request(Method::GET, &format!("/v1/sandboxes?{query}"), None).await;
    assert_eq!(status, StatusCode::OK, "{query}: {body}");
    body
}

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|sandbox| sandbox["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a list holds exactly these, in any order.
async fn until_listed(query: &str, expected: &[&String]) {
    let expected: BTreeSet<_> = expected.iter().map(|&id| id.clone()).collect();
    until(&format!("{query} lists {expected:?}"), async || {
        ids(&page(query).await).into_iter().collect::<BTreeSet<_>>() == expected
    })
    .await;
}

async fn make(name: &str, labels: Value) -> String {
    let (status, body) = create(json!({ "name": name, "labels": labels })).await;
    assert_eq!((status, &body["labels"]), (StatusCode::CREATED, &labels), "{body}");
    body["id"].as_str().unwrap().to_owned()
}

async fn update(id: &str, body: Value) -> (StatusCode, Value) {
    request(Method::PATCH, &format!("/v1/sandboxes/{id}"), Some(body)).await
}

#[tokio::test]
async fn sandboxes_are_found_by_kind_label_and_state() {
    let run = fresh_name("found");
    let (one, other) = (format!("{run}-1"), format!("{run}-2"));
    let one = make(&one, json!({ "run": run, "role": "a=b & c" })).await;
    let other = make(&other, json!({ "run": run })).await;
    for (query, expected) in [
        (String::new(), vec![&one, &other]),
        ("&label=role".to_owned(), vec![&one]),
        ("&label=role%3Da%3Db%20%26%20c".to_owned(), vec![&one]),
        ("&label=role%3Da".to_owned(), vec![]),
        ("&kind=sbx".to_owned(), vec![&one, &other]),
        ("&kind=other".to_owned(), vec![]),
        ("&state=created".to_owned(), vec![&one, &other]),
        ("&state=running".to_owned(), vec![]),
        ("&project=none".to_owned(), vec![]),
        (format!("&name={run}-2"), vec![&other]),
        (format!("&name={}_2", run.to_uppercase()), vec![&other]),
        ("&tenant=default".to_owned(), vec![&one, &other]),
        ("&tenant=somebody-else".to_owned(), vec![]),
    ] {
        until_listed(&format!("label=run%3D{run}{query}"), &expected).await;
    }
    destroy(&one).await;
    destroy(&other).await;
    until_listed(&format!("label=run%3D{run}"), &[]).await;
}

#[tokio::test]
async fn the_list_shows_each_state_of_a_sandbox() {
    let run = fresh_name("follow");
    let id = make(&run, json!({ "run": run })).await;
    exec(&id, "true").await;
    until_listed(&format!("label=run%3D{run}&state=running"), &[&id]).await;
    let shown = request(Method::GET, &format!("/v1/sandboxes/{id}"), None).await.1;
    let mut listed = page(&format!("label=run%3D{run}")).await["items"][0].clone();
    // Which change with every use, and uses are not told to the directory.
    for field in ["sleeps_at", "wakeups", "updated_at"] {
        listed[field] = shown[field].clone();
    }
    assert_eq!(listed, shown, "it is listed as it shows itself");
    destroy(&id).await;
    until_listed(&format!("label=run%3D{run}"), &[]).await;
    make(&run, json!({ "run": run })).await;
    until_listed(&format!("label=run%3D{run}&state=created"), &[&id]).await;
    destroy(&id).await;
}

#[tokio::test]
async fn labels_are_changed_one_by_one() {
    let run = fresh_name("labels");
    let id = make(&run, json!({ "run": run, "a": "1", "b": "2" })).await;
    let (status, body) = update(&id, json!({ "labels": { "a": "3", "b": null, "c": "", "never-there": null } })).await;
    assert_eq!((status, &body["labels"]), (StatusCode::OK, &json!({ "run": run, "a": "3", "c": "" })));
    assert_eq!(body["state"], "created", "it wakes nothing");
    until_listed(&format!("label=run%3D{run}&label=a%3D3&label=c"), &[&id]).await;
    until_listed(&format!("label=run%3D{run}&label=b"), &[]).await;
    let (status, again) = create(json!({ "name": run })).await;
    assert_eq!((status, &again["labels"]), (StatusCode::OK, &body["labels"]), "what is there stays as it is");
    let many: Value = (0..32).map(|number| (format!("many-{number}"), json!(""))).collect::<serde_json::Map<_, _>>().into();
    for (labels, expected) in [
        (json!({ "no spaces": "" }), "invalid_request"),
        (json!({ "": "" }), "invalid_request"),
        (json!({ "a": "x".repeat(257) }), "invalid_request"),
        (json!({ "a": 7 }), "invalid_request"),
        (many, "invalid_request"),
    ] {
        assert_eq!(code(&update(&id, json!({ "labels": labels })).await.1), expected, "{labels}");
    }
    assert_eq!(code(&create(json!({ "labels": { "a b": "" } })).await.1), "invalid_request");
    assert_eq!(update(&id, json!({})).await.1["labels"], body["labels"], "what was refused has changed nothing");
    destroy(&id).await;
    assert_eq!(code(&update(&id, json!({ "labels": {} })).await.1), "not_found");
}

#[tokio::test]
async fn pages_list_every_sandbox_once() {
    let run = fresh_name("pages");
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(make(&format!("{run}-{number}"), json!({ "run": run })).await);
    }
    let all = format!("label=run%3D{run}");
    until_listed(&all, &made.iter().collect::<Vec<_>>()).await;
    let backwards: Vec<_> = made.iter().rev().cloned().collect();
    for (order, expected) in [
        ("", &backwards),
        ("&order=asc", &made),
        ("&sort=id", &backwards),
        ("&sort=id&order=asc", &made),
        ("&sort=updated_at&order=asc", &made),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = page(&format!("{all}{order}&limit=2{cursor}")).await;
            seen.extend(ids(&page));
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(&seen, expected, "{order}");
    }
    for id in &made {
        destroy(id).await;
    }
}

#[tokio::test]
async fn malformed_queries_are_refused() {
    for query in ["lable=a", "limit=0", "limit=many", "state=asleep", "sort=labels", "cursor=AAAA", "tenant=A"] {
        let (status, body) = request(Method::GET, &format!("/v1/sandboxes?{query}"), None).await;
        assert_eq!((status, code(&body)), (StatusCode::BAD_REQUEST, "invalid_request"), "{query}");
    }
}
