//! A sandbox under test, over HTTP.

use cabana_protocol::{
    Operation, Streaming,
    exec::{Exec, ExecEvent, ExecOutput, ExecResult},
    line::LineOf,
};
use futures_util::{Stream, StreamExt, stream};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{Answer, Caller, Socket, Target, agent::Agent, caller, container::Container};

/// The first root of the image.
const WORKSPACE: &str = "/workspace";

/// A sandbox, by default a fresh one.
#[derive(Debug)]
pub struct Sandbox {
    caller: Caller,
    /// What the routes of the sandbox come after.
    base: String,
    /// Its first root, as the sandbox sees it.
    pub root: String,
    program: Program,
}

/// What runs its agent.
#[derive(Debug)]
enum Program {
    /// A process of the case's.
    Agent { _process: Agent },
    /// A container of the case's.
    Container(Container),
    /// The service.
    Service,
}

impl Sandbox {
    /// A fresh sandbox of the target that the environment names.
    pub(crate) async fn create() -> Self {
        match Target::get() {
            Target::Agent => Self::of_agent(Agent::start(&[], &[])),
            Target::Image => Self::of_container(&[]).await,
            Target::Stack => {
                let sandbox = Self::create_with(json!({})).await;
                sandbox.start().await;
                sandbox
            }
        }
    }

    /// A fresh sandbox of the service, made with these fields.
    pub async fn create_with(fields: Value) -> Self {
        let caller = Caller::operator();
        let answer = caller.post("/v1/sandboxes", fields).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        Self::of_service(caller, answer.json()["id"].as_str().unwrap())
    }

    /// Starts a sandbox of the service. Beside other cases and a compiler, a start may take longer than one request waits for it.
    pub(crate) async fn start(&self) {
        loop {
            let answer = self.send(self.request(Method::POST, "/start")).await;
            if answer.status.is_success() {
                return;
            }
            assert_eq!(answer.code(), "container_not_ready", "{}", answer.json());
        }
    }

    pub(crate) fn of_service(caller: Caller, id: &str) -> Self {
        Self { caller, base: format!("/v1/sandboxes/{id}"), root: WORKSPACE.to_owned(), program: Program::Service }
    }

    pub(crate) fn of_agent(agent: Agent) -> Self {
        let root = agent.root.path().canonicalize().unwrap().to_str().unwrap().to_owned();
        let caller = Caller::at(&agent.url, Some(Agent::SECRET.to_owned()));
        Self { caller, base: "/v1".to_owned(), root, program: Program::Agent { _process: agent } }
    }

    /// One in a container of the image, whose agent has these variables on top.
    pub(crate) async fn of_container(variables: &[(&str, &str)]) -> Self {
        let container = Container::provide(variables).await;
        let caller = Caller::at(&container.url, Some(Container::SECRET.to_owned()));
        Self { caller, base: "/v1".to_owned(), root: WORKSPACE.to_owned(), program: Program::Container(container) }
    }

    /// The URL of the service under test and its key.
    pub fn service() -> (String, String) {
        caller::service()
    }

    /// Gives it up after a case that has passed: a container may serve another one.
    pub(crate) async fn release(self) {
        match self.program {
            Program::Container(container) => container.recycle().await,
            Program::Agent { .. } | Program::Service => self.destroy().await,
        }
    }

    /// Destroys it, if it is one of the service. An agent or a container ends when it is dropped.
    pub async fn destroy(self) {
        if matches!(self.program, Program::Service) {
            self.request(Method::DELETE, "").send().await.unwrap();
        }
    }

    /// Where a route of the sandbox is.
    pub fn url(&self, route: &str) -> String {
        self.caller.url(&format!("{}{route}", self.base))
    }

    /// A request to a route of the sandbox, with the key.
    pub fn request(&self, method: Method, route: &str) -> RequestBuilder {
        self.caller.request(method, &format!("{}{route}", self.base))
    }

    /// A request to a route of the sandbox, without the key.
    pub fn anonymous(&self, method: Method, route: &str) -> RequestBuilder {
        self.caller.anonymous(method, &format!("{}{route}", self.base))
    }

    /// Sends a request and reads the answer whole.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    /// An operation by its name, with whatever JSON.
    pub async fn post(&self, name: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, &route(name)).json(&body)).await
    }

    /// An operation that must succeed.
    pub async fn call<O: Operation>(&self, request: O) -> O::Response {
        let answer = self.post(O::NAME, serde_json::to_value(request).unwrap()).await;
        serde_json::from_slice(&answer.success()).unwrap()
    }

    /// `exec` in its JSON form, which must be admitted.
    pub async fn exec(&self, request: Value) -> ExecOutput {
        serde_json::from_slice(&self.post("exec", request).await.success()).unwrap()
    }

    /// The stdout of a script that must succeed.
    pub async fn shell(&self, script: &str) -> String {
        self.run(json!({ "command": script })).await
    }

    /// Keeps the sandbox from other cases, because this one changes what no reset brings back.
    pub fn mark_changed(&self) {
        if let Program::Container(container) = &self.program {
            container.mark_changed();
        }
    }

    /// The same as [`Self::shell`] by root, not by the user of other commands: what prepares a case outside the root, or changes the agent. No other case gets this
    /// sandbox.
    pub async fn shell_as_root(&self, script: &str) -> String {
        self.mark_changed();
        self.run(json!({ "command": script, "user": "root" })).await
    }

    async fn run(&self, request: Value) -> String {
        let output = self.exec(request.clone()).await;
        assert!(output.result.success(), "{request}: {output:?}");
        String::from_utf8(output.stdout.0.into()).unwrap()
    }

    /// How many processes have this text in their command line.
    pub async fn count_processes(&self, mark: &str) -> usize {
        let output = self.exec(json!({ "command": ["pgrep", "--count", "--full", mark] })).await;
        std::str::from_utf8(&output.stdout.0).unwrap().trim().parse().unwrap()
    }

    /// The memory that the agent has in use, in KiB. The agent is the parent of every command.
    pub async fn memory_kib(&self) -> u64 {
        self.memory("VmRSS").await
    }

    /// The part of it that is the agent's alone, in KiB: pages of its program come and go with what else the machine has to do.
    pub async fn own_memory_kib(&self) -> u64 {
        self.memory("RssAnon").await
    }

    /// The most memory that the agent has ever had in use, in KiB.
    pub async fn peak_memory_kib(&self) -> u64 {
        self.memory("VmHWM").await
    }

    async fn memory(&self, field: &str) -> u64 {
        // A shell alone, so that a sandbox with little room for processes can say it.
        let script = format!("while read name value _; do [ $name = {field}: ] && echo $value; done < /proc/$PPID/status; true");
        self.shell(&script).await.trim().parse().unwrap()
    }

    /// `exec` in a streaming form: its lines as they come.
    pub async fn stream(&self, accept: &str, request: Value) -> impl Stream<Item = LineOf<Exec>> + Unpin + use<> {
        self.stream_of(Exec::NAME, accept, request).await
    }

    /// The same for any operation with the events of `exec`.
    pub async fn stream_of(&self, name: &str, accept: &str, request: Value) -> impl Stream<Item = LineOf<Exec>> + Unpin + use<> {
        lines::<Exec>(self.start_stream(name, accept, &request).await)
    }

    /// A streaming operation: its lines as they come.
    pub async fn listen<O: Streaming>(&self, accept: &str, request: &O) -> impl Stream<Item = LineOf<O>> + Unpin + use<O> {
        lines::<O>(self.start_stream(O::NAME, accept, &serde_json::to_value(request).unwrap()).await)
    }

    async fn start_stream(&self, name: &str, accept: &str, request: &Value) -> Response {
        let request = self.request(Method::POST, &route(name)).header(header::ACCEPT, accept).json(request);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with(accept));
        response
    }

    /// Content over the byte lane.
    pub async fn put(&self, path: &str, content: impl Into<Body>) -> Answer {
        self.send(self.file(Method::PUT, path).body(content)).await
    }

    /// Content over the byte lane.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.file(Method::GET, path)).await
    }

    /// A request to the byte lane.
    pub fn file(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, "/files").query(&[("path", path)])
    }

    /// A WebSocket, past its `ready` frame.
    pub async fn connect(&self) -> Socket {
        self.connect_with("").await.unwrap()
    }

    /// The same with this query; the error is the status of a refusal.
    pub async fn connect_with(&self, query: &str) -> Result<Socket, Option<u16>> {
        let key = ("authorization", format!("Bearer {}", self.caller.token.as_deref().unwrap_or_default()));
        let mut socket = Socket::open(&self.url(&format!("/connect{query}")), &[key]).await?;
        let ready = socket.next().await;
        assert_eq!(ready["type"], "ready");
        Ok(socket)
    }
}

fn route(name: &str) -> String {
    format!("/{}", name.replace('.', "/"))
}

/// The lines of a stream, of either form.
fn lines<O: Streaming>(response: Response) -> impl Stream<Item = LineOf<O>> + Unpin {
    let lines = stream::unfold((response, Vec::new()), |(mut response, mut buffer)| async move {
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let rest = buffer.split_off(end + 1);
                let line = std::mem::replace(&mut buffer, rest);
                let line = line.strip_prefix(b"data: ").unwrap_or(&line).trim_ascii().to_vec();
                match line.is_empty() || line.starts_with(b":") || line.starts_with(b"id: ") {
                    true => continue,
                    false => return Some((LineOf::<O>::decode(&line).unwrap(), (response, buffer))),
                }
            }
            buffer.extend(response.chunk().await.unwrap()?);
        }
    });
    lines.boxed()
}

/// Reads an answer to its end; fails where it breaks off.
pub async fn drain(mut response: Response) -> reqwest::Result<()> {
    while response.chunk().await?.is_some() {}
    Ok(())
}

/// What a whole stream said: stdout, stderr, and its result. Checks that the offsets number every byte once.
pub async fn gather(mut lines: impl Stream<Item = LineOf<Exec>> + Unpin) -> (Vec<u8>, Vec<u8>, ExecResult) {
    let (mut stdout, mut stderr, mut next) = (Vec::new(), Vec::new(), 0);
    while let Some(line) = lines.next().await {
        match line {
            LineOf::<Exec>::Event(ExecEvent::Started { .. }) => assert_eq!(next, 0),
            LineOf::<Exec>::Event(ExecEvent::Stdout { offset, bytes }) => {
                assert_eq!(offset, next);
                next += bytes.0.len() as u64;
                stdout.extend(bytes.0);
            }
            LineOf::<Exec>::Event(ExecEvent::Stderr { offset, bytes }) => {
                assert_eq!(offset, next);
                next += bytes.0.len() as u64;
                stderr.extend(bytes.0);
            }
            LineOf::<Exec>::Result(result) => {
                assert!(lines.next().await.is_none(), "something came after the result");
                return (stdout, stderr, result);
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the stream was interrupted");
}
