//! What a sandbox reaches outside, where the stack runs on this machine. The engine of a stack for tests leads 192.0.2.1, and names below
//! `cabana.test`, to this machine's loopback address.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use cabana_tests::require;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{lifecycle::Named, local_engine::LocalEngine};

/// A sandbox that runs; `None` where the stack runs elsewhere.
async fn start_with_engine(case: &str) -> Option<Named> {
    let sandbox = Named::new(case, json!({})).await;
    if LocalEngine::find(&sandbox).await.is_some() {
        return Some(sandbox);
    }
    sandbox.end().await;
    None
}

/// Serves each connection by this function, on a port that is free; returns the port.
async fn serve<F: Future<Output = ()> + Send + 'static>(address: Ipv4Addr, answer: fn(TcpStream) -> F) -> u16 {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    port
}

/// Reads a request's head and answers with a page.
async fn page(mut stream: TcpStream) {
    let mut head = [0; 4096];
    let length = stream.read(&mut head).await.unwrap_or_default();
    let host = String::from_utf8_lossy(&head[..length]).lines().find_map(|line| line.strip_prefix("Host: ").map(str::to_owned));
    let body = format!("you asked {}", host.unwrap_or_default());
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// Sends 64 MiB, in which each 32 bits count up, and takes as many bytes before it ends.
async fn exchange(mut stream: TcpStream) {
    const WORDS: u32 = 16 * 1024 * 1024;
    let (mut reader, mut writer) = stream.split();
    let mut sink = tokio::io::sink();
    let send = async {
        for first in (0..WORDS).step_by(1 << 14) {
            let block: Vec<u8> = (first..first + (1 << 14)).flat_map(u32::to_le_bytes).collect();
            writer.write_all(&block).await?;
        }
        writer.shutdown().await
    };
    let _ = tokio::join!(send, tokio::io::copy(&mut reader, &mut sink));
}

#[tokio::test]
async fn servers_outside_are_reached_by_name_and_by_address() {
    let Some(sandbox) = start_with_engine("egress").await else { return };
    let port = serve(Ipv4Addr::LOCALHOST, page).await;
    for host in ["192.0.2.1", "server.cabana.test"] {
        let said = sandbox.print(&format!("curl -fsS http://{host}:{port}/")).await;
        assert_eq!(said, format!("you asked {host}:{port}"));
    }
    sandbox.end().await;
}

#[tokio::test]
async fn bytes_pass_both_ways_at_once_and_arrive_whole() {
    let Some(sandbox) = start_with_engine("egress-bytes").await else { return };
    let port = serve(Ipv4Addr::LOCALHOST, exchange).await;
    let program = format!(
        "import array, socket, threading
s = socket.create_connection(('192.0.2.1', {port}))
def send():
    s.sendall(bytes(64 << 20))
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
data = b''.join(iter(lambda: s.recv(1 << 20), b''))
print(array.array('I', data) == array.array('I', range(1 << 24)))"
    );
    let said = sandbox.print(&format!("python3 -c \"{program}\"")).await;
    assert_eq!(said.trim(), "True");
    sandbox.end().await;
}

#[tokio::test]
async fn the_host_other_sandboxes_and_links_are_out_of_reach() {
    let Some(sandbox) = start_with_engine("egress-host").await else { return };
    let other = Named::new("egress-other", json!({})).await;
    let serving = other.print("nohup python3 -m http.server 5000 >/dev/null 2>&1 & hostname -I").await;
    let port = serve(Ipv4Addr::UNSPECIFIED, page).await;
    // Connecting a UDP socket sends nothing; it has the address by which this machine reaches others.
    let own = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("203.0.113.1:9")?;
        socket.local_addr()
    });
    let own = own.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip());
    let mut addresses = ["127.0.0.1", "127.1", "0.0.0.0", "localhost", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]"]
        .map(str::to_owned)
        .to_vec();
    addresses.push(own.to_string());
    for address in addresses {
        let (status, answer) = sandbox.run(&format!("curl -sS -m 20 http://{address}:{port}/")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["stdout"], "", "{address}: {answer}");
        // 7 is a refusal, 56 a reset, 52 an end without an answer, 3 and 6 an address that is none; 28, which is not among them, a wait.
        let code = answer["exit"]["code"].as_u64().unwrap();
        assert!([3, 6, 7, 52, 56].contains(&code), "{address}: {answer}");
    }
    for address in serving.split_whitespace() {
        let (_, answer) = sandbox.run(&format!("curl -sS -m 20 -o /dev/null -w '%{{http_code}}' 'http://{address}:5000/'")).await;
        assert_eq!(answer["stdout"], "000", "{address}: {answer}");
    }
    sandbox.end().await;
    other.end().await;
}

#[tokio::test]
async fn names_that_do_not_exist_fail_at_once() {
    let Some(sandbox) = start_with_engine("egress-names").await else { return };
    let (_, answer) = sandbox.run("getent ahosts nothing.invalid; curl -sS http://nothing.invalid/").await;
    assert_eq!(answer["exit"]["code"], 6, "{answer}");
    sandbox.end().await;
}

#[tokio::test]
async fn ports_of_the_network_sidecar_are_not_listed() {
    let Some(sandbox) = start_with_engine("egress-ports").await else { return };
    let (status, answer) = sandbox.call(Method::POST, "/port/list", Some(json!({}))).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({ "items": [] })));
    sandbox.end().await;
}

/// What people type first.
#[tokio::test]
async fn packages_install_from_their_registries() {
    let registries = ["pypi.org", "registry.npmjs.org", "index.crates.io"];
    for host in registries {
        let resolved = tokio::net::lookup_host((host, 443)).await.map(|mut addresses| addresses.next());
        let address: Option<SocketAddr> = resolved.unwrap_or_default();
        if require("registries", address, "names of registries do not resolve").is_none() {
            return;
        }
    }
    let Some(sandbox) = start_with_engine("egress-install").await else { return };
    for (command, expected) in [
        (
            "python3 -m venv v && v/bin/pip install -q --no-input --disable-pip-version-check markupsafe \
             && v/bin/python -c 'import markupsafe._speedups; print(\"compiled\")'",
            "compiled",
        ),
        ("mkdir p && cd p && npm init -y >/dev/null && npm install --silent is-odd && node -p \"require('is-odd')(3)\"", "true"),
        ("cargo init -q --vcs none --name c c && cd c && cargo add -q itoa && cargo fetch -q && ls Cargo.lock", "Cargo.lock"),
    ] {
        let (status, answer) = sandbox.run(command).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["stdout"].as_str().unwrap().trim(), expected, "{command}: {answer}");
    }
    sandbox.end().await;
}
