//! The engine under the stack, where both run on this machine, and the faults that cases inject into it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::lifecycle::{Named, host};

/// How long an agent may take to say who it is.
const ANSWER: Duration = Duration::from_secs(5);

/// The engine that runs the sandboxes of the stack.
pub(super) struct LocalEngine {
    socket: PathBuf,
    state: PathBuf,
}

impl LocalEngine {
    /// The engine of this sandbox, which must run or start; `None` where the stack runs elsewhere.
    pub(super) async fn find(sandbox: &Named) -> Option<Self> {
        let agent = host::agent_of(sandbox).await?;
        let mut ancestors = std::iter::successors(Some(agent), |process| process.parent());
        let words = ancestors.find(|process| process.name() == "cabana-engine")?.words();
        assert!(words.iter().any(|word| word == "--faults"), "start the stack with `cargo xtask dev --testing`: {words:?}");
        let argument = |name: &str| words.iter().skip_while(|word| *word != name).nth(1).expect("the engine has it").into();
        Some(Self { socket: argument("--socket"), state: argument("--state") })
    }

    /// Injects a fault into the starts of one sandbox.
    pub(super) async fn inject(&self, mark: &StartMark, kind: Value, starts: Option<u32>) -> StartFault<'_> {
        let name = mark.0.clone();
        let body = json!({ "kind": kind, "environment": name, "starts": starts });
        let (status, answer) = self.call(Method::PUT, &format!("/faults/start/{name}"), Some(body)).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
        StartFault { engine: self, name }
    }

    /// The tunnels to the agent of a sandbox that runs.
    pub(super) async fn tunnel_of(&self, sandbox: &Named) -> Tunnel {
        let process = sandbox.print("echo $CABANA_PROCESS").await;
        for sidecar in fs::read_dir(Path::new(&self.state).join("sidecars")).unwrap() {
            // It may have been removed since.
            let Ok(record) = fs::read(sidecar.unwrap().path()) else { continue };
            let port = serde_json::from_slice::<Value>(&record).unwrap()["port"].as_u64().unwrap().try_into().unwrap();
            // Another case may have stopped its agent.
            let incarnation = timeout(ANSWER, incarnation(port)).await.ok().flatten().unwrap_or_default();
            if !incarnation.is_empty() && process.contains(&incarnation) {
                return Tunnel { port };
            }
        }
        panic!("no sidecar leads to {}", sandbox.id)
    }

    /// Whether there is a container of this name, running or not.
    pub(super) async fn has(&self, container: &str) -> bool {
        self.call(Method::GET, &format!("/containers/{container}/json"), None).await.0 == StatusCode::OK
    }

    /// The container of a sandbox that runs.
    pub(super) async fn container_of(&self, sandbox: &Named) -> Container {
        let agent = host::agent_of(sandbox).await.expect("the sandbox runs here");
        let (_, all) = self.call(Method::GET, "/containers/json", None).await;
        for container in all.as_array().unwrap() {
            let name = container["Names"][0].as_str().unwrap().trim_start_matches('/').to_owned();
            let (_, shown) = self.call(Method::GET, &format!("/containers/{name}/json"), None).await;
            if agent.ancestors().any(|process| shown["State"]["Pid"] == process.pid()) {
                return Container { name, image: shown["Image"].as_str().unwrap().to_owned() };
            }
        }
        panic!("no container has the agent of {}", sandbox.id)
    }

    /// Builds an image of this name, in place of the one that has it.
    pub(super) async fn build(&self, image: &str, dockerfile: &str) {
        let built = self.http().post(format!("http://engine/build?t={image}")).body(dockerfile.to_owned()).send().await.unwrap();
        assert_eq!(built.status(), StatusCode::OK, "{image}");
    }

    /// Makes a container's files an image of this name, in place of the one that has it.
    pub(super) async fn commit(&self, container: &Container, image: &str) {
        let route = format!("/commit?container={}&repo={image}", container.name);
        let (status, answer) = self.call(Method::POST, &route, None).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    async fn call(&self, method: Method, route: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = self.http().request(method, format!("http://engine{route}"));
        let request = body.iter().fold(request, |request, body| request.json(body));
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap_or(Value::Null))
    }

    fn http(&self) -> Client {
        Client::builder().unix_socket(self.socket.as_path()).build().unwrap()
    }
}

/// A container of the engine's that runs.
pub(super) struct Container {
    name: String,
    /// The name of the image that it was created from.
    pub(super) image: String,
}

/// A text in a sandbox's variables that a fault matches.
pub(super) struct StartMark(String);

impl StartMark {
    /// A text that no other sandbox has.
    pub(super) fn new(case: &str) -> Self {
        Self(super::fresh_name(case))
    }

    /// The variables that a sandbox is created with.
    pub(super) fn variables(&self) -> Value {
        json!({ "START_MARK": self.0 })
    }
}

/// A fault in force.
pub(super) struct StartFault<'a> {
    engine: &'a LocalEngine,
    name: String,
}

impl StartFault<'_> {
    /// The containers whose starts it has hit.
    pub(super) async fn hits(&self) -> Vec<String> {
        self.call(Method::GET).await
    }

    /// Removes it, and returns the containers whose starts it has hit.
    pub(super) async fn remove(&self) -> Vec<String> {
        self.call(Method::DELETE).await
    }

    async fn call(&self, method: Method) -> Vec<String> {
        let (status, fault) = self.engine.call(method, &format!("/faults/start/{}", self.name), None).await;
        assert_eq!(status, StatusCode::OK, "{fault}");
        serde_json::from_value(fault["hits"].clone()).unwrap()
    }
}

/// The tunnels between the Durable Object and one sandbox, which its sidecar carries.
#[derive(Clone, Copy)]
pub(super) struct Tunnel {
    port: u16,
}

impl Tunnel {
    /// Injects a fault: `stall`, `reset` or `clear`.
    pub(super) async fn inject(&self, fault: &str) {
        let url = format!("http://127.0.0.1:{}/faults/{fault}", self.port);
        assert_eq!(Client::new().put(url).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }
}

/// The incarnation of the agent behind a sidecar.
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
