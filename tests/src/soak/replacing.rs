//! Files that are replaced under the eyes of others.

use std::cell::{Cell, RefCell};

use futures_util::{future::join, future::join_all};
use reqwest::{Method, header};
use serde_json::json;

use super::{
    budget::Budget,
    latencies::{Latencies, milliseconds},
};
use crate::{Answer, Sandbox, agent::Agent};

/// Bytes of a version that readers and the writer share: more than one piece of an answer.
const VERSION_BYTES: usize = 300_000;
/// Who reads meanwhile.
const READERS: usize = 2;

/// Two writers know the same ETag, one over the byte lane, one by `file.write`.
pub(super) async fn writers(budget: &Budget) -> String {
    let sandbox = Sandbox::of_agent(Agent::start(&[], &[]));
    let mut etag = etag(&sandbox.put("f", "start").await);
    let (mut pairs, mut lane) = (Latencies::default(), 0);
    while let Some(round) = budget.begin() {
        let content = [format!("{round} by the lane"), format!("{round} by the operation")];
        let put = sandbox.send(sandbox.file(Method::PUT, "f").header(header::IF_MATCH, &etag).body(content[0].clone()));
        let bare = etag.clone();
        let write = sandbox.post("file.write", json!({ "path": "f", "content": content[1], "if_match": bare }));
        let (put, write) = pairs.time(join(put, write)).await;
        let (winner, loser, won) = match put.status.is_success() {
            true => (put, write, &content[0]),
            false => (write, put, &content[1]),
        };
        assert!(winner.status.is_success(), "nobody won round {round}: {}", winner.json());
        assert!(!loser.status.is_success(), "both won round {round}");
        assert_eq!(loser.code(), "precondition_failed", "round {round}");
        assert_eq!(sandbox.get("f").await.success(), won.as_bytes(), "round {round}");
        lane += u64::from(won == &content[0]);
        etag = self::etag(&winner);
        budget.finish();
    }
    assert_eq!(sandbox.shell("ls -A").await, "f\n", "no temporary file is left");
    format!("never two winners; the byte lane won {lane}; slowest pair {}", milliseconds(pairs.longest()))
}

fn etag(answer: &Answer) -> String {
    assert!(answer.status.is_success(), "{}", answer.json());
    answer.json()["etag"].as_str().unwrap().to_owned()
}

/// One writer replaces a file again and again, others read it.
pub(super) async fn readers(budget: &Budget) -> String {
    let sandbox = Sandbox::of_agent(Agent::start(&[], &[]));
    let versions = ["a", "b"].map(|letter| letter.repeat(VERSION_BYTES));
    sandbox.put("f", versions[0].clone()).await.success();
    let (over, reads) = (Cell::new(false), RefCell::new(Latencies::default()));
    let write = async {
        while let Some(round) = budget.begin() {
            let version = &versions[usize::from(round % 2 == 0)];
            match round % 4 {
                0 => {
                    let write = json!({ "path": "f", "content": version });
                    sandbox.post("file.write", write).await.success();
                }
                _ => drop(sandbox.put("f", version.clone()).await.success()),
            }
            budget.finish();
        }
        over.set(true);
    };
    let read = async |_| {
        while !over.get() {
            let mut latencies = Latencies::default();
            let seen = latencies.time(sandbox.get("f")).await.success();
            let whole = versions.iter().any(|version| seen == version.as_bytes());
            assert!(whole, "{} bytes that are neither version", seen.len());
            reads.borrow_mut().extend(latencies);
        }
    };
    join(write, join_all((0..READERS).map(read))).await;
    assert_eq!(sandbox.shell("ls -A").await, "f\n", "no temporary file is left");
    let reads = reads.into_inner();
    format!("0 torn of {} reads; slowest read {}", reads.count(), milliseconds(reads.longest()))
}
