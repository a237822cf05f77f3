//! A WebSocket under test.

use cabana_protocol::frame::binary::{self, Raw};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::PATIENCE;

/// A connection that speaks frames.
#[derive(Debug)]
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects with these header fields; the error is the status of a refusal.
    pub async fn open(url: &str, headers: &[(&'static str, String)]) -> Result<Self, Option<u16>> {
        let mut request = url.replacen("http", "ws", 1).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(Some(response.status().as_u16())),
            Err(_) => Err(None),
        }
    }

    /// Sends a frame.
    pub async fn send(&mut self, kind: &str, id: &str, payload: Value) {
        self.send_text(&json!({ "type": kind, "id": id, "payload": payload }).to_string()).await;
    }

    /// Sends whatever text.
    pub async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Sends a binary frame: the payload, and the bytes that belong into it.
    pub async fn send_binary(&mut self, kind: &str, id: &str, payload: Value, bytes: &[u8]) {
        let head = json!({ "type": kind, "id": id, "payload": payload }).to_string();
        self.send_bytes([&binary::length(head.len()).unwrap(), head.as_bytes(), bytes].concat()).await;
    }

    /// Sends bytes that need not be a frame.
    pub async fn send_bytes(&mut self, bytes: impl Into<Vec<u8>>) {
        self.0.send(Message::binary(bytes.into())).await.unwrap();
    }

    /// The next frame, which is text.
    pub async fn next(&mut self) -> Value {
        let (frame, bytes) = self.next_of_any_kind().await;
        assert_eq!(bytes, None, "{frame}");
        frame
    }

    /// The next frame, and the bytes behind it where it is a binary one.
    pub async fn next_of_any_kind(&mut self) -> (Value, Option<Vec<u8>>) {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame comes");
            match message.expect("the socket is open").unwrap() {
                Message::Text(text) => return (serde_json::from_str(&text).unwrap(), None),
                Message::Binary(frame) => {
                    let (head, bytes) = Raw::Binary(&frame).split().unwrap();
                    return (serde_json::from_str(head).unwrap(), Some(bytes.to_vec()));
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next frame, which is text; `None` once the connection has ended.
    pub async fn try_next(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame comes") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads until the other side has closed the connection, and returns the code it gave; 1006 where it gave none.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("the socket is closed") {
                Some(Ok(Message::Close(frame))) => return frame.map_or(1005, |frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return 1006,
            }
        }
    }

    /// The output that an `exec` of this id has printed from its start to its end, and its result; other frames are passed over.
    /// Checks that the offsets number every byte once.
    pub async fn output(&mut self, id: &str) -> (String, Value) {
        let mut output = String::new();
        loop {
            let frame = self.next().await;
            match frame["type"].as_str() {
                _ if frame["id"] != id => {}
                Some("result") => return (output, frame["payload"].clone()),
                Some("event") if frame["payload"]["type"] == "started" => {}
                Some("event") => {
                    assert_eq!(frame["payload"]["offset"], output.len());
                    output.push_str(frame["payload"]["bytes"].as_str().unwrap());
                }
                _ => panic!("{frame}"),
            }
        }
    }

    /// The same of a client that takes binary frames.
    pub async fn output_bytes(&mut self, id: &str) -> (Vec<u8>, Value) {
        let mut output = Vec::new();
        loop {
            let (frame, bytes) = self.next_of_any_kind().await;
            match (frame["type"].as_str(), bytes) {
                _ if frame["id"] != id => {}
                (Some("event"), Some(bytes)) => {
                    assert_eq!((&frame["payload"]["offset"], &frame["payload"]["bytes"]), (&json!(output.len()), &json!("")));
                    output.extend(bytes);
                }
                (Some("event"), None) => assert_eq!(frame["payload"]["type"], "started"),
                (Some("result"), None) => return (output, frame["payload"].clone()),
                _ => panic!("{frame}"),
            }
        }
    }

    /// The next frame of this type with this id; others are passed over.
    pub async fn wait_for(&mut self, kind: &str, id: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind && frame["id"] == id {
                return frame["payload"].clone();
            }
        }
    }
}
