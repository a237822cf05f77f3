//! Somebody at a terminal, who types and waits for what appears.

use cabana_protocol::exec::{ExecEvent, ExecResult, Exit};
use cabana_tests::{PATIENCE, Sandbox, Socket};
use serde_json::{Value, json};

/// Somebody who sits at a terminal.
pub(super) struct Seat {
    pub(super) socket: Socket,
    /// What has appeared and has not been waited for.
    pub(super) screen: Vec<u8>,
    pub(super) process: String,
    pub(super) result: Option<ExecResult>,
}

impl Seat {
    /// A command on a terminal of 80 by 24.
    pub(super) async fn open(sandbox: &Sandbox, command: Value) -> Self {
        Self::ask(sandbox, "exec", json!({ "command": command, "tty": { "cols": 80, "rows": 24 } })).await
    }

    pub(super) async fn ask(sandbox: &Sandbox, operation: &str, request: Value) -> Self {
        let mut socket = sandbox.connect().await;
        socket.send(operation, "seat", request).await;
        let started = socket.wait_for("event", "seat").await;
        let process = started["process"].as_str().unwrap().to_owned();
        Self { socket, screen: Vec::new(), process, result: None }
    }

    pub(super) async fn say(&mut self, input: Value) {
        self.socket.send("input", "seat", input).await;
    }

    pub(super) async fn type_in(&mut self, keys: &str) {
        self.say(json!({ "type": "stdin", "bytes": keys })).await;
    }

    pub(super) async fn resize(&mut self, cols: u64, rows: u64) {
        self.say(json!({ "type": "resize", "cols": cols, "rows": rows })).await;
    }

    /// Takes what comes next; false when the command has ended.
    pub(super) async fn look(&mut self) -> bool {
        let frame = self.socket.next().await;
        match frame["type"].as_str().unwrap() {
            "event" => match serde_json::from_value(frame["payload"].clone()).unwrap() {
                ExecEvent::Stdout { bytes, .. } => self.screen.extend(bytes.0),
                other => panic!("{other:?}"),
            },
            "result" => self.result = Some(serde_json::from_value(frame["payload"].clone()).unwrap()),
            _ => panic!("{frame}"),
        }
        self.result.is_none()
    }

    /// Waits until this appears; gives what came before it.
    pub(super) async fn sees(&mut self, text: &str) -> String {
        let waiting = async {
            loop {
                if let Some(at) = self.screen.windows(text.len()).position(|window| window == text.as_bytes()) {
                    let rest = self.screen.split_off(at + text.len());
                    return String::from_utf8_lossy(&std::mem::replace(&mut self.screen, rest)).into_owned();
                }
                let shown = String::from_utf8_lossy(&self.screen).into_owned();
                assert!(self.look().await, "it ended before {text:?} appeared: {shown:?}");
            }
        };
        tokio::time::timeout(PATIENCE / 4, waiting).await.unwrap_or_else(|_| panic!("{text:?} has not appeared"))
    }

    /// Waits for the end; gives what was still to be seen.
    pub(super) async fn ends(mut self) -> (String, Exit) {
        while self.look().await {}
        (String::from_utf8_lossy(&self.screen).into_owned(), self.result.unwrap().exit.unwrap())
    }
}
