//! Web pages of other hosts: those that the service allows use the API by CORS, others do not.

use cabana_tests::{Answer, Caller};
use reqwest::Method;

/// The origin that `cargo xtask dev --testing` allows.
const ALLOWED: &str = "https://app.test";

async fn send(method: Method, origin: &str, headers: &[(&str, &str)]) -> Answer {
    let request = Caller::operator().request(method, "/v1/sandboxes?limit=1").header("origin", origin);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::of(request.send().await.unwrap()).await
}

async fn preflight(origin: &str, method: &str) -> Answer {
    // A browser sends no credentials with it.
    let request = Caller::nobody().request(Method::OPTIONS, "/v1/sandboxes/sbx-a/exec").header("origin", origin);
    let request = request.header("access-control-request-method", method);
    let request = request.header("access-control-request-headers", "authorization, content-type");
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn pages_of_allowed_origins_use_the_api() {
    for method in ["POST", "PUT", "DELETE"] {
        let answer = preflight(ALLOWED, method).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (204, 0));
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED));
        assert!(answer.header("access-control-allow-methods").unwrap().contains(method));
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(["authorization", "content-type", "last-event-id"].iter().all(|header| headers.contains(header)), "{headers}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "cookies are no credentials here");
    }
    let answer = send(Method::GET, ALLOWED, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, Some(ALLOWED)));
    assert_eq!(answer.header("vary"), Some("origin"));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("x-request-id"));
    let refused = send(Method::GET, ALLOWED, &[("authorization", "Bearer wrong")]).await;
    assert_eq!(refused.header("access-control-allow-origin"), Some(ALLOWED), "a page can read why it was refused");
}

#[tokio::test]
async fn pages_of_other_origins_are_not_answered_by_cors() {
    for origin in ["https://evil.test", "https://app.test.evil.test", "http://app.test", "null"] {
        let answer = preflight(origin, "POST").await;
        assert_eq!((answer.code().as_str(), answer.header("access-control-allow-origin")), ("forbidden", None), "{origin}");
        let answer = send(Method::GET, origin, &[]).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn options_requests_of_programs_are_no_preflights() {
    let answer = send(Method::OPTIONS, ALLOWED, &[]).await;
    assert_eq!(answer.code(), "method_not_allowed", "a method that the route does not have");
}
