//! A sandbox under test, over HTTP.

use std::time::Duration;

use cabana_protocol::{
    Operation, Streaming,
    exec::{Exec, ExecEvent, ExecOutput, ExecResult},
    line::LineOf,
};
use futures_util::{Stream, StreamExt, stream};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{Issuer, Socket, Target, agent::Agent};

/// A fresh sandbox.
#[derive(Debug)]
pub struct Sandbox {
    http: Client,
    /// What the agent's routes come after.
    base: String,
    key: String,
    /// Its first root, as the sandbox sees it.
    pub root: String,
    _agent: Option<Agent>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: header::HeaderMap,
    /// Its body.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Reads an answer.
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, bytes: response.bytes().await.unwrap().into() }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, of an answer that must be a success.
    pub fn success(self) -> Vec<u8> {
        assert!(self.status.is_success(), "{}: {}", self.status, String::from_utf8_lossy(&self.bytes));
        self.bytes
    }

    /// The error's code, once its shape and status are what they must be.
    pub fn code(&self) -> String {
        let body = self.json();
        let error: cabana_protocol::Error = serde_json::from_value(body["error"].clone()).unwrap();
        assert_eq!(error.code.status(), self.status.as_u16(), "{body}");
        assert!(!error.message.is_empty() && body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
        body["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Sandbox {
    pub(crate) async fn create() -> Self {
        match Target::get() {
            Target::Agent => Self::of_agent(Agent::start(&[], &[])),
            Target::Stack => {
                let (url, key) = Self::service();
                let created = client().post(format!("{url}/v1/sandboxes")).bearer_auth(&key).json(&json!({})).send();
                let answer = Answer::of(created.await.unwrap()).await;
                assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
                let base = format!("{url}/v1/sandboxes/{}", answer.json()["id"].as_str().unwrap());
                Self { http: client(), base, key, root: "/workspace".to_owned(), _agent: None }
            }
        }
    }

    pub(crate) fn of_agent(agent: Agent) -> Self {
        let root = agent.root.path().canonicalize().unwrap().to_str().unwrap().to_owned();
        let base = format!("{}/v1", agent.url);
        Self { http: client(), base, key: Agent::SECRET.to_owned(), root, _agent: Some(agent) }
    }

    /// The service under test and its key. The issuer that it trusts, if it trusts one of ours, has published its keys by then.
    pub fn service() -> (String, String) {
        Issuer::of_service();
        let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        (variable("CABANA_TEST_URL"), variable("CABANA_TEST_API_KEY"))
    }

    pub(crate) async fn destroy(self) {
        if Target::get() == Target::Stack {
            self.http.delete(&self.base).bearer_auth(&self.key).send().await.unwrap();
        }
    }

    /// Where a route of the sandbox is.
    pub fn url(&self, route: &str) -> String {
        format!("{}{route}", self.base)
    }

    /// A request to a route of the sandbox, with the key.
    pub fn request(&self, method: Method, route: &str) -> RequestBuilder {
        self.http.request(method, self.url(route)).bearer_auth(&self.key)
    }

    /// The same without the key.
    pub fn anonymous(&self, method: Method, route: &str) -> RequestBuilder {
        self.http.request(method, self.url(route))
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
        let output = self.exec(json!({ "command": script })).await;
        assert!(output.result.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout.0.into()).unwrap()
    }

    /// How many processes have this text in their command line.
    pub async fn count_processes(&self, mark: &str) -> usize {
        let output = self.exec(json!({ "command": ["pgrep", "--count", "--full", mark] })).await;
        std::str::from_utf8(&output.stdout.0).unwrap().trim().parse().unwrap()
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
        let key = ("authorization", format!("Bearer {}", self.key));
        let mut socket = Socket::open(&self.url(&format!("/connect{query}")), &[key]).await?;
        let ready = socket.next().await;
        assert_eq!(ready["type"], "ready");
        Ok(socket)
    }
}

fn client() -> Client {
    // Each case has its own connections, so that closing one is seen by nobody else. One that was idle for long may be closed by
    // the server just when it is used again.
    Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(1)).build().unwrap()
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
