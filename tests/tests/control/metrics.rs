//! The metrics of a sandbox.

use cabana_protocol::{metrics::Metrics, sandbox::State};
use cabana_tests::{Sandbox, in_created_sandbox, in_sandbox, until};
use reqwest::Method;
use serde_json::json;

async fn metrics(sandbox: &Sandbox) -> Metrics {
    let answer = sandbox.send(sandbox.request(Method::GET, "/metrics")).await;
    serde_json::from_slice(&answer.success()).unwrap()
}

/// How many requests of an operation came to an outcome.
fn count(metrics: &Metrics, operation: &str, outcome: &str) -> u64 {
    let found = metrics.requests.iter().find(|count| (count.operation.as_str(), count.outcome.as_str()) == (operation, outcome));
    found.map_or(0, |count| count.count)
}

#[tokio::test]
async fn requests_are_counted_and_reading_them_does_not_wake_the_sandbox() {
    in_created_sandbox(async |sandbox| {
        let asleep = metrics(sandbox).await;
        assert_eq!((asleep.state, asleep.starts, &asleep.usage, &asleep.running_since), (State::Created, 0, &None, &None));
        assert_eq!(metrics(sandbox).await.state, State::Created);
        sandbox.shell("echo 1").await;
        sandbox.shell("echo 2").await;
        sandbox.get("none").await;
        sandbox.post("none.such", json!({})).await;
        until("all are counted", async || {
            let metrics = metrics(sandbox).await;
            let counts = [("exec", "ok"), ("file.read", "not_found"), ("other", "not_found"), ("sandbox.create", "ok")];
            counts.map(|(operation, outcome)| count(&metrics, operation, outcome)) == [2, 1, 1, 1]
        })
        .await;
        let awake = metrics(sandbox).await;
        assert_eq!((awake.state, awake.starts, awake.open_requests), (State::Running, 1, 0));
        let usage = awake.usage.expect("its agent is asked");
        assert!(usage.memory.total_bytes > 0 && usage.processes > 0 && awake.running_since.is_some());
        assert!(awake.bytes_in > 0 && awake.bytes_out > 0);
        assert_eq!(awake.durations.count, awake.requests.iter().map(|count| count.count).sum::<u64>());
        assert_eq!(awake.durations.buckets.last().unwrap().count, awake.durations.count);
    })
    .await;
}

#[tokio::test]
async fn metrics_are_served_in_the_prometheus_format_on_request() {
    in_sandbox(async |sandbox| {
        sandbox.shell("true").await;
        until("it is counted", async || count(&metrics(sandbox).await, "exec", "ok") == 1).await;
        let by_header = sandbox.send(sandbox.request(Method::GET, "/metrics").header("accept", "text/plain;version=0.0.4")).await;
        let by_query = sandbox.send(sandbox.request(Method::GET, "/metrics?format=prometheus")).await;
        for answer in [by_header, by_query] {
            assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
            let text = String::from_utf8(answer.success()).unwrap();
            let id = sandbox.url("").rsplit('/').next().unwrap().to_owned();
            for sample in [
                format!("cabana_sandbox_requests_total{{sandbox=\"{id}\",operation=\"exec\",outcome=\"ok\"}} 1"),
                format!("cabana_sandbox_state{{sandbox=\"{id}\",state=\"running\"}} 1"),
                format!("cabana_sandbox_starts_total{{sandbox=\"{id}\"}} 1"),
            ] {
                assert!(text.lines().any(|line| line == sample), "{sample} is not in\n{text}");
            }
        }
        assert_eq!(sandbox.send(sandbox.request(Method::GET, "/metrics?format=xml")).await.code(), "invalid_request");
    })
    .await;
}
