//! `docs/coming-from.md`: every request of its tables, sent as it stands there.

use cabana_tests::Caller;
use reqwest::Method;
use serde_json::Value;

/// A remote that is not there: the request is understood, and git says that it cannot connect.
const NO_REMOTE: &str = "127.0.0.1:1";

/// The request of a row: `METHOD path [body]`.
fn request(cell: &str) -> (Method, String, Option<Value>) {
    let words = cell.trim().trim_matches('`');
    let (method, rest) = words.split_once(' ').unwrap_or_else(|| panic!("no request: {cell}"));
    let (path, body) = rest.split_once(' ').map_or((rest, None), |(path, body)| (path, Some(body)));
    let body = body.map(|body| serde_json::from_str(body).unwrap_or_else(|error| panic!("{cell}: {error}")));
    (method.parse().unwrap(), path.to_owned(), body)
}

#[tokio::test]
async fn every_row_of_the_page_works_as_written() {
    let page = include_str!("../../../docs/coming-from.md");
    let caller = Caller::of_tenant(&super::fresh_name("coming"), serde_json::json!({})).await;
    let (mut sandbox, mut rows) = (String::new(), 0);
    for line in page.lines().filter(|line| line.starts_with("| `") || line.starts_with("| … ")) {
        let cell = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let (method, path, body) = request(cell);
        let route = path.replace('…', &format!("/v1/sandboxes/{sandbox}"));
        let mut answer = caller.ask(method.clone(), &route, body.clone()).await;
        // Beside other cases a start may take longer than one request waits for it.
        while answer.status == 503 {
            answer = caller.ask(method.clone(), &route, body.clone()).await;
        }
        let lacks_its_remote = body.as_ref().is_some_and(|body| body.to_string().contains(NO_REMOTE));
        let fine = if lacks_its_remote { answer.status == 422 } else { answer.status.is_success() };
        assert!(fine, "{line}: {} {}", answer.status, String::from_utf8_lossy(&answer.bytes));
        if path == "/v1/sandboxes" && method == Method::POST {
            sandbox = answer.json()["id"].as_str().unwrap().to_owned();
        }
        rows += 1;
    }
    assert!(rows > 100, "{rows} rows");
}
