//! What one client does.

use cabana_protocol::exec::Exit;
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method};
use serde_json::{Value, json};

use crate::{Answer, Sandbox, Socket, gather};

const NDJSON: &str = "application/x-ndjson";
const SSE: &str = "text/event-stream";
/// How often a session is used before another takes its place.
const SESSION_USES: u64 = 50;
/// Bytes of a file that goes to and fro.
const FILE_BYTES: usize = 64 << 10;
/// Bytes that a command prints: more than one piece of an answer.
const OUTPUT_BYTES: usize = 300_000;

/// The operations, in their order.
const NAMES: [&str; 12] = [
    "a program",
    "a shell",
    "a session",
    "a file",
    "an edit",
    "an archive",
    "a search",
    "output",
    "a terminal",
    "a detached process",
    "a socket",
    "a watch",
];

/// A client with a directory, a session and a socket of its own.
pub(super) struct Client<'a> {
    sandbox: &'a Sandbox,
    directory: String,
    session: Value,
    uses: u64,
    socket: Socket,
}

impl<'a> Client<'a> {
    pub(super) async fn new(sandbox: &'a Sandbox, number: u64) -> Self {
        let directory = format!("client-{number}");
        let setup =
            format!("mkdir -p {directory}/tree/sub; for i in $(seq 20); do echo needle $i > {directory}/tree/sub/$i; done");
        sandbox.shell(&setup).await;
        let session = create_session(sandbox).await;
        Self { sandbox, directory, session, uses: 0, socket: sandbox.connect().await }
    }

    pub(super) async fn end(self) {
        self.post("session.delete", json!({ "session": self.session })).await.success();
    }

    /// One operation, which must succeed. Returns what it was.
    pub(super) async fn operate(&mut self, round: u64) -> &'static str {
        match round % 12 {
            0 => self.run(json!({ "command": ["true"] }), b"").await,
            1 => self.run(json!({ "command": format!("echo {round}") }), format!("{round}\n").as_bytes()).await,
            2 => self.use_session(round).await,
            3 => self.exchange_file().await,
            4 => self.change_file(round).await,
            5 => self.copy_tree().await,
            6 => self.search().await,
            7 => self.listen(if round % 24 == 7 { NDJSON } else { SSE }, json!({})).await,
            8 => self.listen(NDJSON, json!({ "tty": {} })).await,
            9 => self.detach().await,
            10 => self.use_socket(round).await,
            _ => self.watch(round).await,
        }
        NAMES[usize::try_from(round % 12).unwrap()]
    }

    /// An operation that does not come to its end: its client vanishes, or its process is killed.
    pub(super) async fn kill(&mut self, round: u64) {
        match round % 4 {
            0 => {
                let mut lines = self.sandbox.stream(NDJSON, json!({ "command": ["yes"] })).await;
                lines.next().await.unwrap();
            }
            1 => {
                let pieces = stream::iter([Ok(vec![b'x'; FILE_BYTES]), Err(std::io::Error::other("the client vanishes"))]);
                let upload = self.sandbox.file(Method::PUT, &format!("{}/broken", self.directory));
                assert!(upload.body(Body::wrap_stream(pieces)).send().await.is_err());
            }
            2 => {
                let request = json!({ "command": ["sleep", "3000"], "detach": true });
                let process = self.sandbox.exec(request).await.result.process;
                self.post("process.signal", json!({ "process": process, "signal": "SIGKILL" })).await.success();
                let attached = self.sandbox.stream_of("process.attach", NDJSON, json!({ "process": process })).await;
                assert_eq!(gather(attached).await.2.exit, Some(Exit::Signalled { signal: "SIGKILL".parse().unwrap() }));
                self.post("process.remove", json!({ "process": process })).await.success();
            }
            _ => {
                self.socket.send("exec", "killed", json!({ "command": "echo up; sleep 3000" })).await;
                self.socket.wait_for("event", "killed").await;
                self.socket = self.sandbox.connect().await;
            }
        }
    }

    async fn post(&self, name: &str, request: Value) -> Answer {
        self.sandbox.post(name, request).await
    }

    async fn run(&self, request: Value, stdout: &[u8]) {
        let output = self.sandbox.exec(request).await;
        assert!(output.result.success() && output.stdout.0 == stdout, "{output:?}");
    }

    async fn use_session(&mut self, round: u64) {
        if self.uses == SESSION_USES {
            self.post("session.delete", json!({ "session": self.session })).await.success();
            self.session = create_session(self.sandbox).await;
            self.uses = 0;
        }
        self.uses += 1;
        let command = format!("count=$((count + 1)); echo {round} $count");
        self.run(json!({ "command": command, "session": self.session }), format!("{round} {}\n", self.uses).as_bytes()).await;
    }

    async fn exchange_file(&self) {
        let (path, content) = (format!("{}/file", self.directory), vec![b'x'; FILE_BYTES]);
        self.sandbox.put(&path, content.clone()).await.success();
        assert!(self.sandbox.get(&path).await.success() == content, "{path} has other content");
    }

    async fn change_file(&self, round: u64) {
        let path = format!("{}/text", self.directory);
        self.post("file.write", json!({ "path": path, "content": format!("old {round}\n") })).await.success();
        let edits = json!([{ "old": "old", "new": "new" }]);
        self.post("file.edit", json!({ "path": path, "edits": edits })).await.success();
        let read = self.post("file.read", json!({ "path": path })).await.json();
        assert_eq!(read["content"], format!("new {round}\n"));
    }

    async fn copy_tree(&self) {
        let tree = |path: &str| vec![("path", format!("{}/{path}", self.directory)), ("format", "tar.zst".to_owned())];
        let export = self.sandbox.request(Method::GET, "/archive").query(&tree("tree"));
        let archive = self.sandbox.send(export).await.success();
        let import = self.sandbox.request(Method::PUT, "/archive").query(&tree("copy")[..1]).body(archive);
        self.sandbox.send(import).await.success();
        let copy = json!({ "path": format!("{}/copy", self.directory), "recursive": true });
        self.post("file.remove", copy).await.success();
    }

    async fn search(&self) {
        let request = json!({ "path": format!("{}/tree", self.directory), "pattern": "needle 1" });
        let found = self.post("file.search", request).await;
        assert!(String::from_utf8_lossy(&found.success()).contains("needle 1"));
    }

    async fn listen(&self, accept: &str, way: Value) {
        let mut request = json!({ "command": format!("head -c {OUTPUT_BYTES} /dev/zero | tr '\\0' x") });
        request.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
        let (stdout, _, result) = gather(self.sandbox.stream(accept, request).await).await;
        assert!(result.success() && stdout.len() == OUTPUT_BYTES, "{} bytes, {result:?}", stdout.len());
    }

    async fn detach(&self) {
        let request = json!({ "command": format!("head -c {OUTPUT_BYTES} /dev/zero"), "detach": true });
        let process = self.sandbox.exec(request).await.result.process;
        let attached = self.sandbox.stream_of("process.attach", SSE, json!({ "process": process })).await;
        assert_eq!(gather(attached).await.0.len(), OUTPUT_BYTES);
        self.post("process.remove", json!({ "process": process })).await.success();
    }

    async fn use_socket(&mut self, round: u64) {
        let id = round.to_string();
        self.socket.send("exec", &id, json!({ "command": ["echo", id] })).await;
        assert_eq!(self.socket.output(&id).await.0, format!("{id}\n"));
    }

    async fn watch(&self, round: u64) {
        let path = format!("{}/watched-{round}", self.directory);
        let watch = json!({ "path": self.directory, "include": [format!("watched-{round}")] });
        let request = self.sandbox.request(Method::POST, "/file/watch").header("accept", NDJSON).json(&watch);
        let mut answer = request.send().await.unwrap().error_for_status().unwrap();
        let mut said = String::new();
        while !said.contains("ready") {
            said += std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap();
        }
        self.sandbox.put(&path, "").await.success();
        while !said.contains(&format!("watched-{round}")) {
            said += std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap();
        }
        self.post("file.remove", json!({ "path": path })).await.success();
    }
}

async fn create_session(sandbox: &Sandbox) -> Value {
    let created = sandbox.post("session.create", json!({})).await;
    assert!(created.status.is_success(), "{}", created.json());
    created.json()["session"].clone()
}
