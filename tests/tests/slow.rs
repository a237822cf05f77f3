//! Slow and stalled clients, many at once: they are given up or waited for, and do not delay others.

use cabana_tests::{Kind, NDJSON, Sandbox, Target, http1, in_agent, in_kind, in_sandbox, until};
use futures_util::future::join_all;
use reqwest::{Method, Request};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How many there are: fewer where each costs every hop on the way something.
fn crowd() -> usize {
    if Target::get().is_direct() { 500 } else { 50 }
}

/// The most that the agent may grow by for one that reads slowly, in KiB.
const GROWTH_KIB: u64 = 600;

/// Connections on which the head of this request and so much more has been written.
async fn begin(request: Request, many: usize, more: &str) -> Vec<TcpStream> {
    let beginning = http1::head(&request, more);
    join_all((0..many).map(async |_| {
        let mut stream = http1::dial(&request).await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        stream
    }))
    .await
}

/// A client that is not slow is served.
async fn check(sandbox: &Sandbox) {
    for round in 0..5 {
        assert_eq!(sandbox.shell(&format!("echo {round}")).await, format!("{round}\n"));
        sandbox.put("healthy", "fine").await.success();
        assert_eq!(sandbox.get("healthy").await.success(), b"fine");
    }
}

#[tokio::test]
async fn slow_clients_do_not_delay_others() {
    in_sandbox(async |sandbox| {
        sandbox.put("large", vec![b'x'; 4 << 20]).await.success();
        let before = sandbox.memory_kib().await;
        let request = |method, route: &str| sandbox.request(method, route).build().unwrap();
        let heads = begin(request(Method::POST, "/exec"), crowd(), "X-A: ").await;
        let body = "Content-Length: 100000\r\n\r\n{";
        let bodies = begin(request(Method::POST, "/exec"), crowd() / 4, body).await;
        let uploads = begin(request(Method::PUT, "/files?path=slow"), crowd() / 4, body).await;
        let readers = begin(request(Method::GET, "/files?path=large"), crowd() / 4, "\r\n").await;
        let mut slow: Vec<_> = heads.into_iter().chain(bodies).chain(uploads).collect();
        let mut readers = readers;
        for _ in 0..3 {
            join_all(slow.iter_mut().map(async |stream| stream.write_all(b"x").await.unwrap())).await;
            join_all(readers.iter_mut().map(async |stream| stream.read_u8().await.unwrap())).await;
            check(sandbox).await;
        }
        let grown = sandbox.memory_kib().await.saturating_sub(before);
        eprintln!("{} slow readers of 4 MiB, {} slow writers: the agent has grown by {grown} KiB", readers.len(), slow.len());
        assert!(grown < (readers.len() + slow.len()) as u64 * GROWTH_KIB, "{grown} KiB");
        assert_eq!(sandbox.get("slow").await.code(), "not_found", "what is not whole is not there");
        drop((slow, readers));
        check(sandbox).await;
    })
    .await;
}

#[tokio::test]
async fn request_bodies_that_stall_are_given_up() {
    in_kind(Kind::Tight, async |sandbox| {
        for (method, route) in [(Method::POST, "/exec"), (Method::PUT, "/files?path=slow")] {
            let request = sandbox.request(method, route).build().unwrap();
            let mut slow = begin(request, 20, "Content-Length: 100000\r\n\r\n{").await;
            check(sandbox).await;
            for said in join_all(slow.iter_mut().map(async |stream| http1::read_until(stream, &["for 500 ms"]).await)).await {
                assert!(said.starts_with("HTTP/1.1 400") && said.contains("nothing arrived for 500 ms"), "{route}: {said}");
            }
        }
        assert_eq!(sandbox.shell("ls -A").await, "healthy\n", "nothing of them is left");
    })
    .await;
}

mod agent_only {
    use super::*;

    #[tokio::test]
    async fn stalled_heads_are_given_up_and_make_room() {
        in_agent(&[("CABANA_HEADER_TIMEOUT_MS", "500"), ("CABANA_MAX_CONNECTIONS", "100")], async |sandbox| {
            // More than may have a request under way: these have none.
            let request = sandbox.request(Method::POST, "/exec").build().unwrap();
            let mut slow = begin(request, 500, "X-A: ").await;
            check(sandbox).await;
            for said in join_all(slow.iter_mut().map(async |stream| http1::read_until(stream, &[]).await)).await {
                assert!(!said.starts_with("HTTP/1.1 2"), "{said}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn stalled_bodies_are_given_up_and_make_room() {
        let variables = [("CABANA_BODY_TIMEOUT_MS", "500"), ("CABANA_MAX_CONNECTIONS", "200"), ("CABANA_MAX_ARCHIVES", "200")];
        in_agent(&variables, async |sandbox| {
            let body = "Content-Length: 100000\r\n\r\n{";
            for (method, route) in
                [(Method::POST, "/exec"), (Method::PUT, "/files?path=slow"), (Method::PUT, "/archive?path=slow")]
            {
                let request = sandbox.request(method, route).build().unwrap();
                let mut slow = begin(request, 150, body).await;
                check(sandbox).await;
                for said in join_all(slow.iter_mut().map(async |stream| http1::read_until(stream, &[]).await)).await {
                    assert!(said.starts_with("HTTP/1.1 400") && said.contains("nothing arrived for 500 ms"), "{route}: {said}");
                }
            }
            assert_eq!(sandbox.shell("ls -A").await, "healthy\n", "nothing of them is left");
            // An answer may take its time, and so may a body that comes in pieces.
            assert_eq!(sandbox.shell("sleep 1; echo late").await, "late\n");
            let pieces = futures_util::stream::unfold(0, async |number| {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                (number < 5).then_some((Ok::<_, std::io::Error>("piece "), number + 1))
            });
            sandbox.put("pieces", reqwest::Body::wrap_stream(pieces)).await.success();
            assert_eq!(sandbox.get("pieces").await.success().len(), 30);
        })
        .await;
    }

    #[tokio::test]
    async fn stalled_readers_cost_no_more_than_their_buffers() {
        const BYTES: usize = 16 << 20;

        in_agent(&[], async |sandbox| {
            sandbox.put("large", vec![b'x'; BYTES]).await.success();
            let before = sandbox.memory_kib().await;
            let files = begin(sandbox.request(Method::GET, "/files?path=large").build().unwrap(), 100, "\r\n").await;
            let printed = json!({ "command": format!("yes | head -c {BYTES}") }).to_string();
            let accept = format!("Accept: {NDJSON}\r\nContent-Length: {}\r\n\r\n{printed}", printed.len());
            let lines = begin(sandbox.request(Method::POST, "/exec").build().unwrap(), 8, &accept).await;
            let mark = format!("head -c {BYTES}");
            until("all commands run", async || sandbox.count_processes(&mark).await >= 8).await;
            check(sandbox).await;
            let grown = sandbox.memory_kib().await.saturating_sub(before);
            eprintln!("100 readers of a file of 16 MiB, 8 of a command: the agent has grown by {grown} KiB");
            assert!(grown < (files.len() as u64 + 4 * lines.len() as u64) << 10, "{grown} KiB, of all 1,728 MiB");
            drop((files, lines));
            until("what they ran is gone", async || sandbox.count_processes(&mark).await == 0).await;
        })
        .await;
    }
}
