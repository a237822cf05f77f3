//! Terminals: one WebSocket, one shell. Binary messages are what is typed and shown; text messages are control.

use cabana::{SandboxId, log};
use cabana_protocol::{Data, Error};
use futures_util::{StreamExt, future::Either, stream};
use serde_json::{Value, json};
use worker::{
    Headers, Method, Response, WebSocket, WebSocketPair, WebsocketEvent,
    wasm_bindgen::JsValue,
    wasm_bindgen_futures::spawn_local,
    web_sys::{self, BinaryType},
};

use super::{Bridge, session, upgraded};
use crate::call::Call;

/// How much output may wait for a client that reads slowly. The runtime queues what is sent, however much.
const MAX_WAITING_BYTES: u32 = 8 << 20;

/// The id of the only operation on the sandbox's own WebSocket.
const ID: &str = "pty";

/// Opens a terminal.
pub(super) async fn answer(call: &Call, id: &SandboxId) -> Result<Response, Error> {
    let upgrade = call.request.headers().get("upgrade").ok().flatten();
    if !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return Err(Error::invalid_request("WebSocket upgrade required"));
    }
    let exec = command(call.parameter("cols"), call.parameter("rows"), session(call)?.or_else(|| call.parameter("session")))?;
    let failed = |error: worker::Error| Error::internal(format!("a terminal of the bridge: {error}"));
    let headers = Headers::new();
    headers.set("upgrade", "websocket").map_err(failed)?;
    let path = format!("/v1/sandboxes/{id}/connect");
    let answer = Bridge::new(call).dispatch(Method::Get, &path, JsValue::UNDEFINED, headers).await?;
    let sandbox = answer.websocket().ok_or_else(|| Error::internal("the sandbox opens no WebSocket"))?;
    let pair = WebSocketPair::new().map_err(failed)?;
    sandbox.accept().map_err(failed)?;
    // As of the compatibility date, binary messages come as blobs, which are read asynchronously.
    AsRef::<web_sys::WebSocket>::as_ref(&pair.server).set_binary_type(BinaryType::Arraybuffer);
    pair.server.accept().map_err(failed)?;
    sandbox.send(&json!({ "type": "exec", "id": ID, "payload": exec })).map_err(failed)?;
    spawn_local(pump(pair.server, sandbox));
    upgraded(pair.client, &call.request_id)
}

/// The request that starts the shell.
fn command(cols: Option<String>, rows: Option<String>, session: Option<String>) -> Result<Value, Error> {
    let cells = |text: Option<String>, default: u16| {
        let number = text.map_or(Ok(default), |text| text.parse());
        number.ok().filter(|number| *number > 0).ok_or_else(|| Error::invalid_request("cols and rows must be valid numbers"))
    };
    let tty = json!({ "cols": cells(cols, 80)?, "rows": cells(rows, 24)? });
    // A terminal lasts as long as its connection.
    let mut exec =
        json!({ "command": "command -v bash > /dev/null && exec bash; exec sh", "tty": tty, "timeout_ms": 86_400_000 });
    if let Some(session) = session {
        exec["session"] = session.into();
        exec["create_session"] = true.into();
    }
    Ok(exec)
}

/// Forwards messages until either side closes.
async fn pump(client: WebSocket, sandbox: WebSocket) {
    let ended = match (client.events(), sandbox.events()) {
        (Ok(typed), Ok(shown)) => {
            let mut messages = stream::select(typed.map(Either::Left), shown.map(Either::Right));
            loop {
                let next = match messages.next().await {
                    Some(Either::Left(Ok(WebsocketEvent::Message(message)))) => {
                        let bytes = message.bytes();
                        from_client(message.text().as_deref(), bytes.as_deref(), &sandbox)
                    }
                    Some(Either::Right(Ok(WebsocketEvent::Message(message)))) => {
                        from_sandbox(&message.text().unwrap_or_default(), &client)
                    }
                    _ => break Ok(()),
                };
                match next {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    if let Err(error) = ended {
        log::warn(None, &format!("a terminal of the bridge ended: {error}"));
    }
    // Either may be closed already. Closing the sandbox's side ends the shell.
    let _ = client.close(Some(1000), Some("the terminal has ended"));
    let _ = sandbox.close(Some(1000), Some("the client has gone"));
}

/// Forwards a client's message.
fn from_client(text: Option<&str>, bytes: Option<&[u8]>, sandbox: &WebSocket) -> worker::Result<bool> {
    if let Some(input) = input(text, bytes) {
        sandbox.send(&json!({ "type": "input", "id": ID, "payload": input }))?;
    }
    Ok(true)
}

/// The input of the operation; `None` for a control message that is not known.
fn input(text: Option<&str>, bytes: Option<&[u8]>) -> Option<Value> {
    let Some(text) = text else { return Some(json!({ "type": "stdin", "bytes": Data(bytes?.to_vec().into()) })) };
    let control: Value = serde_json::from_str(text).ok()?;
    (control["type"] == "resize").then(|| json!({ "type": "resize", "cols": control["cols"], "rows": control["rows"] }))
}

/// Forwards a frame of the sandbox. False when it is the last.
fn from_sandbox(text: &str, client: &WebSocket) -> worker::Result<bool> {
    let Ok(frame) = serde_json::from_str::<Value>(text) else { return Ok(true) };
    let payload = &frame["payload"];
    match (frame["type"].as_str().unwrap_or_default(), payload["type"].as_str().unwrap_or_default()) {
        ("event", "started") => client.send(&json!({ "type": "ready" }))?,
        ("event", "stdout" | "stderr") => {
            let bytes = serde_json::from_value::<Data>(payload["bytes"].clone()).unwrap_or_default().0;
            let (first, rest) = bytes.split_at(if is_control(&bytes) { 1 } else { bytes.len() });
            for piece in [first, rest].into_iter().filter(|piece| !piece.is_empty()) {
                client.send_with_bytes(piece)?;
            }
            if AsRef::<web_sys::WebSocket>::as_ref(client).buffered_amount() > MAX_WAITING_BYTES {
                client.send(&json!({ "type": "error", "message": "the output is read too slowly" }))?;
                return Ok(false);
            }
        }
        ("result", _) => {
            client.send(&json!({ "type": "exit", "code": payload["exit"]["code"].as_i64().unwrap_or(1) }))?;
            return Ok(false);
        }
        ("error", _) if frame["id"] == ID => {
            client.send(&json!({ "type": "error", "message": payload["message"] }))?;
            return Ok(false);
        }
        _ => {}
    }
    Ok(true)
}

/// Whether a client would take this output for a control message.
fn is_control(bytes: &[u8]) -> bool {
    let object = bytes.trim_ascii_start().first() == Some(&b'{') && bytes.len() > 1;
    object && serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value.get("type").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_has_the_size_that_is_asked_for() {
        let some = |text: &str| Some(text.to_owned());
        let exec = command(some("100"), None, some("s")).unwrap();
        assert_eq!((&exec["tty"], &exec["session"]), (&json!({ "cols": 100, "rows": 24 }), &json!("s")));
        for wrong in ["0", "x", "-1", "70000", ""] {
            assert!(command(some(wrong), None, None).unwrap_err().message.contains("valid numbers"), "{wrong}");
        }
    }

    #[test]
    fn keys_and_sizes_are_input() {
        assert_eq!(input(None, Some(b"ls\n")), Some(json!({ "type": "stdin", "bytes": "ls\n" })));
        let resize = r#"{"type":"resize","cols":90,"rows":30}"#;
        assert_eq!(input(Some(resize), None), Some(json!({ "type": "resize", "cols": 90, "rows": 30 })));
        assert_eq!((input(Some("{}"), None), input(Some("text"), None)), (None, None));
    }

    #[test]
    fn output_that_looks_like_control_is_told() {
        for (bytes, expected) in [
            (&br#"{"type":"exit","code":0}"#[..], true),
            (b" {\"type\": \"ready\"}\r\n", true),
            (b"{\"a\":1}", false),
            (b"text", false),
            (b"{", false),
        ] {
            assert_eq!(is_control(bytes), expected, "{bytes:?}");
        }
    }
}
