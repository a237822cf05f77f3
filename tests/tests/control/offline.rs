//! Sandboxes of a deployment without internet (`CABANA_INTERNET=false`), as the service of these cases is.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::lifecycle::Named;

/// The exit code of timeout(1) for a command that has not ended in time.
const TIMED_OUT: i64 = 124;

#[tokio::test]
async fn every_attempt_to_leave_fails_at_once_and_no_rule_overrules_the_deployment() {
    for network in [Value::Null, json!({ "internet": true, "allow": ["all"] })] {
        let sandbox = Named::new("offline", json!({ "network": network })).await;
        for attempt in [
            "curl -sS https://pypi.org/",
            "curl -sS http://192.0.2.1/",
            "curl -sS --resolve pypi.org:443:192.0.2.1 https://pypi.org/",
            "getent hosts pypi.org",
            // A connection may be accepted and then closed.
            "python3 -c 'import socket; assert socket.create_connection((\"192.0.2.1\", 22)).recv(1)'",
        ] {
            // A connection that nobody answers takes two minutes.
            let (status, answer) = sandbox.run(&format!("timeout 60 {attempt}")).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let code = answer["exit"]["code"].as_i64().unwrap();
            assert!(code != 0 && code != TIMED_OUT, "{attempt}: {answer}");
        }
        let (status, shown) = sandbox.call(Method::GET, "/network", None).await;
        assert_eq!((status, &shown["internet"]), (StatusCode::OK, &json!(false)), "{shown}");
        sandbox.end().await;
    }
}
