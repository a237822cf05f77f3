//! Faults of the network between the Durable Object and the agent, where the stack runs on this machine: tunnels stall or are reset. What
//! was not carried out is reported so; what may have been carried out is never repeated.

use cabana_tests::{Socket, until};
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};

use super::{
    code,
    lifecycle::{Named, pause},
    local_engine::{LocalEngine, Tunnel},
};

/// Counts its runs in a file, and ends once the file `go` exists.
const WAITS: &str = "echo once >> counter; until [ -e go ]; do sleep 0.02; done; echo done";

/// A sandbox that runs, and the tunnels to it; `None` where the stack runs elsewhere.
async fn start_with_tunnel(case: &str) -> Option<(Named, Tunnel)> {
    let sandbox = Named::new(case, json!({})).await;
    match LocalEngine::find(&sandbox).await {
        Some(engine) => {
            let tunnel = engine.tunnel_of(&sandbox).await;
            Some((sandbox, tunnel))
        }
        None => {
            sandbox.end().await;
            None
        }
    }
}

async fn wait_until_started(sandbox: &Named) {
    until("the command has started", async || sandbox.run("cat counter").await.1["stdout"] == "once\n").await;
}

/// The container is still the first one, and no failure was recorded.
async fn check_unharmed(sandbox: &Named) {
    let shown = sandbox.show().await;
    assert_eq!((&shown["state"], &shown["starts"]), (&json!("running"), &json!(1)), "{shown}");
    assert_eq!(shown["last_failure"], Value::Null, "{shown}");
}

#[tokio::test]
async fn a_stalled_network_delays_operations() {
    let Some((sandbox, tunnel)) = start_with_tunnel("stall").await else { return };
    let mut socket = sandbox.connect().await.unwrap();
    let stalling = async {
        wait_until_started(&sandbox).await;
        tunnel.inject("stall").await;
        socket.send("exec", "1", json!({ "command": "echo once >> socket; echo later" })).await;
        let read = sandbox.run("touch go; echo also");
        let clearing = async {
            pause(2_000).await;
            tunnel.inject("clear").await;
        };
        tokio::join!(read, clearing).0
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
async fn a_reset_connection_interrupts_operations_and_repeats_none() {
    let Some((sandbox, tunnel)) = start_with_tunnel("cut").await else { return };
    let resetting = async {
        wait_until_started(&sandbox).await;
        tunnel.inject("reset").await;
    };
    let ((status, cut), ()) = tokio::join!(sandbox.run(WAITS), resetting);
    assert_eq!((status, code(&cut)), (StatusCode::CONFLICT, "interrupted"), "{cut}");
    assert_eq!((&cut["error"]["details"]["admitted"], &cut["error"]["retryable"]), (&json!(true), &json!(false)), "{cut}");
    until("the interrupted command has ended", async || sandbox.count("until .*-e go").await == 0).await;

    let pieces = stream::iter(0..50).then(move |number| async move {
        pause(20).await;
        if number == 25 {
            tunnel.inject("reset").await;
        }
        Ok::<_, std::io::Error>(vec![b'x'; 1 << 10])
    });
    let upload = sandbox.request(Method::PUT, "/files?path=f").body(Body::wrap_stream(pieces)).send().await;
    // The connection may break before the answer is read, while the body is still being sent.
    if let Ok(answer) = upload {
        assert_eq!(code(&answer.json().await.unwrap()), "interrupted");
    }

    let mut socket = sandbox.connect().await.unwrap();
    socket.send("exec", "1", json!({ "command": "echo once >> socket; echo up; sleep 600" })).await;
    while socket.wait_for("event", "1").await["bytes"] != "up\n" {}
    tunnel.inject("reset").await;
    let interrupted = socket.wait_for("error", "1").await;
    assert_eq!((&interrupted["code"], &interrupted["details"]["admitted"]), (&json!("interrupted"), &json!(true)));
    retry_exec(&mut socket).await;

    assert_eq!(sandbox.print("cat counter socket; ls").await, "once\nonce\ncounter\nsocket\n");
    check_unharmed(&sandbox).await;
    sandbox.end().await;
}

/// Checks that the socket still works after the connection behind it has broken.
async fn retry_exec(socket: &mut Socket) {
    socket.send("exec", "2", json!({ "command": "echo again" })).await;
    assert_eq!(socket.output("2").await.0, "again\n");
}

#[tokio::test]
async fn a_broken_download_is_reported_and_can_be_resumed() {
    let Some((sandbox, tunnel)) = start_with_tunnel("download").await else { return };
    sandbox.print("head -c 30000000 /dev/zero > large").await;
    let mut answer = sandbox.request(Method::GET, "/files?path=large").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let first = answer.chunk().await.unwrap().unwrap().len();
    tunnel.inject("stall").await;
    tunnel.inject("reset").await;
    tunnel.inject("clear").await;
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "a partial file must not look complete");
    let rest = sandbox.request(Method::GET, "/files?path=large").header("range", format!("bytes={first}-")).send().await.unwrap();
    assert_eq!(rest.bytes().await.unwrap().len(), 30_000_000 - first);
    check_unharmed(&sandbox).await;
    sandbox.end().await;
}

#[tokio::test]
async fn a_follower_resumes_where_the_connection_broke() {
    let Some((sandbox, tunnel)) = start_with_tunnel("follow").await else { return };
    let talks = json!({ "command": "for i in $(seq 1 400); do echo $i; sleep 0.005; done", "detach": true, "name": "talker" });
    assert_eq!(sandbox.call(Method::POST, "/exec", Some(talks)).await.0, StatusCode::OK);
    let (mut output, mut last, mut breaks) = (String::new(), None::<String>, 0);
    let ended = loop {
        let request = sandbox.request(Method::POST, "/process/attach").header("accept", "text/event-stream");
        let request = last.iter().fold(request, |request, id| request.header("last-event-id", id));
        let mut answer = request.json(&json!({ "process": "talker" })).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut text = String::new();
        let mut result = Value::Null;
        while let Ok(Some(piece)) = answer.chunk().await {
            text += std::str::from_utf8(&piece).unwrap();
            // An event cut off by the reset comes again.
            while let Some((event, rest)) = text.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let value: Value = line("data: ").map(|data| serde_json::from_str(data).unwrap()).unwrap_or_default();
                output += value["bytes"].as_str().unwrap_or_default();
                last = line("id: ").map(str::to_owned).or(last);
                result = if value["type"] == "result" { value } else { result };
                text = rest.to_owned();
            }
            if breaks < 3 && output.lines().count() > 50 * (breaks + 1) {
                breaks += 1;
                tunnel.inject("reset").await;
            }
        }
        if result != Value::Null {
            break result;
        }
    };
    assert_eq!((breaks, &ended["exit"]["code"]), (3, &json!(0)), "{ended}");
    assert_eq!(output, (1..=400).map(|number| format!("{number}\n")).collect::<String>(), "nothing is missing or repeated");

    // When the sandbox stops, a follower learns that its process was ended.
    let talks = json!({ "command": "while :; do echo on; sleep 0.02; done", "detach": true, "name": "endless" });
    let process = sandbox.call(Method::POST, "/exec", Some(talks)).await.1["process"].clone();
    let request = sandbox.request(Method::POST, "/process/attach").header("accept", "text/event-stream");
    let mut answer = request.json(&json!({ "process": process })).send().await.unwrap();
    answer.chunk().await.unwrap();
    assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
    let mut text = String::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        text += std::str::from_utf8(&piece).unwrap();
    }
    assert!(text.contains(r#""type":"result""#) && text.contains(r#""type":"cancelled""#), "{text}");
    let again = sandbox.call(Method::POST, "/process/attach", Some(json!({ "process": process }))).await;
    assert_eq!((again.0, code(&again.1)), (StatusCode::GONE, "gone"), "{}", again.1);
    sandbox.end().await;
}

#[tokio::test]
async fn a_silent_network_failure_is_detected_and_harms_no_container() {
    let Some((sandbox, tunnel)) = start_with_tunnel("dead").await else { return };
    let mut socket = sandbox.connect().await.unwrap();
    socket.send("exec", "1", json!({ "command": "echo up; sleep 600" })).await;
    while socket.wait_for("event", "1").await["bytes"] != "up\n" {}
    let stalling = async {
        wait_until_started(&sandbox).await;
        tunnel.inject("stall").await;
    };
    let ((status, cut), ()) = tokio::join!(sandbox.run(WAITS), stalling);
    assert_eq!((status, code(&cut)), (StatusCode::CONFLICT, "interrupted"), "{cut}");
    assert_eq!(socket.wait_for("error", "1").await["code"], "interrupted");
    tunnel.inject("clear").await;
    until("the sandbox is back", async || sandbox.run("true").await.0 == StatusCode::OK).await;
    assert_eq!(sandbox.print("cat counter").await, "once\n", "nothing is lost, and nothing was done twice");
    check_unharmed(&sandbox).await;
    // The object was reset, and its sockets with it.
    retry_exec(&mut sandbox.connect().await.unwrap()).await;
    sandbox.end().await;
}

#[tokio::test]
async fn looking_at_a_sandbox_that_is_out_of_reach_ends_nothing() {
    let Some((sandbox, tunnel)) = start_with_tunnel("out-of-reach").await else { return };
    sandbox.print("echo kept > f").await;
    for fault in ["refuse", "stall"] {
        tunnel.inject(fault).await;
        tunnel.inject("reset").await;
        for _ in 0..3 {
            assert_eq!(sandbox.show().await["state"], "running", "{fault}");
        }
        tunnel.inject("clear").await;
    }
    assert_eq!(sandbox.print("cat f").await, "kept\n");
    check_unharmed(&sandbox).await;
    sandbox.end().await;
}

#[tokio::test]
async fn refused_connections_delay_operations_and_harm_none_that_runs() {
    let Some((sandbox, tunnel)) = start_with_tunnel("refused").await else { return };
    let refusing = async {
        wait_until_started(&sandbox).await;
        tunnel.inject("refuse").await;
        // The agent is asked for its health meanwhile, in vain.
        let clearing = async {
            pause(6_000).await;
            tunnel.inject("clear").await;
        };
        // A request that has not reached the agent may be repeated.
        let repeating = until("it is carried out", async || {
            let (status, also) = sandbox.run("touch go; echo also >> also").await;
            assert!(status == StatusCode::OK || code(&also) == "container_not_ready", "{also}");
            status == StatusCode::OK
        });
        tokio::join!(repeating, clearing);
    };
    let (waited, ()) = tokio::join!(sandbox.run(WAITS), refusing);
    assert_eq!((waited.0, &waited.1["stdout"]), (StatusCode::OK, &json!("done\n")), "{}", waited.1);
    assert_eq!(sandbox.print("cat counter also").await, "once\nalso\n");
    check_unharmed(&sandbox).await;
    sandbox.end().await;
}
