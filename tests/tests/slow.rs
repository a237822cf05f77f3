//! Clients that take their time over everything, many at once: they are given up or waited for, and hold up nobody else.

use cabana_tests::{PATIENCE, Sandbox, Target, in_agent, in_sandbox, until};
use futures_util::future::join_all;
use reqwest::{Method, Request, header::AUTHORIZATION};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How many there are: fewer where each costs every hop on the way something.
fn crowd() -> usize {
    if Target::get() == Target::Agent { 500 } else { 50 }
}

/// The most that the agent may grow by for one that reads slowly, in KiB.
const GROWTH_KIB: usize = 600;

/// Connections on which so much of a request has been said.
async fn begin(request: Request, many: usize, more: &str) -> Vec<TcpStream> {
    let (url, key) = (request.url(), request.headers()[AUTHORIZATION].to_str().unwrap());
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let head =
        format!("{} {}{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: {key}\r\n", request.method(), url.path(), url.authority());
    let said = format!("{head}{more}");
    let address = (url.host_str().unwrap(), url.port_or_known_default().unwrap());
    join_all((0..many).map(async |_| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        stream
    }))
    .await
}

/// Everything that is still said, until the connection ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A connection that is reset has ended as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("it ends");
    String::from_utf8_lossy(&said).into_owned()
}

/// Somebody who is in no way slow is served.
async fn check(sandbox: &Sandbox) {
    for round in 0..5 {
        assert_eq!(sandbox.shell(&format!("echo {round}")).await, format!("{round}\n"));
        sandbox.put("healthy", "fine").await.success();
        assert_eq!(sandbox.get("healthy").await.success(), b"fine");
    }
}

/// The agent's memory in KiB. Its children are shells.
async fn memory(sandbox: &Sandbox) -> usize {
    let shown =
        sandbox.shell("while read name value _; do [ $name = VmRSS: ] && echo $value; done < /proc/$PPID/status; true").await;
    shown.trim().parse().unwrap()
}

#[tokio::test]
async fn heads_bodies_and_readers_at_a_byte_now_and_then_hold_up_nobody() {
    in_sandbox(async |sandbox| {
        sandbox.put("large", vec![b'x'; 4 << 20]).await.success();
        let before = memory(sandbox).await;
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
        let grown = memory(sandbox).await.saturating_sub(before);
        eprintln!("{} slow readers of 4 MiB, {} slow writers: the agent has grown by {grown} KiB", readers.len(), slow.len());
        assert!(grown < (readers.len() + slow.len()) * GROWTH_KIB, "{grown} KiB");
        assert_eq!(sandbox.get("slow").await.code(), "not_found", "what is not whole is not there");
        drop((slow, readers));
        check(sandbox).await;
    })
    .await;
}

#[tokio::test]
async fn heads_that_do_not_come_make_room_for_others() {
    in_agent(&[("CABANA_HEADER_TIMEOUT_MS", "500"), ("CABANA_MAX_CONNECTIONS", "100")], async |sandbox| {
        // More than there is room for: the others wait before the door.
        let request = sandbox.request(Method::POST, "/exec").build().unwrap();
        let mut slow = begin(request, 500, "X-A: ").await;
        check(sandbox).await;
        for said in join_all(slow.iter_mut().map(rest)).await {
            assert!(!said.starts_with("HTTP/1.1 2"), "{said}");
        }
    })
    .await;
}

#[tokio::test]
async fn bodies_that_do_not_come_are_given_up() {
    let variables = [("CABANA_BODY_TIMEOUT_MS", "500"), ("CABANA_MAX_CONNECTIONS", "100"), ("CABANA_MAX_ARCHIVES", "100")];
    in_agent(&variables, async |sandbox| {
        let body = "Content-Length: 100000\r\n\r\n{";
        for (method, route) in [(Method::POST, "/exec"), (Method::PUT, "/files?path=slow"), (Method::PUT, "/archive?path=slow")] {
            let request = sandbox.request(method, route).build().unwrap();
            let mut slow = begin(request, 150, body).await;
            check(sandbox).await;
            for said in join_all(slow.iter_mut().map(rest)).await {
                assert!(said.starts_with("HTTP/1.1 400") && said.contains("nothing came for 500 ms"), "{route}: {said}");
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
async fn readers_that_do_not_read_cost_no_more_than_their_buffers() {
    const BYTES: usize = 16 << 20;

    in_agent(&[], async |sandbox| {
        sandbox.put("large", vec![b'x'; BYTES]).await.success();
        let before = memory(sandbox).await;
        let files = begin(sandbox.request(Method::GET, "/files?path=large").build().unwrap(), 100, "\r\n").await;
        let printed = json!({ "command": format!("yes | head -c {BYTES}") }).to_string();
        let accept = format!("Accept: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{printed}", printed.len());
        let lines = begin(sandbox.request(Method::POST, "/exec").build().unwrap(), 8, &accept).await;
        let mark = format!("head -c {BYTES}");
        until("all commands run", async || sandbox.count_processes(&mark).await >= 8).await;
        check(sandbox).await;
        let grown = memory(sandbox).await.saturating_sub(before);
        eprintln!("100 readers of a file of 16 MiB, 8 of a command: the agent has grown by {grown} KiB");
        assert!(grown < (files.len() + 4 * lines.len()) << 10, "{grown} KiB, of all 1,728 MiB");
        drop((files, lines));
        until("what they ran is gone", async || sandbox.count_processes(&mark).await == 0).await;
    })
    .await;
}
