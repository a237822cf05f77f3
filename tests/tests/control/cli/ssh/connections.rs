//! What passes through an SSH connection beside its sessions, and what a lost connection ends.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::Stdio,
};

use cabana_tests::{BreakingProxy, CommandLine, PATIENCE, Sandbox, in_sandbox, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
    time::timeout,
};

use super::{Ssh, bytes};

/// A server of this machine that answers what it has heard in capitals; gives its port.
async fn capitals() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await.unwrap();
                stream.write_all(&heard.to_ascii_uppercase()).await.unwrap();
            });
        }
    });
    (port, server)
}

/// What a stream answers to these bytes and the end of them.
async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, question: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.write_all(question).await.unwrap();
    stream.shutdown().await.unwrap();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    answer
}

/// A connection to this port of the sandbox by the SOCKS server of ssh (RFC 1928).
async fn connect_by_socks(socks: u16, port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", socks)).await.unwrap();
    stream.write_all(&[5, 1, 0]).await.unwrap();
    let mut answer = [0; 12];
    let name = b"localhost";
    let [high, low] = port.to_be_bytes();
    let length = u8::try_from(name.len()).unwrap();
    stream.write_all(&[&[5, 1, 0, 3, length], &name[..], &[high, low]].concat()).await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..4], [5, 0, 5, 0], "the method is taken, and the connection is made");
    stream
}

/// A port of this machine that nobody listens on.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn ports_and_sockets_of_the_sandbox_lead_to_the_client_until_the_connection_ends() {
    in_sandbox(async |sandbox| {
        let Some(ssh) = Ssh::of_service(sandbox).await else { return };
        let (port, server) = capitals().await;
        let socket = format!("{}/forward.sock", sandbox.shell("pwd").await.trim());
        let client = "import socket, sys\n\
                      def ask(stream):\n  stream.sendall(b'hello ' * 100_000); stream.shutdown(socket.SHUT_WR)\n  \
                      print(b''.join(iter(lambda: stream.recv(65536), b'')) == b'HELLO ' * 100_000)\n\
                      for host in ['127.0.0.1', 'localhost']:\n  ask(socket.create_connection((host, 45123)))\n\
                      unix = socket.socket(socket.AF_UNIX); unix.connect(sys.argv[1]); ask(unix)\n";
        let (to_port, to_socket) = (format!("45123:127.0.0.1:{port}"), format!("{socket}:127.0.0.1:{port}"));
        let forwards = ["-o", "ExitOnForwardFailure=yes", "-R", &to_port, "-R", &to_socket, "HOST"];
        let command = format!("stat -c %a {socket}; python3 - {socket}");
        let ran = ssh.run("ssh", &[&forwards[..], &[&command]].concat(), client.as_bytes()).await;
        assert_eq!(
            (ran.code, String::from_utf8_lossy(&ran.stdout).as_ref()),
            (Some(0), "600\nTrue\nTrue\nTrue\n"),
            "{}",
            ran.stderr
        );
        until("nothing listens any more", async || sandbox.count_processes("[a]gent listen").await == 0).await;
        assert_eq!(sandbox.shell("ls forward.sock /tmp/cabana-listen-* 2>/dev/null || true").await, "");
        let free = ssh.run("ssh", &["-R", &format!("0:127.0.0.1:{port}"), "HOST", "true"], b"").await;
        assert!(free.code == Some(0) && free.stderr.contains("Allocated port"), "{free:?}");
        let twice =
            ssh.run("ssh", &[&forwards[..4], &["-R", &format!("127.0.0.1:{to_port}"), "HOST", "true"]].concat(), b"").await;
        assert!(twice.code == Some(255) && twice.stderr.contains("Address already in use"), "{twice:?}");
        server.abort();
    })
    .await;
}

#[tokio::test]
async fn an_editor_starts_its_server_by_a_script_and_reaches_it_by_socks_and_by_a_socket() {
    in_sandbox(async |sandbox| {
        let Some(ssh) = Ssh::of_service(sandbox).await else { return };
        let root = sandbox.shell("pwd").await.trim().to_owned();
        let server = include_str!("editor_server.py");
        let script = format!("cd {root} && echo begin && exec python3 -u - <<'EDITOR'\n{server}\nEDITOR\n");
        let (socks, local) = (free_port(), ssh.path("editor.sock"));
        let forward = format!("{}:{root}/editor.sock", local.display());
        let (config, socks_word) = (ssh.config(), socks.to_string());
        let words = ["-F", &config, "-T", "-D", &socks_word, "-L", &forward, &ssh.host, "bash"];
        let mut editor = ssh.cabana.program("ssh", &words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The script stays open, as an editor keeps it.
        let mut stdin = editor.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).unwrap();
        let mut stdout = editor.stdout.take().unwrap();
        let said = tokio::task::spawn_blocking(move || {
            let (mut said, mut byte) = (Vec::new(), [0]);
            while !said.ends_with(b" listens\n") && stdout.read(&mut byte).unwrap() > 0 {
                said.push(byte[0]);
            }
            String::from_utf8(said).unwrap()
        });
        let said = timeout(PATIENCE, said).await.unwrap().unwrap();
        let port = said.strip_prefix("begin\n").and_then(|rest| rest.strip_suffix(" listens\n")?.parse().ok());
        let port = port.unwrap_or_else(|| panic!("{said}"));
        let question = bytes(3 << 20);
        for _ in 0..3 {
            assert!(ask(connect_by_socks(socks, port).await, &question).await == question);
        }
        assert!(ask(UnixStream::connect(&local).await.unwrap(), &question).await == question);
        drop(stdin);
        editor.kill().unwrap();
        editor.wait().unwrap();
        until("the server ends with its connection", async || sandbox.count_processes("[p]ython3 -u -").await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_of_files_and_forwards_is_a_failure_and_leaves_nothing() {
    in_sandbox(async |sandbox| {
        let (proxy, (_, key)) = (BreakingProxy::start().await, Sandbox::service());
        let Some(ssh) = Ssh::set_up(CommandLine::at(&proxy.url(), &key), sandbox).await else { return };
        let root = sandbox.shell("truncate -s 4G large.bin; pwd").await.trim().to_owned();
        let (target, listening) = (ssh.path("large.bin"), "[a]gent sftp-server|[a]gent listen|[s]leep 4818");
        let from = format!("HOST:{root}/large.bin");
        let to = target.to_str().unwrap().to_owned();
        let copies = ["-q", from.as_str(), to.as_str()];
        let forwards = ["-R", "45124:127.0.0.1:9", "HOST", "sleep 4818"];
        for (program, words, begun) in [("scp", &copies[..], "[a]gent sftp-server"), ("ssh", &forwards[..], "[a]gent listen")] {
            let ran = tokio::join!(ssh.run(program, words, b""), async {
                until("it runs", async || sandbox.count_processes(begun).await > 0).await;
                until("it is in the middle", async || {
                    program == "ssh" || fs::metadata(&target).is_ok_and(|file| file.len() > 1 << 20)
                })
                .await;
                proxy.set_down(true);
                proxy.cut().await;
                until("it has ended", async || sandbox.count_processes(listening).await == 0).await;
                proxy.set_down(false);
            });
            assert_eq!(ran.0.code, Some(255), "{program}: {}", ran.0.stderr);
        }
    })
    .await;
}

#[tokio::test]
async fn connections_pass_through_and_what_is_refused_says_so() {
    in_sandbox(async |sandbox| {
        let Some(ssh) = Ssh::of_service(sandbox).await else { return };
        let server = "import socket, os\nserver = socket.create_server(('127.0.0.1', 0))\n\
                      open('new', 'w').write(str(server.getsockname()[1]))\nos.rename('new', 'port')\n\
                      while True:\n  peer, _ = server.accept()\n  data = b''.join(iter(lambda: peer.recv(65536), b''))\n  \
                      peer.sendall(data.upper())\n  peer.close()";
        sandbox.exec(serde_json::json!({ "command": ["python3", "-c", server], "detach": true })).await;
        until("the server listens", async || sandbox.shell("ls port 2>/dev/null || true").await == "port\n").await;
        let port = sandbox.shell("cat port").await;
        let ran = ssh.run("ssh", &["-W", &format!("127.0.0.1:{port}"), "HOST"], b"hello").await;
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), b"HELLO".as_slice()), "{}", ran.stderr);
        let ran = ssh.run("ssh", &["-W", "127.0.0.1:1", "HOST"], b"").await;
        assert!(ran.code == Some(255) && ran.stderr.contains("nothing accepts connections there"), "{ran:?}");
        let unknown = ssh.run("ssh", &["nobody-has-this.cabana", "true"], b"").await;
        assert!(unknown.code == Some(255) && unknown.stderr.contains("no such sandbox"), "{unknown:?}");
        let user = ssh.run("ssh", &["-l", "nobody-has-this", "HOST", "true"], b"").await;
        assert!(user.code == Some(255) && user.stderr.contains("nobody-has-this"), "{user:?}");
        assert_eq!(ssh.cabana.run(&["setup", "ssh", "--config", &ssh.config(), "--undo"]).await.code, Some(0));
        assert_eq!(fs::read_to_string(ssh.config()).unwrap(), "");
    })
    .await;
}

#[tokio::test]
async fn a_lost_connection_is_no_success_and_garbage_for_ssh_leaks_nothing() {
    in_sandbox(async |sandbox| {
        let (proxy, (_, key)) = (BreakingProxy::start().await, Sandbox::service());
        let Some(ssh) = Ssh::set_up(CommandLine::at(&proxy.url(), &key), sandbox).await else { return };
        let ran = tokio::join!(ssh.ssh("echo begun; sleep 4817"), async {
            until("it runs", async || sandbox.count_processes("[s]leep 4817").await > 0).await;
            proxy.set_down(true);
            proxy.cut().await;
            until("it has ended", async || sandbox.count_processes("[s]leep 4817").await == 0).await;
            proxy.set_down(false);
        });
        assert_eq!((ran.0.code, ran.0.stdout.as_slice()), (Some(255), b"begun\n".as_slice()), "{}", ran.0.stderr);
        for garbage in
            [b"GET / HTTP/1.1\r\n\r\n".to_vec(), bytes(4 << 20), b"SSH-2.0-x\r\n\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(), Vec::new()]
        {
            let ran = ssh.cabana.run_with(&["ssh-proxy", &ssh.host], garbage).await;
            assert!(ran.code.is_some() && !ran.stderr.contains("panicked"), "{ran:?}");
            assert!(ran.stdout.starts_with(b"SSH-2.0-"), "nothing but SSH is on stdout");
        }
    })
    .await;
}
