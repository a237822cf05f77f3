//! Messages on the link. What the agent says stays with the runtime: it is looked at and passed on, not copied into our memory.

use js_sys::{ArrayBuffer, JsString, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use worker::WebSocket;

use super::relayed::{HEAD, Relayed};

/// A message to the agent.
pub(super) enum Outgoing {
    Text(String),
    Binary(Vec<u8>),
}

impl Outgoing {
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Text(message) => message.len(),
            Self::Binary(message) => message.len(),
        }
    }

    pub(super) fn send(&self, socket: &WebSocket) {
        // A link that has broken says so by its end.
        let _ = match self {
            Self::Text(message) => socket.send_with_str(message),
            Self::Binary(message) => socket.send_with_bytes(message),
        };
    }
}

/// A message of the agent, or a part of it, as the runtime has it.
pub(super) enum Frame {
    Text(JsString),
    Binary(Uint8Array),
}

impl Frame {
    pub(super) fn of(data: &JsValue) -> Option<Self> {
        if let Some(text) = data.dyn_ref::<JsString>() {
            return Some(Self::Text(text.clone()));
        }
        data.dyn_ref::<ArrayBuffer>().map(|bytes| Self::Binary(Uint8Array::new(bytes)))
    }

    /// What it says, as far as its beginning tells. `None` for what no agent of ours says.
    pub(super) fn look(&self) -> Option<Relayed> {
        match self {
            Self::Text(text) => Relayed::parse(&String::from(text.slice(0, HEAD))),
            Self::Binary(bytes) => Relayed::parse_binary(&bytes.subarray(0, HEAD).to_vec()),
        }
    }

    /// In characters of JavaScript's, or bytes.
    pub(super) fn length(&self) -> u32 {
        match self {
            Self::Text(text) => text.length(),
            Self::Binary(bytes) => bytes.length(),
        }
    }

    /// What is behind so many characters or bytes. Nothing is copied.
    pub(super) fn after(&self, at: u32) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.slice(at, text.length())),
            Self::Binary(bytes) => Self::Binary(bytes.subarray(at, bytes.length())),
        }
    }
}
