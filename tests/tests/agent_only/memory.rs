//! What draws on the agent's memory budget is refused beyond it, and is served again once others have given theirs back.
//!
//! Folded output is cut short instead (`limits.rs`), and what is kept of a process has a size of its own.

use cabana_tests::{Answer, NDJSON, Sandbox, in_agent, until};
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use tokio::net::TcpStream;

use super::limits::announce;

/// What takes of the budget.
#[derive(Debug, Clone, Copy)]
enum Holder {
    /// The body of a request.
    Body,
    /// An answer in JSON.
    Answer,
    /// Watched directories.
    Watch,
    /// A WebSocket.
    Socket,
    /// Inputs that an operation has not taken, beyond what each may leave waiting.
    Inputs,
}

/// A budget that is less than what a holder takes; one that is enough; and what others take of it, so that the rest is too little.
struct Case {
    holder: Holder,
    too_small: usize,
    enough: usize,
    others: usize,
}

/// Each takes 40,000 bytes or somewhat more.
const CASES: [Case; 5] = [
    Case { holder: Holder::Body, too_small: 20_000, enough: 100_000, others: 75_000 },
    Case { holder: Holder::Answer, too_small: 20_000, enough: 100_000, others: 75_000 },
    Case { holder: Holder::Watch, too_small: 20_000, enough: 100_000, others: 75_000 },
    Case { holder: Holder::Socket, too_small: 20_000, enough: 100_000, others: 75_000 },
    // The socket must fit.
    Case { holder: Holder::Inputs, too_small: 60_000, enough: 200_000, others: 100_000 },
];

const BYTES: usize = 40_000;

/// What an operation may leave waiting on its own.
const OWN_INPUT_BYTES: usize = 1 << 20;

impl Holder {
    /// Asks for it. Gives the code of the refusal, or nothing.
    async fn ask(self, sandbox: &Sandbox) -> Option<String> {
        let code = |answer: Answer| (answer.status != StatusCode::OK).then(|| answer.code());
        match self {
            Self::Body => code(sandbox.post("exec", json!({ "command": "cat > /dev/null", "stdin": "x".repeat(BYTES) })).await),
            Self::Answer => code(sandbox.post("file.read", json!({ "path": "file" })).await),
            Self::Watch => {
                let request = sandbox.request(Method::POST, "/file/watch").header(header::ACCEPT, NDJSON);
                let response = request.json(&json!({ "path": "tree", "recursive": true })).send().await.unwrap();
                // Its end is that of a watch that has begun.
                if response.status() == StatusCode::OK { None } else { code(Answer::of(response).await) }
            }
            Self::Socket => match sandbox.connect_with("").await {
                Ok(_) => None,
                Err(Some(413)) => Some("payload_too_large".to_owned()),
                Err(Some(429)) => Some("too_many_requests".to_owned()),
                Err(status) => panic!("{status:?}"),
            },
            Self::Inputs => {
                let mut socket = sandbox.connect().await;
                socket.send("exec", "cat", json!({ "command": "sleep 3584.5", "stdin": "stream" })).await;
                socket.wait_for("event", "cat").await;
                let bytes = "x".repeat(OWN_INPUT_BYTES + 2 * BYTES);
                socket.send("input", "cat", json!({ "type": "stdin", "bytes": bytes })).await;
                socket.send("cancel", "cat", json!({})).await;
                // The refusal of an input cancels its operation, too, and stands before the result.
                loop {
                    let frame = socket.next().await;
                    match frame["type"].as_str() {
                        Some("error") if frame["payload"]["code"] != "not_found" => {
                            return frame["payload"]["code"].as_str().map(str::to_owned);
                        }
                        Some("result") => return None,
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Runs a case on an agent with this budget.
async fn with_budget(bytes: usize, case: impl AsyncFnOnce(&Sandbox)) {
    in_agent(&[("CABANA_MEMORY_BYTES", &bytes.to_string())], async |sandbox| {
        sandbox.put("file", "x".repeat(BYTES)).await.success();
        sandbox.shell("mkdir tree && cd tree && for name in $(seq 40); do mkdir $name; done").await;
        case(sandbox).await;
    })
    .await;
}

/// Takes so much of the budget, until it is dropped, that this holder is refused for now: a request that announces its body.
async fn take(sandbox: &Sandbox, bytes: usize, holder: Holder) -> TcpStream {
    let mut others = announce(sandbox, bytes).await;
    until(&format!("{holder:?} is refused"), async || {
        let refused = holder.ask(sandbox).await.as_deref() == Some("too_many_requests");
        if !refused {
            // It may have come while the holder had its memory.
            others = announce(sandbox, bytes).await;
        }
        refused
    })
    .await;
    others
}

#[tokio::test]
async fn what_is_larger_than_the_memory_budget_is_refused_for_good() {
    for Case { holder, too_small, .. } in CASES {
        with_budget(too_small, async |sandbox| {
            assert_eq!(holder.ask(sandbox).await.as_deref(), Some("payload_too_large"), "{holder:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn what_others_leave_no_memory_for_is_refused_until_they_give_it_back() {
    for Case { holder, enough, others, .. } in CASES {
        with_budget(enough, async |sandbox| {
            let others = take(sandbox, others, holder).await;
            drop(others);
            until(&format!("{holder:?} is served again"), async || holder.ask(sandbox).await.is_none()).await;
        })
        .await;
    }
}
