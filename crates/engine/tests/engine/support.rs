//! One engine per test, each with its own directory.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cabana_engine::client::{Client, Reply};
use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The image that every test engine knows.
pub(crate) const IMAGE: &str = "test/box:1";

/// How long a condition may take to become true before a test fails.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The engine's binary.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_cabana-engine")
}

/// Whether the machine has something that a test needs. Where `CABANA_TEST_REQUIRE` (names with commas) lists it, its absence is a failure.
pub(crate) fn required(name: &str, is_present: bool) -> bool {
    let listed = std::env::var("CABANA_TEST_REQUIRE").is_ok_and(|names| names.split(',').any(|listed| listed == name));
    assert!(is_present || !listed, "CABANA_TEST_REQUIRE lists {name}, which this machine does not have");
    if !is_present {
        eprintln!("skipped: this machine has no {name}");
    }
    is_present
}

/// A directory that sandboxes can see, unlike those below /tmp and homes. Earlier ones whose test was killed are removed.
pub(crate) fn visible_directory(suffix: &str) -> TempDir {
    const PARENT: &str = "/var/lib";
    const PREFIX: &str = "cabana-engine-test ";
    for entry in fs::read_dir(PARENT).unwrap().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once(' ')).map(|(pid, _)| pid);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new().prefix(&format!("{PREFIX}{} {suffix}", std::process::id())).tempdir_in(PARENT).unwrap()
}

/// Removes the cgroups of engines that were killed.
pub(crate) fn sweep() {
    assert!(Command::new(binary()).arg("sweep").status().unwrap().success());
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A number that no other process or test uses, to recognise processes by.
pub(crate) fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("9{:07}{next:03}", std::process::id())
}

/// Host processes with this word in their command line.
pub(crate) fn processes_with(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(word) {
            found.push(line);
        }
    }
    found
}

/// A running engine. Dropping it kills the process (and thereby its sandboxes).
pub(crate) struct Engine {
    process: Child,
    pub(crate) directory: PathBuf,
    pub(crate) client: Client,
    _guard: Option<TempDir>,
}

impl Engine {
    /// An engine in a new directory, which knows [`IMAGE`].
    pub(crate) async fn start() -> Self {
        let guard = TempDir::new().unwrap();
        let mut engine = Self::start_in(guard.path()).await;
        engine._guard = Some(guard);
        engine
    }

    /// An engine that lets its clients inject faults.
    pub(crate) async fn start_with_faults() -> Self {
        let guard = TempDir::new().unwrap();
        let mut command = Command::new(binary());
        command.args(["serve", "--faults"]);
        let mut engine = Self::start_by(guard.path(), command).await.unwrap_or_else(|log| panic!("{log}"));
        engine._guard = Some(guard);
        engine
    }

    /// An engine in this directory.
    pub(crate) async fn start_in(directory: &Path) -> Self {
        assert!(rustix::process::geteuid().is_root(), "the engine's tests start sandboxes as root: run them with sudo");
        let mut command = Command::new(binary());
        // Nothing of this machine's way to the internet, whatever it is.
        for (name, _) in
            std::env::vars().filter(|(name, _)| ["CERT", "CA", "PROXY"].iter().any(|part| name.to_uppercase().contains(part)))
        {
            command.env_remove(name);
        }
        command.arg("serve").env("CABANA_ENGINE_TEST_LEAK", "leaked");
        Self::start_by(directory, command).await.unwrap_or_else(|log| panic!("{log}"))
    }

    /// An engine by a command that ends with `serve` and lacks its arguments. Fails with the log if the process ends.
    pub(crate) async fn start_by(directory: &Path, mut command: Command) -> Result<Self, String> {
        let ready = directory.join("ready");
        let _ = fs::remove_file(&ready);
        let log = directory.join("log");
        let errors = fs::File::options().create(true).append(true).open(&log).unwrap();
        command
            .args([Path::new("--socket"), &directory.join("socket")])
            .args([Path::new("--agent"), Path::new("/bin/true")])
            .args([Path::new("--state"), &directory.join("state")])
            .args([Path::new("--hide"), &directory.join("hidden")])
            .args([Path::new("--ready-file"), &ready])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .process_group(0);
        let mut engine = Self {
            process: command.spawn().unwrap(),
            directory: directory.to_owned(),
            client: Client::new(directory.join("socket")),
            _guard: None,
        };
        let mut ended = false;
        eventually("the engine is ready", || {
            ended = engine.process.try_wait().unwrap().is_some();
            ended || ready.exists()
        })
        .await;
        if ended {
            return Err(engine.log());
        }
        let dockerfile = "FROM scratch\nEXPOSE 49983\n";
        engine.expect(200, Method::POST, &format!("/build?t={IMAGE}"), dockerfile).await;
        Ok(engine)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// What it warns of: limits that do not hold.
    pub(crate) fn warnings(&self) -> Vec<Value> {
        let ready: Value = serde_json::from_slice(&fs::read(self.directory.join("ready")).unwrap()).unwrap();
        ready["warnings"].as_array().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to the engine and waits for its end.
    pub(crate) fn end(&mut self, signal: rustix::process::Signal) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
        self.process.wait().unwrap()
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<bytes::Bytes>) -> Reply {
        self.client.send(method, path, body).await.unwrap()
    }

    /// Sends a request and checks the status.
    pub(crate) async fn expect(&self, status: u16, method: Method, path: &str, body: impl Into<bytes::Bytes>) -> Value {
        let reply = self.send(method.clone(), path, body).await;
        let message = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status.as_u16(), status, "{method} {path}: {message}\n{}", self.log());
        reply.json()
    }

    pub(crate) async fn create(&self, status: u16, name: &str, body: Value) -> Value {
        let path = format!("/containers/create?name={name}");
        self.expect(status, Method::POST, &path, body.to_string()).await
    }

    pub(crate) async fn act(&self, status: u16, name: &str, verb: &str) -> Value {
        let path = format!("/containers/{name}/{verb}");
        self.expect(status, Method::POST, &path, "").await
    }

    pub(crate) async fn inspect(&self, name: &str) -> Value {
        self.expect(200, Method::GET, &format!("/containers/{name}/json"), "").await
    }

    pub(crate) async fn remove(&self, status: u16, name: &str) {
        let path = format!("/containers/{name}?force=true");
        self.expect(status, Method::DELETE, &path, "").await;
    }

    /// Creates and starts a container that runs a shell script in its own network.
    pub(crate) async fn run(&self, name: &str, script: &str) {
        self.run_with(name, script, json!({})).await;
    }

    pub(crate) async fn run_with(&self, name: &str, script: &str, host_config: Value) {
        let body = json!({ "Image": IMAGE, "Cmd": ["sh", "-c", script], "HostConfig": host_config });
        self.create(201, name, body).await;
        self.act(204, name, "start").await;
    }

    /// Runs a script to its end and returns its exit code.
    pub(crate) async fn code_of(&self, name: &str, script: &str) -> i64 {
        self.run(name, script).await;
        self.code(name).await
    }

    /// Waits for a container's exit code.
    pub(crate) async fn code(&self, name: &str) -> i64 {
        self.act(200, name, "wait").await["StatusCode"].as_i64().unwrap()
    }

    /// Starts a sidecar; returns its port.
    pub(crate) async fn start_sidecar(&self, sidecar: &str) -> u16 {
        let body = json!({
            "Image": IMAGE, "ExposedPorts": { "39001/tcp": {} },
            "HostConfig": { "PublishAllPorts": true, "NetworkMode": "bridge" },
        });
        self.create(201, sidecar, body).await;
        self.act(204, sidecar, "start").await;
        let ports = &self.inspect(sidecar).await["NetworkSettings"]["Ports"];
        ports["39001/tcp"][0]["HostPort"].as_str().unwrap().parse().unwrap()
    }

    /// Starts a program in the network of a sidecar.
    pub(crate) async fn run_in(&self, sidecar: &str, name: &str, command: &[&str]) {
        let host_config = json!({ "NetworkMode": format!("container:{sidecar}") });
        self.create(201, name, json!({ "Image": IMAGE, "Cmd": command, "HostConfig": host_config })).await;
        self.act(204, name, "start").await;
    }

    /// Starts a sidecar and, in its network, a Python program; returns the sidecar's port.
    pub(crate) async fn serve(&self, name: &str, python: &str) -> u16 {
        let sidecar = format!("{name}-proxy");
        let port = self.start_sidecar(&sidecar).await;
        self.run_in(&sidecar, name, &["python3", "-c", python]).await;
        port
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = self.process.kill();
            let _ = self.process.wait();
            // Not `sweep`, which may panic.
            let _ = Command::new(binary()).arg("sweep").status();
        }
        if std::thread::panicking() {
            eprintln!("the engine's log:\n{}", self.log());
        }
    }
}

/// Asks a sidecar for a tunnel; returns the status line and the connection.
pub(crate) async fn connect(sidecar: u16, destination: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(("127.0.0.1", sidecar)).await.unwrap();
    let request = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\nX-Dst-Addr: {destination}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    (head.lines().next().unwrap().to_owned(), stream)
}

/// Asks until something listens.
pub(crate) async fn connected(sidecar: u16, destination: &str) -> TcpStream {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let (status, stream) = connect(sidecar, destination).await;
        if status.contains(" 200 ") {
            return stream;
        }
        assert!(Instant::now() < deadline, "nothing listens at {destination}: {status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
