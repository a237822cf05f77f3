//! Connections that stay open between requests: each answer belongs to its request, whatever the one before it was.

use std::time::Duration;

use cabana_tests::in_sandbox;
use futures_util::{SinkExt, future::join_all, stream};
use reqwest::{Body, Method, RequestBuilder, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_tungstenite::tungstenite::Message;

use super::{Visitor, passing, with_program};

/// Mixed requests of one visitor. `CABANA_TEST_ROUNDS` asks for another number: a soak wants more.
const ROUNDS: usize = 80;

fn rounds() -> usize {
    std::env::var("CABANA_TEST_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

#[tokio::test]
async fn a_bodyless_answer_leaves_the_next_request_alone() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        for (method, kind, status) in
            [(Method::GET, "none", 204), (Method::GET, "same", 304), (Method::HEAD, "page", 200), (Method::GET, "empty", 200)]
        {
            let mut answers = Vec::new();
            for number in 0..40 {
                let answer = visitor.request(method.clone(), &format!("/kept/{kind}/{number}")).send().await.unwrap();
                answers.push((answer.status().as_u16(), answer.headers().get("x-number").is_some()));
            }
            assert_eq!(answers, vec![(status, true); 40], "{method} {kind}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_with_trailers_leaves_the_next_request_alone() {
    with_program(async |sandbox| {
        let visitor = Visitor::of(sandbox, json!({ "port": 3000 })).await;
        for number in 0..20 {
            check(&visitor, Method::GET, "trailers", number, 200, "").await;
            check(&visitor, Method::GET, "page", number, 200, "").await;
        }
    })
    .await;
}

#[tokio::test]
async fn calls_beside_bodyless_answers_are_carried_out() {
    in_sandbox(async |sandbox| {
        sandbox.put("f", "content").await.success();
        let etag = sandbox.get("f").await.header("etag").unwrap().to_owned();
        let repeat = async |what: &str| {
            for _ in 0..20 {
                let answer = match what {
                    "exec" => sandbox.post("exec", json!({ "command": ["true"] })).await,
                    "HEAD" => sandbox.send(sandbox.file(Method::HEAD, "f")).await,
                    "same" => sandbox.send(sandbox.file(Method::GET, "f").header("if-none-match", &etag)).await,
                    _ => sandbox.send(sandbox.file(Method::DELETE, "absent")).await,
                };
                let expected: &[u16] = match what {
                    "same" => &[304],
                    "DELETE" => &[204, 404],
                    _ => &[200],
                };
                assert!(expected.contains(&answer.status.as_u16()), "{what}: {}: {:?}", answer.status, answer.bytes);
            }
        };
        join_all(["exec", "HEAD", "exec", "same", "exec", "DELETE"].map(repeat)).await;
    })
    .await;
}

#[tokio::test]
async fn every_answer_is_the_programs_own_under_mixed_requests_and_hang_ups() {
    with_program(async |sandbox| {
        let url = Visitor::of(sandbox, json!({ "port": 3000 })).await.url;
        join_all((0..4).map(|who| visit(&url, who))).await;
        assert_eq!(sandbox.shell("echo alive").await, "alive\n");
    })
    .await;
}

/// Asks one thing after another, and compares each answer with what the program must have said.
async fn visit(url: &str, who: usize) {
    let mut visitor = Visitor::at(url);
    for round in 0..rounds() {
        let number = who * 1_000_000 + round;
        // Every third connection of the visitor is a fresh one.
        if round % 30 == 0 {
            visitor = Visitor::at(url);
        }
        match (round * 7 + who) % 14 {
            0 => check(&visitor, Method::GET, "none", number, 204, "").await,
            1 => check(&visitor, Method::GET, "same", number, 304, "").await,
            2 => check(&visitor, Method::GET, "moved", number, 307, "").await,
            3 => check(&visitor, Method::HEAD, "page", number, 200, "").await,
            4 => check(&visitor, Method::DELETE, "none", number, 204, "").await,
            5 => check(&visitor, Method::GET, "empty", number, 200, "").await,
            6 => check(&visitor, Method::POST, "page", number, 200, "some content").await,
            7 => check(&visitor, Method::GET, "slow", number, 200, "").await,
            8 => check(&visitor, Method::DELETE, "page", number, 200, "with a body").await,
            9 => upgrade(&visitor).await,
            10 => hang_up_in_the_body(&visitor, number).await,
            11 => hang_up(visitor.request(Method::GET, &format!("/kept/late/{number}"))).await,
            12 => hang_up_in_the_answer(&visitor).await,
            _ => check(&visitor, Method::GET, "page", number, 200, "").await,
        }
    }
}

async fn check(visitor: &Visitor, method: Method, kind: &str, number: usize, status: u16, body: &'static str) {
    let request = visitor.request(method.clone(), &format!("/kept/{kind}/{number}"));
    let answer = if body.is_empty() { request.send().await } else { request.body(body).send().await }.unwrap();
    let (found, field) = (answer.status(), answer.headers().get("x-number").map(|field| field.to_str().unwrap().to_owned()));
    let text = answer.text().await.unwrap();
    assert_eq!((found.as_u16(), field), (status, Some(number.to_string())), "{method} {kind}: {text}");
    let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    let said = format!("{method} {number} {digest}\n");
    let silent = method == Method::HEAD || ["none", "same", "empty"].contains(&kind);
    assert_eq!(text, if silent { String::new() } else { said }, "{method} {kind}");
}

async fn upgrade(visitor: &Visitor) {
    let mut socket = passing::connect(visitor, "/ws", &[]).await.unwrap();
    passing::hear(&mut socket).await;
    socket.send(Message::Text("[1]".into())).await.unwrap();
    assert_eq!(passing::hear(&mut socket).await, json!([1]));
}

/// Gives a request up before its answer can have come.
async fn hang_up(request: RequestBuilder) {
    let _ = tokio::time::timeout(Duration::from_millis(10), request.send()).await;
}

/// Gives a request up in the middle of its body.
async fn hang_up_in_the_body(visitor: &Visitor, number: usize) {
    let pieces = stream::unfold(0, async |sent| {
        if sent > 0 {
            std::future::pending::<()>().await;
        }
        Some((Ok::<_, std::io::Error>("half"), sent + 1))
    });
    hang_up(visitor.request(Method::POST, &format!("/kept/page/{number}")).body(Body::wrap_stream(pieces))).await;
}

/// Gives a request up in the middle of its answer.
async fn hang_up_in_the_answer(visitor: &Visitor) {
    let mut answer = visitor.request(Method::GET, "/forever").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.chunk().await.unwrap().is_some());
}
