//! A client of a terminal, which types and waits for text to appear.

use cabana_protocol::exec::{ExecEvent, ExecResult, Exit};
use cabana_tests::{PATIENCE, Sandbox, Socket};
use serde_json::{Value, json};

/// A client of a command on a terminal.
pub(super) struct TerminalClient {
    pub(super) socket: Socket,
    /// Output that has appeared and was not waited for yet.
    pub(super) screen: Vec<u8>,
    pub(super) process: String,
    pub(super) result: Option<ExecResult>,
}

impl TerminalClient {
    /// A command on a terminal of 80 by 24.
    pub(super) async fn open(sandbox: &Sandbox, command: Value) -> Self {
        Self::ask(sandbox, "exec", json!({ "command": command, "tty": { "cols": 80, "rows": 24 } })).await
    }

    pub(super) async fn ask(sandbox: &Sandbox, operation: &str, request: Value) -> Self {
        let mut socket = sandbox.connect().await;
        socket.send(operation, "terminal", request).await;
        let started = socket.wait_for("event", "terminal").await;
        let process = started["process"].as_str().unwrap().to_owned();
        Self { socket, screen: Vec::new(), process, result: None }
    }

    pub(super) async fn send_input(&mut self, input: Value) {
        self.socket.send("input", "terminal", input).await;
    }

    pub(super) async fn type_text(&mut self, keys: &str) {
        self.send_input(json!({ "type": "stdin", "bytes": keys })).await;
    }

    pub(super) async fn resize(&mut self, cols: u64, rows: u64) {
        self.send_input(json!({ "type": "resize", "cols": cols, "rows": rows })).await;
    }

    /// Takes the next frame; false when the command has ended.
    pub(super) async fn receive(&mut self) -> bool {
        let frame = self.socket.next().await;
        match frame["type"].as_str().unwrap() {
            "event" => match serde_json::from_value(frame["payload"].clone()).unwrap() {
                ExecEvent::Stdout { bytes, .. } => self.screen.extend(bytes.0),
                other => panic!("{other:?}"),
            },
            "result" => self.result = Some(serde_json::from_value(frame["payload"].clone()).unwrap()),
            // The heartbeat of a silent socket.
            "pong" => {}
            _ => panic!("{frame}"),
        }
        self.result.is_none()
    }

    /// Waits until this text appears, and gives the output before it.
    pub(super) async fn wait_for(&mut self, text: &str) -> String {
        let waiting = async {
            loop {
                if let Some(at) = self.screen.windows(text.len()).position(|window| window == text.as_bytes()) {
                    let rest = self.screen.split_off(at + text.len());
                    return String::from_utf8_lossy(&std::mem::replace(&mut self.screen, rest)).into_owned();
                }
                let shown = String::from_utf8_lossy(&self.screen).into_owned();
                assert!(self.receive().await, "it ended before {text:?} appeared: {shown:?}");
            }
        };
        tokio::time::timeout(PATIENCE / 4, waiting).await.unwrap_or_else(|_| panic!("{text:?} has not appeared"))
    }

    /// Waits for the end, and gives the rest of the output and the exit.
    pub(super) async fn finish(mut self) -> (String, Exit) {
        while self.receive().await {}
        (String::from_utf8_lossy(&self.screen).into_owned(), self.result.unwrap().exit.unwrap())
    }
}
