//! Projects: which fields are stored, and which tenants see them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{code, fresh_name, request};

const URL: &str = "https://example.com/web.git";

async fn create(body: Value) -> (StatusCode, Value) {
    request(Method::POST, "/v1/projects", Some(body)).await
}

async fn project(method: Method, name: &str, body: Option<Value>) -> (StatusCode, Value) {
    request(method, &format!("/v1/projects/{name}"), body).await
}

#[tokio::test]
async fn a_project_is_created_changed_and_deleted() {
    let name = fresh_name("project");
    let made =
        json!({ "name": name, "url": URL, "branch": "main", "setup": "make", "env": { "TOKEN": "hunter2", "HOME": null } });
    let (status, made) = create(made).await;
    assert_eq!(
        (status, &made["env"], &made["branch"]),
        (StatusCode::CREATED, &json!(["HOME", "TOKEN"]), &json!("main")),
        "{made}"
    );
    assert!(!made.to_string().contains("hunter2"), "values are not shown: {made}");
    assert_eq!(create(json!({ "name": name, "url": URL })).await.0, StatusCode::CONFLICT);
    assert_eq!(project(Method::GET, &name, None).await, (StatusCode::OK, made.clone()));

    let changes = json!({ "branch": null, "depth": 1, "kind": "python", "env": { "A": "1" } });
    let (status, changed) = project(Method::PATCH, &name, Some(changes)).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    for (field, value) in
        [("branch", Value::Null), ("depth", json!(1)), ("kind", json!("python")), ("env", json!(["A"])), ("setup", json!("make"))]
    {
        assert_eq!(changed[field], value, "{field}");
    }
    assert_eq!(changed["created_at"], made["created_at"]);
    assert_eq!(project(Method::GET, &name, None).await.1, changed);

    for _ in 0..2 {
        assert_eq!(project(Method::DELETE, &name, None).await.0, StatusCode::NO_CONTENT);
    }
    for method in [Method::GET, Method::PATCH] {
        let body = (method == Method::PATCH).then(|| json!({}));
        assert_eq!(code(&project(method.clone(), &name, body).await.1), "not_found", "{method}");
    }
}

#[tokio::test]
async fn projects_are_listed_in_pages() {
    let name = fresh_name("paged");
    let names: Vec<_> = (0..5).map(|number| format!("{name}-{number}")).collect();
    for name in &names {
        assert_eq!(create(json!({ "name": name, "url": URL })).await.0, StatusCode::CREATED);
    }
    // Other cases have projects too.
    let (mut seen, mut cursor) = (Vec::new(), name.clone());
    while seen.len() < names.len() {
        let (status, page) = request(Method::GET, &format!("/v1/projects?limit=2&cursor={cursor}"), None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let found: Vec<_> =
            page["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        assert!(!found.is_empty() && found.len() <= 2, "{page}");
        cursor = found.last().unwrap().clone();
        seen.extend(found.into_iter().filter(|found| found.starts_with(&name)));
    }
    assert_eq!(seen, names);
    for name in &names {
        project(Method::DELETE, name, None).await;
    }
}

#[tokio::test]
async fn malformed_projects_are_refused() {
    for body in [
        json!({}),
        json!({ "name": "web" }),
        json!({ "url": URL }),
        json!({ "name": "no spaces", "url": URL }),
        json!({ "name": "web", "url": "file:///etc" }),
        json!({ "name": "web", "url": "https://ada:hunter2@example.com/web.git" }),
        json!({ "name": "web", "url": URL, "kind": "other" }),
        json!({ "name": "web", "url": URL, "instance": "huge" }),
        json!({ "name": "web", "url": URL, "env": { "CABANA_USER": "root" } }),
        json!({ "name": "web", "url": URL, "env": { "A": ["hunter2"] } }),
    ] {
        let (_, answer) = create(body.clone()).await;
        assert_eq!(code(&answer), "invalid_request", "{body}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    for (method, route, expected) in [
        (Method::GET, "/v1/projects/Web", "invalid_request"),
        (Method::GET, "/v1/projects/never-made", "not_found"),
        (Method::PUT, "/v1/projects/never-made", "method_not_allowed"),
        (Method::GET, "/v1/projects?limit=0", "invalid_request"),
        (Method::GET, "/v1/projects/a/b", "not_found"),
    ] {
        assert_eq!(code(&request(method.clone(), route, None).await.1), expected, "{method} {route}");
    }
}
