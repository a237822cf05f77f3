//! Faults that clients inject, and engines that do not allow it.

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Engine, IMAGE, connected};

/// Answers each connection byte by byte.
const ECHO: &str = "import socket, threading
server = socket.create_server(('127.0.0.1', 5000))
def serve(c):
    while (b := c.recv(4096)): c.sendall(b)
while True: threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()";

async fn create(engine: &Engine, name: &str) {
    let body = json!({ "Image": IMAGE, "Env": [format!("CASE={name}")], "Cmd": ["sleep", "1000"] });
    engine.create(201, name, body).await;
}

async fn inject(engine: &Engine, fault: Value) {
    engine.expect(204, Method::PUT, "/faults/start/f", fault.to_string()).await;
}

/// Injects a fault into the tunnels of a sidecar.
async fn inject_into_network(port: u16, fault: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!("PUT /faults/{fault} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn an_engine_without_the_flag_knows_no_faults() {
    let engine = Engine::start().await;
    let fault = json!({ "kind": "refuse", "environment": "box" }).to_string();
    for method in [Method::PUT, Method::GET, Method::DELETE] {
        engine.expect(404, method, "/faults/start/f", fault.clone()).await;
    }
    create(&engine, "box").await;
    engine.act(204, "box", "start").await;
    let port = engine.serve("server", ECHO).await;
    assert_eq!(inject_into_network(port, "stall").await, "HTTP/1.1 404 Not Found");
}

#[tokio::test]
async fn refused_starts_leave_the_container_as_it_was() {
    let engine = Engine::start_with_faults().await;
    for (name, kind, words) in [
        ("one", "refuse", "an injected fault refuses this start"),
        ("two", "no_capacity", "there is no container instance that can be provided to this durable object"),
    ] {
        inject(&engine, json!({ "kind": kind, "environment": name, "starts": 1 })).await;
        create(&engine, name).await;
        assert_eq!(engine.act(500, name, "start").await["message"], words);
        assert_eq!(engine.inspect(name).await["State"]["Status"], "created");
        engine.act(204, name, "start").await;
        assert_eq!(engine.expect(200, Method::DELETE, "/faults/start/f", "").await["hits"], json!([name]));
    }
    engine.expect(404, Method::GET, "/faults/start/f", "").await;
    engine.expect(400, Method::PUT, "/faults/start/f", r#"{"kind":"explode","environment":""}"#).await;
}

#[tokio::test]
async fn a_hanging_start_goes_on_when_its_fault_is_removed() {
    let engine = Engine::start_with_faults().await;
    inject(&engine, json!({ "kind": "hang", "environment": "box" })).await;
    create(&engine, "box").await;
    let start = engine.act(204, "box", "start");
    let release = async {
        while engine.expect(200, Method::GET, "/faults/start/f", "").await["hits"] != json!(["box"]) {
            tokio::task::yield_now().await;
        }
        assert_eq!(engine.inspect("box").await["State"]["Status"], "created");
        engine.expect(200, Method::DELETE, "/faults/start/f", "").await;
    };
    tokio::join!(start, release);
    assert_eq!(engine.inspect("box").await["State"]["Status"], "running");
}

#[tokio::test]
async fn another_program_runs_in_place_of_the_agent() {
    let engine = Engine::start_with_faults().await;
    inject(&engine, json!({ "kind": { "run": ["sh", "-c", "exit 7"] }, "environment": "box" })).await;
    engine.create(201, "box", json!({ "Image": IMAGE, "Env": ["CASE=box"] })).await;
    engine.act(204, "box", "start").await;
    assert_eq!(engine.code("box").await, 7);
}

#[tokio::test]
async fn tunnels_stall_and_are_reset() {
    let engine = Engine::start_with_faults().await;
    let port = engine.serve("server", ECHO).await;
    let mut stream = connected(port, "127.0.0.1:5000").await;
    let mut byte = [0];
    stream.write_all(b"a").await.unwrap();
    stream.read_exact(&mut byte).await.unwrap();
    assert_eq!(inject_into_network(port, "stall").await, "HTTP/1.1 204 No Content");
    stream.write_all(b"b").await.unwrap();
    // Nothing is lost by a stall.
    assert_eq!(inject_into_network(port, "clear").await, "HTTP/1.1 204 No Content");
    stream.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"b");
    assert_eq!(inject_into_network(port, "reset").await, "HTTP/1.1 204 No Content");
    assert!(stream.read(&mut byte).await.is_err(), "a reset is no orderly end");
    assert_eq!(inject_into_network(port, "hail").await, "HTTP/1.1 404 Not Found");
}
