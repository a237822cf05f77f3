use cabana_tests::{NDJSON, SSE, Sandbox, until};
use reqwest::{Client, Response};

use super::*;
use crate::control::code;

async fn follow(sandbox: &Named, accept: &str, query: &str, last_id: Option<&str>) -> Response {
    let (url, key) = Sandbox::service();
    let events = format!("{url}/v1/sandboxes/{}/events{query}", sandbox.id);
    let request = Client::new().get(events).bearer_auth(key).header("accept", accept);
    let request = last_id.iter().fold(request, |request, id| request.header("last-event-id", *id));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response
}

#[tokio::test]
async fn the_history_is_listed_and_followed() {
    let sandbox = Named::new("history", json!({ "sleep_after_ms": 1_000 })).await;
    sandbox.print("true").await;
    // Followed from the first event on, all the way to the end. A follower does not keep the sandbox awake.
    let followed = follow(&sandbox, NDJSON, "?follow=true", None).await;
    let followed = tokio::spawn(followed.text());
    sandbox.until("sleeping").await;
    let (_, kept) = sandbox.call(Method::GET, "/events", None).await;
    let kept = kept["items"].as_array().unwrap().clone();
    let told: Vec<_> = kept.iter().map(|event| (event["state"].as_str().unwrap(), event["reason"]["type"].as_str())).collect();
    assert_eq!(
        told,
        [
            ("created", None),
            ("starting", Some("woken")),
            ("running", Some("woken")),
            ("stopping", Some("idle")),
            ("sleeping", Some("idle")),
        ]
    );
    let ids: Vec<_> = kept.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    let (_, rest) = sandbox.call(Method::GET, "/events?from=3", None).await;
    assert_eq!(rest["items"].as_array().unwrap()[..], kept[3..]);
    let lines = follow(&sandbox, NDJSON, "", None).await.text().await.unwrap();
    assert_eq!(lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>(), kept);
    let sse = follow(&sandbox, SSE, "", Some("4")).await.text().await.unwrap();
    assert!(sse.starts_with("id: 5\nevent: state\ndata: {") && sse.ends_with("}\n\n"), "{sse}");
    assert_eq!(sandbox.show().await["starts"], 1, "nothing of this has woken it");
    for bad in ["/events?from=x", "/events?from=-1"] {
        assert_eq!(code(&sandbox.call(Method::GET, bad, None).await.1), "invalid_request");
    }
    sandbox.end().await;
    let followed = followed.await.unwrap().unwrap();
    let states: Vec<_> =
        followed.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    assert_eq!(states.len(), 6, "{states:?}");
    assert_eq!((&states[5]["state"], &states[5]["reason"]["type"]), (&json!("destroyed"), &json!("destroyed_by_caller")));
}

#[tokio::test]
async fn a_disconnected_follower_makes_room_for_another() {
    let sandbox = Named::new("followers", json!({})).await;
    let (url, key) = Sandbox::service();
    let events = format!("{url}/v1/sandboxes/{}/events?follow=true", sandbox.id);
    let follow = async || Client::new().get(&events).bearer_auth(&key).send().await.unwrap().status();
    // More than there is room for, each of whom goes at once.
    for _ in 0..80 {
        assert!([StatusCode::OK, StatusCode::TOO_MANY_REQUESTS].contains(&follow().await));
    }
    until("there is room for another", async || follow().await == StatusCode::OK).await;
    sandbox.end().await;
}
