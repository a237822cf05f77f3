//! Callers that vanish, in every way that a connection can end, at every point of it.

use std::time::Duration;

use cabana_tests::{NDJSON, SSE, Sandbox, Target, http1, in_sandbox, until};
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::mark;

const JSON: &str = "application/json";

/// How a caller vanishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The connection is closed: FIN.
    Closes,
    /// It is broken off: RST.
    Resets,
    /// One direction first, the other later.
    HalfCloses,
}

/// When a caller vanishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    InTheHead,
    InTheBody,
    /// The command runs and prints nothing.
    InSilence,
    /// The command prints, and is heard.
    Listening,
    /// The command prints, and is not heard.
    Stalled,
}

const POINTS: [Point; 5] = [Point::InTheHead, Point::InTheBody, Point::InSilence, Point::Listening, Point::Stalled];

impl Way {
    const ALL: [Self; 3] = [Self::Closes, Self::Resets, Self::HalfCloses];

    async fn go(self, sandbox: &Sandbox, mut connection: TcpStream) {
        match self {
            Self::Closes => {}
            Self::Resets => connection.set_zero_linger().unwrap(),
            Self::HalfCloses => {
                // A reset may have come meanwhile from the other side, which is as good.
                let _ = connection.shutdown().await;
                sandbox.shell("true").await;
            }
        }
    }
}

/// Waits until so many of the processes of [`command`] run.
async fn runs(sandbox: &Sandbox, mark: &str, count: usize, when: impl std::fmt::Debug) {
    let processes = format!("^(sleep|yes) {mark}");
    until(&format!("{when:?}: {count} run"), async || sandbox.count_processes(&processes).await == count).await;
}

fn command(point: Point, mark: &str) -> Value {
    match point {
        Point::Listening | Point::Stalled => json!({ "command": format!("sleep {mark} & yes {mark}") }),
        _ => json!({ "command": format!("sleep {mark} & sleep {mark}") }),
    }
}

/// Descriptors that the agent, whose child every command is, has open.
async fn descriptors(sandbox: &Sandbox) -> usize {
    sandbox.shell("ls /proc/$PPID/fd | wc -l").await.trim().parse().unwrap()
}

/// Descriptors that may stay open: the hops between caller and agent keep some connections, and the agent alone has no hop.
fn spare() -> usize {
    if Target::get().is_direct() { 0 } else { 12 }
}

#[tokio::test]
async fn a_vanished_request_leaves_no_process_or_descriptor() {
    in_sandbox(async |sandbox| {
        let before = descriptors(sandbox).await;
        for accept in [NDJSON, SSE, JSON] {
            for point in POINTS {
                for way in Way::ALL {
                    // Wrangler's proxy passes a reset on only where the answer has begun, and the JSON form begins at the end.
                    if Target::get() == Target::Stack && accept == JSON && way == Way::Resets {
                        continue;
                    }
                    let mark = mark();
                    let request = sandbox.request(Method::POST, "/exec").header("accept", accept);
                    let request = request.json(&command(point, &mark)).build().unwrap();
                    let (head, body) = http1::spell(&request);
                    let mut connection = http1::dial(&request).await;
                    let sent = match point {
                        Point::InTheHead => head[..head.len() / 2].to_owned(),
                        Point::InTheBody => head + &body[..body.len() / 2],
                        _ => head + &body,
                    };
                    connection.write_all(sent.as_bytes()).await.unwrap();
                    match point {
                        Point::InTheHead | Point::InTheBody => {}
                        Point::Listening if accept != JSON => {
                            let mut heard = vec![0; 100_000];
                            connection.read_exact(&mut heard).await.unwrap();
                        }
                        _ => runs(sandbox, &mark, 2, (accept, point, way)).await,
                    }
                    way.go(sandbox, connection).await;
                    runs(sandbox, &mark, 0, (accept, point, way)).await;
                }
            }
        }
        until("its descriptors are closed", async || descriptors(sandbox).await <= before + spare()).await;
    })
    .await;
}

#[tokio::test]
async fn a_vanished_socket_leaves_no_process_or_descriptor() {
    in_sandbox(async |sandbox| {
        let before = descriptors(sandbox).await;
        for point in POINTS {
            for way in Way::ALL {
                let mark = mark();
                let request = sandbox.request(Method::GET, "/connect").build().unwrap();
                let mut upgrade = request.url().as_str().replacen("http", "ws", 1).into_client_request().unwrap();
                upgrade.headers_mut().extend(request.headers().clone());
                let (mut socket, _) = client_async(upgrade, http1::dial(&request).await).await.unwrap();
                let frame = json!({ "type": "exec", "id": "x", "payload": command(point, &mark) }).to_string();
                match point {
                    Point::InTheHead => {}
                    // A masked text of 100 bytes, of which the first two are there.
                    Point::InTheBody => socket.get_mut().write_all(&[0x81, 0x80 | 100, 0, 0, 0, 0, b'{', b'"']).await.unwrap(),
                    _ => {
                        socket.send(Message::text(frame)).await.unwrap();
                        runs(sandbox, &mark, 2, (point, way)).await;
                    }
                }
                if point == Point::Listening {
                    for _ in 0..20 {
                        tokio::time::timeout(Duration::from_secs(60), socket.next()).await.unwrap().unwrap().unwrap();
                    }
                }
                way.go(sandbox, socket.into_inner()).await;
                runs(sandbox, &mark, 0, (point, way)).await;
            }
        }
        until("its descriptors are closed", async || descriptors(sandbox).await <= before + spare()).await;
    })
    .await;
}

/// A detached process does not belong to its listeners.
#[tokio::test]
async fn a_listener_that_vanishes_does_not_end_the_process() {
    in_sandbox(async |sandbox| {
        let mark = mark();
        let detached = json!({ "command": format!("yes {mark}"), "detach": true });
        let process = sandbox.exec(detached).await.result.process;
        for way in Way::ALL {
            let request = sandbox.request(Method::POST, "/process/attach").header("accept", NDJSON);
            let request = request.json(&json!({ "process": process })).build().unwrap();
            let (head, body) = http1::spell(&request);
            let mut connection = http1::dial(&request).await;
            connection.write_all((head + &body).as_bytes()).await.unwrap();
            let mut heard = vec![0; 100_000];
            connection.read_exact(&mut heard).await.unwrap();
            way.go(sandbox, connection).await;
            let before = sandbox.post("process.get", json!({ "process": process })).await.json()["output_bytes"].as_u64();
            until("it goes on printing", async || {
                sandbox.post("process.get", json!({ "process": process })).await.json()["output_bytes"].as_u64() > before
            })
            .await;
        }
    })
    .await;
}
