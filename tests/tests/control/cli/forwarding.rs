//! `cabana forward`: ports of a sandbox at ports of this machine.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use cabana_tests::{BreakingProxy, CommandLine, Process, Sandbox, in_sandbox, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::id;

/// `cabana forward` that runs. It is killed when this value is dropped.
struct Forwarding {
    child: Child,
    /// Where it listens.
    addresses: Vec<String>,
}

impl Forwarding {
    async fn start(cabana: &CommandLine, id: &str, ports: &[String]) -> Self {
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let mut command = cabana.command(&[&["forward", id], ports.as_slice()].concat());
        let count = ports.len();
        tokio::task::spawn_blocking(move || {
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(count);
            let address = |line: std::io::Result<String>| line.unwrap().split(" -> ").next().unwrap().to_owned();
            let addresses: Vec<_> = lines.map(address).collect();
            assert_eq!(addresses.len(), count, "it says where it listens");
            Self { child, addresses }
        })
        .await
        .unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.addresses[0]).await.unwrap()
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that answers each connection with what it has got, once all of that has come. Gives its port.
async fn echo(sandbox: &Sandbox) -> String {
    let server = "import socketserver, os\n\
                  class Echo(socketserver.BaseRequestHandler):\n  def handle(self):\n    \
                  data = b''.join(iter(lambda: self.request.recv(65536), b''))\n    self.request.sendall(data)\n\
                  socketserver.ThreadingTCPServer.request_queue_size = 64\n\
                  server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Echo)\n\
                  open('new', 'w').write(str(server.server_address[1]))\nos.rename('new', 'port')\nserver.serve_forever()";
    sandbox.exec(serde_json::json!({ "command": ["python3", "-c", server], "detach": true })).await;
    until("the server listens", async || sandbox.shell("ls port 2>/dev/null || true").await == "port\n").await;
    sandbox.shell("cat port").await
}

#[tokio::test]
async fn many_connections_pass_bytes_exactly_and_end_for_themselves() {
    in_sandbox(async |sandbox| {
        let port = echo(sandbox).await;
        let forwarding = Forwarding::start(&CommandLine::of_service(), &id(sandbox), &[format!("0:{port}")]).await;
        let stalled = forwarding.connect().await;
        let clients = (0..20_u8).map(async |client| {
            let (mut reader, mut writer) = forwarding.connect().await.into_split();
            let sent: Vec<u8> =
                (0..400_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8 ^ client).collect();
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.unwrap();
            assert!(received == sent, "{client}: {} bytes", received.len());
        });
        futures_util::future::join_all(clients).await;
        drop(stalled);
    })
    .await;
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_and_a_lost_connection_are_no_end_of_a_stream() {
    in_sandbox(async |sandbox| {
        let port = echo(sandbox).await;
        let (proxy, (_, key)) = (BreakingProxy::start().await, Sandbox::service());
        let cabana = CommandLine::at(&proxy.url(), &key);
        let mut forwarding = Forwarding::start(&cabana, &id(sandbox), &[format!("0:{port}"), "0:1".to_owned()]).await;
        let mut byte = [0];
        let mut refused = TcpStream::connect(&forwarding.addresses[1]).await.unwrap();
        assert!(refused.read(&mut byte).await.is_err(), "it is broken off");
        let mut cut = forwarding.connect().await;
        cut.write_all(b"half").await.unwrap();
        until("the server has it", async || sandbox.count_processes("[s]ocketserver").await > 0).await;
        proxy.cut().await;
        assert!(cut.read(&mut byte).await.is_err(), "it is broken off");
        // The next connection makes a new one to the service.
        let mut next = forwarding.connect().await;
        next.write_all(b"whole").await.unwrap();
        next.shutdown().await.unwrap();
        let mut received = String::new();
        next.read_to_string(&mut received).await.unwrap();
        assert_eq!(received, "whole");
        Process::new(forwarding.child.id()).signal("INT");
        let mut stderr = forwarding.child.stderr.take().unwrap();
        let status = forwarding.child.wait().unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        assert!(status.success() && said.contains("nothing accepts connections there"), "{status}: {said}");
    })
    .await;
}
