//! The sidecar's tunnels.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Engine, connect, connected};

/// Reads to the end, then answers with as many bytes, each one more than the one read.
const MIRROR: &str = r#"
import socket, threading
table = bytes((i + 1) % 256 for i in range(256))
server = socket.create_server(("127.0.0.1", 5000), backlog=128)
def serve(c):
    data = bytearray()
    while True:
        b = c.recv(1 << 16)
        if not b: break
        data += b
    c.sendall(bytes(data).translate(table))
    c.close()
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"#;

/// Answers each connection with its argument.
fn greeter(greeting: &str) -> String {
    format!(
        "import socket\ns = socket.create_server(('127.0.0.1', 5000))\n\
         while True:\n  c = s.accept()[0]; c.sendall(b'{greeting}'); c.close()"
    )
}

async fn greeting(port: u16) -> String {
    let mut text = String::new();
    connected(port, "127.0.0.1:5000").await.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_port_without_a_listener_is_refused() {
    let engine = Engine::start().await;
    let port = engine.serve("box", &greeter("x")).await;
    let (status, _) = connect(port, "127.0.0.1:9").await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    let (status, _) = connect(port, "localhost:http").await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
}

#[tokio::test]
async fn two_sandboxes_listen_on_the_same_port() {
    let engine = Engine::start().await;
    let one = engine.serve("one", &greeter("one")).await;
    let two = engine.serve("two", &greeter("two")).await;
    assert_ne!(one, two);
    assert_eq!(greeting(one).await, "one");
    assert_eq!(greeting(two).await, "two");
    assert_eq!(greeting(one).await, "one");
}

#[tokio::test]
async fn a_half_closed_tunnel_carries_64_mib_each_way() {
    const SIZE: usize = 64 << 20;
    let engine = Engine::start().await;
    let port = engine.serve("box", MIRROR).await;
    let (mut reader, mut writer) = connected(port, "127.0.0.1:5000").await.into_split();
    let data: Vec<u8> = (0..SIZE).map(|index| (index * 31 % 251) as u8).collect();
    writer.write_all(&data).await.unwrap();
    writer.shutdown().await.unwrap();
    let mut answer = Vec::with_capacity(SIZE);
    reader.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.len(), SIZE);
    assert!(answer.iter().zip(&data).all(|(answer, sent)| *answer == sent.wrapping_add(1)));
}

#[tokio::test]
async fn a_reader_that_stops_blocks_the_writer() {
    let engine = Engine::start().await;
    let silent = "import socket, time\ns = socket.create_server(('127.0.0.1', 5000))\nc = s.accept()[0]\ntime.sleep(1000)";
    let port = engine.serve("box", silent).await;
    let mut stream = connected(port, "127.0.0.1:5000").await;
    let block = vec![0_u8; 1 << 20];
    let mut sent = 0;
    let pause = std::time::Duration::from_millis(500);
    while let Ok(written) = tokio::time::timeout(pause, stream.write(&block)).await {
        sent += written.unwrap();
        assert!(sent < 256 << 20, "{sent} bytes vanished into buffers");
    }
    assert!(sent > 64 << 10, "the tunnel took only {sent} bytes");
}

#[tokio::test]
async fn concurrent_tunnels_do_not_mix_their_bytes() {
    let engine = Engine::start().await;
    let port = engine.serve("box", MIRROR).await;
    drop(connected(port, "127.0.0.1:5000").await);
    let mut tunnels = tokio::task::JoinSet::new();
    for number in 0..64_u8 {
        tunnels.spawn(async move {
            let mut stream = connected(port, "127.0.0.1:5000").await;
            stream.write_all(&[number; 1000]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, [number + 1; 1000]);
        });
    }
    while let Some(tunnel) = tunnels.join_next().await {
        tunnel.unwrap();
    }
}

#[tokio::test]
async fn the_end_of_a_sandbox_closes_its_tunnels_and_not_its_sidecar() {
    let engine = Engine::start().await;
    let port = engine.serve("box", MIRROR).await;
    let mut stream = connected(port, "127.0.0.1:5000").await;
    engine.remove(204, "box").await;
    // An end or a reset, whichever the kernel chooses.
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    let (status, _) = connect(port, "127.0.0.1:5000").await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    engine.remove(204, "box-proxy").await;
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn a_sidecar_answers_what_workerd_asks() {
    let engine = Engine::start().await;
    let port = engine.serve("box", MIRROR).await;
    for (request, status, part) in [
        ("GET /ca", "200 OK", "-----BEGIN CERTIFICATE-----"),
        ("PUT /egress", "204 No Content", ""),
        ("PUT /faults/stall", "404 Not Found", "the sidecar has no PUT /faults/stall"),
        ("GET /nope", "404 Not Found", "the sidecar has no GET /nope"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.contains(part), "{answer}");
    }
}
