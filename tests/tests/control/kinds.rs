//! Kinds of sandboxes, and the classes that some of them have.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{code, create, destroy, exec, fresh_name, request};

async fn kinds() -> Vec<Value> {
    let (status, body) = request(Method::GET, "/v1/kinds", None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_kind_describes_its_sandboxes() {
    let kinds = kinds().await;
    assert!(kinds.is_sorted_by_key(|kind| kind["name"].as_str().unwrap().to_owned()), "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind["name"] == "python"), "{kinds:?}");
    let sbx = kinds.iter().find(|kind| kind["name"] == "sbx").unwrap();
    assert!(!sbx["description"].as_str().unwrap().is_empty());
    for (field, value) in [
        ("image", json!("Dockerfile")),
        ("instance", json!("standard-1")),
        ("vcpu", json!(0.5)),
        ("memory_mib", json!(4_096)),
        ("disk_mb", json!(8_000)),
    ] {
        assert_eq!(sbx[field], value, "{field}");
    }
}

#[tokio::test]
async fn every_kind_of_sandbox_runs_in_its_class() {
    for kind in kinds().await {
        let (kind, name) = (kind["name"].as_str().unwrap(), fresh_name("kind"));
        let (status, made) = create(json!({ "kind": kind, "name": name })).await;
        assert_eq!((status, &made["kind"]), (StatusCode::CREATED, &json!(kind)), "{made}");
        let id = format!("{kind}-{name}");
        assert_eq!(made["id"], id);
        assert_eq!(exec(&id, "echo $((6 * 7))").await.1["stdout"], "42\n", "{id}");
        assert_eq!(destroy(&id).await, StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn an_unknown_kind_is_refused_with_the_known_ones() {
    let known: Vec<_> = kinds().await.iter().map(|kind| kind["name"].clone()).collect();
    for kind in ["other", "pyth", "python-x", "", "constructor", "SBX"] {
        let (_, body) = create(json!({ "kind": kind, "name": "a" })).await;
        assert_eq!(code(&body), "invalid_request", "{kind}");
        assert_eq!(body["error"]["details"]["kinds"], json!(known), "{kind}");
    }
    let (_, body) = request(Method::POST, "/v1/sandboxes/other-a/exec", Some(json!({ "command": "true" }))).await;
    assert_eq!(code(&body), "not_found");
}

#[tokio::test]
async fn the_size_is_the_kinds_unless_a_sandbox_names_one() {
    let own = json!({ "vcpu": 1.0, "memory_mib": 3_072, "disk_mb": 6_000 });
    for (asked, expected) in [(Value::Null, json!("standard-1")), (json!("lite"), json!("lite")), (own.clone(), own)] {
        let name = fresh_name("size");
        let (status, made) = create(json!({ "name": name, "instance": asked })).await;
        assert_eq!((status, &made["instance"]), (StatusCode::CREATED, &expected), "{made}");
        let id = format!("sbx-{name}");
        assert_eq!(exec(&id, "echo up").await.1["stdout"], "up\n", "{asked}");
        destroy(&id).await;
    }
    for asked in [json!("huge"), json!("basic"), json!({ "vcpu": 1 }), json!({ "vcpu": 1, "memory_mib": 1, "disk_mb": 1 })] {
        assert_eq!(code(&create(json!({ "instance": asked })).await.1), "invalid_request", "{asked}");
    }
}
