//! `cabana mcp`.

use std::io::{BufRead, Write, stdin, stdout};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use cabana_client::Client;
use clap::Args;
use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{context::Context, id::Named};

/// Messages that wait to be passed on.
const MESSAGES: usize = 16;
/// Where a message of the version without a handshake names that version.
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// An error of the one who answers, in JSON-RPC.
const INTERNAL: i32 = -32_603;
/// What is no JSON, in JSON-RPC.
const PARSE: i32 = -32_700;

/// Speaks the Model Context Protocol on stdin and stdout, for assistants that start their servers as programs.
///
/// Each message is passed to the service, which answers it: tools, scopes and limits are those of the service.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// The only sandbox that the tools are for; a name alone is of the kind sbx
    #[arg(value_name = "ID")]
    id: Option<Named>,
}

impl Mcp {
    pub(crate) async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client()?;
        let path = self.id.map_or_else(|| "/mcp".to_owned(), |id| format!("/v1/sandboxes/{}/mcp", id.0));
        let mut lines = read_lines();
        let mut answers = JoinSet::new();
        // A call may take long, and others go on meanwhile.
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    Some(line) => {
                        let (client, path) = (client.clone(), path.clone());
                        answers.spawn(async move { answer(&client, &path, line?).await });
                    }
                    None => break,
                },
                Some(answered) = answers.join_next() => print(answered.context("answer a message")??)?,
            }
        }
        // Nobody asks any more; those who have asked are still answered.
        while let Some(answered) = answers.join_next().await {
            print(answered.context("answer a message")??)?;
        }
        Ok(0)
    }
}

/// A thread reads, which ends with the program.
fn read_lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (lines, receiver) = mpsc::channel(MESSAGES);
    std::thread::spawn(move || {
        for line in stdin().lock().lines() {
            let is_blank = line.as_ref().is_ok_and(|line| line.trim().is_empty());
            if !is_blank && lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The answer to a message; none to a notification.
async fn answer(client: &Client, path: &str, line: String) -> Result<Option<Value>> {
    let Ok(message) = serde_json::from_str::<Value>(&line) else {
        return Ok(Some(failure(&Value::Null, PARSE, "a message is one line of JSON")));
    };
    let id = message.get("id").filter(|_| message.get("method").is_some());
    let answered = match client.exchange(path, &headers(&message), Bytes::from(line)).await {
        Ok((_, body)) if body.is_empty() => Ok(None),
        Ok((status, body)) => match serde_json::from_slice::<Value>(&body) {
            Ok(answer) if answer.get("jsonrpc").is_some() => Ok(Some(answer)),
            // The service has refused the request before it looked at the message.
            Ok(refusal) => {
                Err(refusal["error"]["message"].as_str().map_or_else(|| format!("the answer was {status}"), str::to_owned))
            }
            Err(_) => Err(format!("the answer was {status}, and no JSON")),
        },
        Err(error) => Err(error.to_string()),
    };
    // One who has asked must not wait for ever.
    Ok(answered.unwrap_or_else(|why| id.map(|id| failure(id, INTERNAL, &why))))
}

fn failure(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// Over HTTP a message of the version without a handshake is mirrored in headers.
fn headers(message: &Value) -> Vec<(&'static str, String)> {
    let params = &message["params"];
    let Some(version) = params["_meta"][VERSION].as_str() else { return Vec::new() };
    let mut headers = vec![("mcp-protocol-version", header(version))];
    headers.extend(message["method"].as_str().map(|method| ("mcp-method", header(method))));
    headers.extend(params["name"].as_str().or_else(|| params["uri"].as_str()).map(|name| ("mcp-name", header(name))));
    headers
}

/// Text as a header carries it: other characters than those of ASCII in base64.
fn header(text: &str) -> String {
    match text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim() == text {
        true => text.to_owned(),
        false => format!("=?base64?{}?=", BASE64.encode(text.as_bytes())),
    }
}

fn print(answer: Option<Value>) -> Result<()> {
    let Some(answer) = answer else { return Ok(()) };
    let mut out = stdout().lock();
    writeln!(out, "{answer}").and_then(|()| out.flush()).context("write an answer")
}

#[cfg(test)]
mod tests {
    use super::{header, headers};
    use serde_json::json;

    #[test]
    fn messages_of_the_version_without_a_handshake_are_mirrored_in_headers() {
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
        let call = json!({ "method": "tools/call", "params": { "name": "bash", "_meta": meta } });
        let expected = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "bash")];
        assert_eq!(headers(&call), expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(headers(&json!({ "method": "initialize", "params": { "protocolVersion": "2025-11-25" } })), []);
        assert_eq!(header("\u{e9}"), "=?base64?w6k=?=");
    }
}
