//! Faults of the network between the Durable Object and the agent, where the stack runs on this machine: tunnels stall, break, or die without a
//! word. What was not carried out is said to be so; what may have been is never carried out again by itself.

use std::{fs, net::SocketAddr, path::Path};

use cabana_tests::{Socket, until};
use futures_util::{StreamExt, stream};
use reqwest::{Body, Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    code,
    lifecycle::{Named, host, pause},
};

/// Prints nothing until the file `go` is there, and notes that it was carried out.
const WAITS: &str = "echo once >> counter; until [ -e go ]; do sleep 0.02; done; echo done";

/// The way to one sandbox: its sidecar of the local engine.
#[derive(Clone, Copy)]
struct Way {
    port: u16,
}

impl Way {
    /// The one that leads to this sandbox's agent; `None` where the stack runs elsewhere.
    async fn to(sandbox: &Named) -> Option<Self> {
        let agent = host::agent_of(sandbox).await?;
        let mut ancestors = std::iter::successors(Some(agent), |process| process.parent());
        let words = ancestors.find(|process| process.name() == "cabana-engine")?.words();
        let state = words.iter().skip_while(|word| *word != "--state").nth(1).expect("the engine is told where");
        let process = sandbox.print("echo $CABANA_PROCESS").await;
        for sidecar in fs::read_dir(Path::new(state).join("sidecars")).unwrap() {
            // It may be gone by now.
            let Ok(kept) = fs::read(sidecar.unwrap().path()) else { continue };
            let port = serde_json::from_slice::<Value>(&kept).unwrap()["port"].as_u64().unwrap().try_into().unwrap();
            let incarnation = incarnation(port).await.unwrap_or_default();
            if !incarnation.is_empty() && process.contains(&incarnation) {
                return Some(Self { port });
            }
        }
        panic!("no sidecar leads to {}", sandbox.id)
    }

    async fn order(&self, weather: &str) {
        let url = format!("http://127.0.0.1:{}/weather/{weather}", self.port);
        assert_eq!(Client::new().put(url).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }
}

/// What the agent behind a sidecar says of itself.
async fn incarnation(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.ok()?;
    let connect = "CONNECT agent HTTP/1.1\r\nHost: agent\r\nX-Dst-Addr: 127.0.0.1:49983\r\n\r\n";
    stream.write_all(connect.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    if !head.starts_with(b"HTTP/1.1 200") {
        return None;
    }
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let health: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    Some(health["incarnation"].as_str()?.to_owned())
}

/// A sandbox that runs, and the way to it.
async fn reached(case: &str) -> Option<(Named, Way)> {
    let sandbox = Named::new(case, json!({})).await;
    match Way::to(&sandbox).await {
        Some(way) => Some((sandbox, way)),
        None => {
            sandbox.end().await;
            None
        }
    }
}

async fn begun(sandbox: &Named) {
    until("it has begun", async || sandbox.run("cat counter").await.1["stdout"] == "once\n").await;
}

/// The container is the one from before, and nothing was held against it.
async fn check_unharmed(sandbox: &Named) {
    let shown = sandbox.show().await;
    assert_eq!((&shown["state"], &shown["starts"]), (&json!("running"), &json!(1)), "{shown}");
    assert_eq!(shown["last_failure"], Value::Null, "{shown}");
}

#[tokio::test]
async fn a_network_that_stalls_delays_and_changes_nothing() {
    let Some((sandbox, way)) = reached("stall").await else { return };
    let mut socket = sandbox.connect().await.unwrap();
    let stalling = async {
        begun(&sandbox).await;
        way.order("still").await;
        socket.send("exec", "1", json!({ "command": "echo once >> socket; echo later" })).await;
        let read = sandbox.run("touch go; echo also");
        let weather = async {
            pause(2_000).await;
            way.order("fair").await;
        };
        tokio::join!(read, weather).0
    };
    let (waited, also) = tokio::join!(sandbox.run(WAITS), stalling);
    assert_eq!((waited.0, &waited.1["stdout"]), (StatusCode::OK, &json!("done\n")), "{}", waited.1);
    assert_eq!((also.0, &also.1["stdout"]), (StatusCode::OK, &json!("also\n")), "{}", also.1);
    assert_eq!(socket.output("1").await.0, "later\n");
    assert_eq!(sandbox.print("cat counter socket").await, "once\nonce\n");
    check_unharmed(&sandbox).await;
    sandbox.end().await;
}

#[tokio::test]
async fn a_connection_that_breaks_interrupts_what_is_on_it_and_repeats_nothing() {
    let Some((sandbox, way)) = reached("cut").await else { return };
    let cutting = async {
        begun(&sandbox).await;
        way.order("cut").await;
    };
    let ((status, cut), ()) = tokio::join!(sandbox.run(WAITS), cutting);
    assert_eq!((status, code(&cut)), (StatusCode::CONFLICT, "interrupted"), "{cut}");
    assert_eq!((&cut["error"]["details"]["admitted"], &cut["error"]["retryable"]), (&json!(true), &json!(false)), "{cut}");
    until("what nobody waits for has ended", async || sandbox.count("until .*-e go").await == 0).await;

    let pieces = stream::iter(0..50).then(move |number| async move {
        pause(20).await;
        if number == 25 {
            way.order("cut").await;
        }
        Ok::<_, std::io::Error>(vec![b'x'; 1 << 10])
    });
    let upload = sandbox.request(Method::PUT, "/files?path=f").body(Body::wrap_stream(pieces)).send().await;
    // The connection may break before the answer is read: its body was still under way.
    if let Ok(answer) = upload {
        assert_eq!(code(&answer.json().await.unwrap()), "interrupted");
    }

    let mut socket = sandbox.connect().await.unwrap();
    socket.send("exec", "1", json!({ "command": "echo once >> socket; echo up; sleep 600" })).await;
    while socket.wait_for("event", "1").await["bytes"] != "up\n" {}
    way.order("cut").await;
    let interrupted = socket.wait_for("error", "1").await;
    assert_eq!((&interrupted["code"], &interrupted["details"]["admitted"]), (&json!("interrupted"), &json!(true)));
    again(&mut socket).await;

    assert_eq!(sandbox.print("cat counter socket; ls").await, "once\nonce\ncounter\nsocket\n");
    check_unharmed(&sandbox).await;
    sandbox.end().await;
}

/// The socket outlives the connection behind it.
async fn again(socket: &mut Socket) {
    socket.send("exec", "2", json!({ "command": "echo again" })).await;
    assert_eq!(socket.output("2").await.0, "again\n");
}

#[tokio::test]
async fn a_download_that_breaks_off_is_seen_to_and_can_be_gone_on_with() {
    let Some((sandbox, way)) = reached("download").await else { return };
    sandbox.print("head -c 30000000 /dev/zero > large").await;
    let mut answer = sandbox.request(Method::GET, "/files?path=large").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let first = answer.chunk().await.unwrap().unwrap().len();
    way.order("still").await;
    way.order("cut").await;
    way.order("fair").await;
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "half a file is not passed off as a whole one");
    let rest = sandbox.request(Method::GET, "/files?path=large").header("range", format!("bytes={first}-")).send().await.unwrap();
    assert_eq!(rest.bytes().await.unwrap().len(), 30_000_000 - first);
    check_unharmed(&sandbox).await;
    sandbox.end().await;
}

#[tokio::test]
async fn who_follows_a_process_goes_on_where_the_connection_broke() {
    let Some((sandbox, way)) = reached("follow").await else { return };
    let talks = json!({ "command": "for i in $(seq 1 400); do echo $i; sleep 0.005; done", "detach": true, "name": "talker" });
    assert_eq!(sandbox.call(Method::POST, "/exec", Some(talks)).await.0, StatusCode::OK);
    let (mut heard, mut last, mut breaks) = (String::new(), None::<String>, 0);
    let ended = loop {
        let request = sandbox.request(Method::POST, "/process/attach").header("accept", "text/event-stream");
        let request = last.iter().fold(request, |request, id| request.header("last-event-id", id));
        let mut answer = request.json(&json!({ "process": "talker" })).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut said = String::new();
        let mut result = Value::Null;
        while let Ok(Some(piece)) = answer.chunk().await {
            said += std::str::from_utf8(&piece).unwrap();
            // What is not whole when it breaks off is not heard, and comes again.
            while let Some((event, rest)) = said.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let value: Value = line("data: ").map(|data| serde_json::from_str(data).unwrap()).unwrap_or_default();
                heard += value["bytes"].as_str().unwrap_or_default();
                last = line("id: ").map(str::to_owned).or(last);
                result = if value["type"] == "result" { value } else { result };
                said = rest.to_owned();
            }
            if breaks < 3 && heard.lines().count() > 50 * (breaks + 1) {
                breaks += 1;
                way.order("cut").await;
            }
        }
        if result != Value::Null {
            break result;
        }
    };
    assert_eq!((breaks, &ended["exit"]["code"]), (3, &json!(0)), "{ended}");
    assert_eq!(
        heard,
        (1..=400).map(|number| format!("{number}\n")).collect::<String>(),
        "nothing is missing, and nothing came twice"
    );

    // With the sandbox the process ends, and that is said.
    let talks = json!({ "command": "while :; do echo on; sleep 0.02; done", "detach": true, "name": "endless" });
    let process = sandbox.call(Method::POST, "/exec", Some(talks)).await.1["process"].clone();
    let request = sandbox.request(Method::POST, "/process/attach").header("accept", "text/event-stream");
    let mut answer = request.json(&json!({ "process": process })).send().await.unwrap();
    answer.chunk().await.unwrap();
    assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
    let mut said = String::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        said += std::str::from_utf8(&piece).unwrap();
    }
    assert!(said.contains(r#""type":"result""#) && said.contains(r#""reason":"lost""#), "{said}");
    let again = sandbox.call(Method::POST, "/process/attach", Some(json!({ "process": process }))).await;
    assert_eq!((again.0, code(&again.1)), (StatusCode::GONE, "gone"), "{}", again.1);
    sandbox.end().await;
}

#[tokio::test]
async fn a_network_that_dies_without_a_word_is_noticed_and_nothing_is_done_twice() {
    let Some((sandbox, way)) = reached("dead").await else { return };
    let mut socket = sandbox.connect().await.unwrap();
    socket.send("exec", "1", json!({ "command": "echo up; sleep 600" })).await;
    while socket.wait_for("event", "1").await["bytes"] != "up\n" {}
    let dying = async {
        begun(&sandbox).await;
        way.order("still").await;
    };
    let ((status, cut), ()) = tokio::join!(sandbox.run(WAITS), dying);
    assert_eq!((status, code(&cut)), (StatusCode::CONFLICT, "interrupted"), "{cut}");
    assert_eq!(socket.wait_for("error", "1").await["code"], "interrupted");
    way.order("fair").await;
    until("it is back", async || sandbox.run("true").await.0 == StatusCode::OK).await;
    assert_eq!(sandbox.print("cat counter 2>/dev/null || echo nothing").await, "nothing\n", "it was not carried out again");
    let shown = sandbox.show().await;
    assert_eq!((&shown["starts"], &shown["last_failure"]["code"]), (&json!(2), &json!("unresponsive")), "{shown}");
    again(&mut socket).await;
    sandbox.end().await;
}
