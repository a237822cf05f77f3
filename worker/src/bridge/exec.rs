//! Commands: a request with `argv`, and the output as server-sent events with base64.

use std::pin::Pin;

use cabana::SandboxId;
use cabana_protocol::{Data, Error};
use data_encoding::BASE64;
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Map, Value, json};
use worker::{Headers, Method, Response};

use super::{Bridge, session, streamed};
use crate::call::Call;

/// Runs a command.
pub(super) async fn answer(mut call: Call, id: SandboxId) -> Result<Response, Error> {
    let session = session(&call)?;
    let fields: Map<String, Value> = call.body().await?;
    let request = request(&fields, session)?;
    let headers = Headers::new();
    for (name, value) in [("content-type", "application/json"), ("accept", "application/x-ndjson")] {
        headers.set(name, value).map_err(|error| Error::internal(error.to_string()))?;
    }
    let path = format!("/v1/sandboxes/{id}/exec");
    let mut answer = Bridge::new(&call).dispatch(Method::Post, &path, request.to_string().into(), headers).await?;
    let lines = answer.stream().map_err(|error| Error::internal(error.to_string()))?;
    let events = Response::from_stream(events(Box::pin(lines))).map_err(|error| Error::internal(error.to_string()))?;
    Ok(streamed("text/event-stream", events, &call.request_id))
}

/// The request to the API.
fn request(fields: &Map<String, Value>, session: Option<String>) -> Result<Value, Error> {
    let argv = fields.get("argv").and_then(Value::as_array).filter(|argv| !argv.is_empty() && argv.iter().all(Value::is_string));
    let argv = argv.ok_or_else(|| Error::invalid_request("argv must be a non-empty array of strings"))?;
    let mut request = json!({ "command": argv });
    for name in ["timeout_ms", "cwd"] {
        if let Some(value) = fields.get(name).filter(|value| !value.is_null()) {
            request[name] = value.clone();
        }
    }
    if let Some(session) = session {
        request["session"] = session.into();
        request["create_session"] = true.into();
    }
    Ok(request)
}

type Lines = Pin<Box<dyn Stream<Item = worker::Result<Vec<u8>>>>>;

/// The events of the lines that the API answers with. Dropping them ends the command.
fn events(lines: Lines) -> impl Stream<Item = worker::Result<Vec<u8>>> + 'static {
    stream::unfold((lines, Some(Transcoder::default())), async |(mut lines, transcoder)| {
        let mut transcoder = transcoder?;
        let piece = match lines.next().await {
            Some(Ok(bytes)) => transcoder.feed(&bytes),
            // The next poll ends the stream.
            Some(Err(_)) | None => return Some((Ok(transcoder.finish()), (lines, None))),
        };
        Some((Ok(piece), (lines, Some(transcoder))))
    })
}

/// Makes events of lines.
#[derive(Default)]
struct Transcoder {
    line: Vec<u8>,
    stdout: Characters,
    stderr: Characters,
    has_ended: bool,
}

impl Transcoder {
    /// The events of some bytes.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.line(line.trim_ascii(), &mut events);
            }
        }
        events
    }

    /// The last events.
    fn finish(mut self) -> Vec<u8> {
        let mut events = Vec::new();
        if !self.has_ended {
            self.flush(&mut events);
            let lost = json!({ "error": "the connection to the sandbox was lost", "code": "exec_transport_error" });
            put(&mut events, "error", &lost.to_string());
        }
        events
    }

    fn line(&mut self, line: &[u8], events: &mut Vec<u8>) {
        if line.is_empty() {
            // A heartbeat; a comment is one, too.
            return events.extend_from_slice(b": alive\n\n");
        }
        let Ok(line) = serde_json::from_slice::<Value>(line) else { return };
        let bytes = || serde_json::from_value::<Data>(line["bytes"].clone()).unwrap_or_default();
        match line["type"].as_str().unwrap_or_default() {
            "stdout" => self.stdout.feed(&bytes().0, |whole| put(events, "stdout", &BASE64.encode(whole))),
            "stderr" => self.stderr.feed(&bytes().0, |whole| put(events, "stderr", &BASE64.encode(whole))),
            "result" => {
                self.flush(events);
                put(events, "exit", &json!({ "exit_code": line["exit"]["code"].as_i64().unwrap_or(1) }).to_string());
                self.has_ended = true;
            }
            "error" => {
                self.flush(events);
                put(events, "error", &json!({ "error": line["message"], "code": line["code"] }).to_string());
                self.has_ended = true;
            }
            _ => {}
        }
    }

    fn flush(&mut self, events: &mut Vec<u8>) {
        for (name, characters) in [("stdout", &mut self.stdout), ("stderr", &mut self.stderr)] {
            let rest = std::mem::take(&mut characters.rest);
            if !rest.is_empty() {
                put(events, name, &BASE64.encode(&rest));
            }
        }
    }
}

fn put(events: &mut Vec<u8>, name: &str, data: &str) {
    events.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}

/// Holds back a split UTF-8 character until its rest arrives, because clients decode each event by itself.
#[derive(Default)]
struct Characters {
    /// The first bytes of a split character.
    rest: Vec<u8>,
}

impl Characters {
    fn feed(&mut self, bytes: &[u8], whole: impl FnOnce(&[u8])) {
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(bytes);
        self.rest = text.split_off(text.len() - incomplete(&text));
        if !text.is_empty() {
            whole(&text);
        }
    }
}

/// Counts the last bytes that are the start of a split character.
fn incomplete(bytes: &[u8]) -> usize {
    for (count, byte) in bytes.iter().rev().take(3).enumerate().map(|(index, byte)| (index + 1, byte)) {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 0,
        };
        return if length > count { count } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_passed_on_and_wrong_ones_refused() {
        let fields = |value: Value| value.as_object().unwrap().clone();
        let asked = fields(json!({ "argv": ["ls", "a b"], "timeout_ms": 30_000, "cwd": null }));
        assert_eq!(request(&asked, None).unwrap(), json!({ "command": ["ls", "a b"], "timeout_ms": 30_000 }));
        let named = request(&asked, Some("s".to_owned())).unwrap();
        assert_eq!((&named["session"], &named["create_session"]), (&json!("s"), &json!(true)));
        for wrong in [json!({}), json!({ "argv": [] }), json!({ "argv": "ls" }), json!({ "argv": [1] })] {
            assert!(request(&fields(wrong.clone()), None).unwrap_err().message.contains("non-empty array"), "{wrong}");
        }
    }

    #[test]
    fn lines_become_events_whole_characters_each() {
        let lines = [
            r#"{"type":"started","process":"a-1","pid":7}"#,
            "",
            r#"{"type":"stdout","offset":0,"bytes":{"base64":"aMM="}}"#,
            r#"{"type":"stdout","offset":2,"bytes":{"base64":"qQ=="}}"#,
            r#"{"type":"stderr","offset":3,"bytes":{"base64":"4oI="}}"#,
            r#"{"type":"result","process":"a-1","exit":{"type":"exited","code":3},"duration_ms":1}"#,
        ];
        let text = lines.join("\n") + "\n";
        let expected = ": alive\n\nevent: stdout\ndata: aA==\n\nevent: stdout\ndata: w6k=\n\nevent: stderr\ndata: 4oI=\n\n\
                        event: exit\ndata: {\"exit_code\":3}\n\n";
        for size in [1, 7, text.len()] {
            let mut transcoder = Transcoder::default();
            let mut events: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| transcoder.feed(piece)).collect();
            events.extend(transcoder.finish());
            assert_eq!(String::from_utf8(events).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn a_stream_that_breaks_off_ends_with_an_error() {
        let mut transcoder = Transcoder::default();
        let mut events = transcoder.feed(b"{\"type\":\"stdout\",\"offset\":0,\"bytes\":\"a\"}\n{\"type\":");
        events.extend(transcoder.finish());
        let events = String::from_utf8(events).unwrap();
        assert!(
            events.starts_with("event: stdout\ndata: YQ==\n\nevent: error\ndata: {") && events.contains("exec_transport_error"),
            "{events}"
        );
    }

    #[test]
    fn characters_are_told_from_other_bytes() {
        for (bytes, expected) in [
            (&b"ab"[..], 0),
            (b"\xc3", 1),
            ("é".as_bytes(), 0),
            (b"a\xf0\x9f\x98", 3),
            (b"\xff", 0),
            (b"\x80\x80\x80", 0),
            (b"\xe2\x82", 2),
        ] {
            assert_eq!(incomplete(bytes), expected, "{bytes:?}");
        }
    }
}
