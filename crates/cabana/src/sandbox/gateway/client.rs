//! One client's socket.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
};

use cabana_protocol::{
    Error, KeyId, decode_own,
    frame::{PONG, Reply, ServerFrame},
};
use js_sys::{JsString, Reflect, Uint8Array};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use worker::WebSocket;

use super::{
    super::runtime::Activity,
    admission::{Running, ascii_json},
    message::Frame,
};
use crate::{Principal, audit::Entry, log};

/// What an operation of a client holds while it runs.
pub(super) struct Guard {
    pub(super) _activity: Option<Activity>,
    /// Its entry in the audit.
    pub(super) entry: Option<Entry>,
}

/// A client, while the object is in memory.
pub(super) struct Client {
    /// Tells it from the others of this object.
    pub(super) number: u64,
    pub(super) principal: Principal,
    /// Whether it takes binary frames, and may send them.
    pub(super) binary: bool,
    pub(super) running: RefCell<Running<Guard>>,
    /// Operations that have been told to end because an input of theirs was refused, until they have.
    refused: RefCell<HashSet<String>>,
    /// When it was last asked whether its key is good; 0 where it was not since it came into memory.
    pub(super) confirmed_at_ms: Cell<u64>,
    /// Whether anything was sent to it since somebody last looked.
    spoken_to: Cell<bool>,
    socket: WebSocket,
}

/// What of it outlives the object's time in memory, in the socket's attachment.
#[derive(Serialize, Deserialize)]
struct Attachment {
    number: u64,
    principal: Principal,
    #[serde(default)]
    binary: bool,
    /// The ids that run. Whoever finds some knows that their link has broken.
    running: Vec<String>,
}

#[wasm_bindgen]
extern "C" {
    /// What web-sys knows of a socket takes strings of ours only, and would have each frame copied twice.
    type RawSocket;

    #[wasm_bindgen(method, catch, js_name = send)]
    fn send_string(this: &RawSocket, text: &JsString) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = send)]
    fn send_bytes(this: &RawSocket, bytes: &Uint8Array) -> Result<(), JsValue>;
}

/// Whether the runtime says how much of what was sent to a socket it has still. Of a property that is missing, web-sys makes 0.
pub(super) fn tells_its_queue(socket: &WebSocket) -> bool {
    let socket: &worker::web_sys::WebSocket = socket.as_ref();
    Reflect::get(socket, &"bufferedAmount".into()).is_ok_and(|amount| amount.as_f64().is_some())
}

impl Client {
    pub(super) fn new(number: u64, principal: Principal, binary: bool, socket: WebSocket) -> Self {
        let attachment = Attachment { number, principal: principal.clone(), binary, running: Vec::new() };
        let running = RefCell::new(Running::new(ascii_json(&attachment).len()));
        let refused = RefCell::default();
        Self { number, principal, binary, running, refused, confirmed_at_ms: Cell::default(), spoken_to: Cell::default(), socket }
    }

    /// Takes up a socket that has outlived the object's time in memory, and the ids that ran for it. `None` where it is none of ours.
    pub(super) fn resume(socket: WebSocket) -> Option<(Self, Vec<String>)> {
        let text: String = socket.deserialize_attachment().ok()??;
        let Attachment { number, principal, binary, running } = decode_own(text.as_bytes()).ok()?;
        Some((Self::new(number, principal, binary, socket), running))
    }

    /// Has the socket keep what is to outlive the object's time in memory.
    pub(super) fn save(&self) {
        let running = self.running.borrow().ids().map(str::to_owned).collect();
        let attachment = Attachment { number: self.number, principal: self.principal.clone(), binary: self.binary, running };
        let saved = self.socket.serialize_attachment(ascii_json(&attachment));
        if let Err(error) = saved {
            log::error(None, &format!("what a socket is cannot be kept: {error}"));
        }
    }

    /// Whether it was let in by this API key, or by what was made with it.
    pub(super) fn hangs_on(&self, key: &KeyId) -> bool {
        self.principal.key.as_ref() == Some(key)
    }

    /// Whether something runs for it.
    pub(super) fn is_busy(&self) -> bool {
        self.running.borrow().len() > 0
    }

    /// Sends an operation's last word, although it has not ended yet. Its id is in use until it has.
    pub(super) fn refuse_running(&self, id: &str, error: &Error) {
        if self.refused.borrow_mut().insert(id.to_owned()) {
            self.refuse(Some(id), error);
        }
    }

    /// Whether the operation under this id has had its last word before its end.
    pub(super) fn is_refused(&self, id: &str) -> bool {
        self.refused.borrow().contains(id)
    }

    /// Nothing runs any more.
    pub(super) fn forget_refused(&self) {
        self.refused.borrow_mut().clear();
    }

    /// The operation under this id has ended: its guard, where it ran.
    pub(super) fn finish(&self, id: &str) -> Option<Guard> {
        self.refused.borrow_mut().remove(id);
        self.running.borrow_mut().remove(id)
    }

    /// Notes what the operation under this id is about.
    pub(super) fn note(&self, id: &str, summary: String) {
        let running = self.running.borrow();
        if let Some(entry) = running.get(id).and_then(|guard| guard.entry.as_ref()) {
            entry.note(None, Some(summary));
        }
    }

    /// Adds to what went in and out for the operation under this id.
    pub(super) fn count(&self, id: &str, bytes_in: usize, bytes_out: u32) {
        let running = self.running.borrow();
        if let Some(entry) = running.get(id).and_then(|guard| guard.entry.as_ref()) {
            entry.add(bytes_in as u64, bytes_out.into());
        }
    }

    /// Sends a frame of our own.
    pub(super) fn send(&self, kind: Reply, id: Option<&str>, payload: &impl Serialize) {
        let Ok(payload) = to_raw_value(payload) else { return };
        let frame = ServerFrame { kind, id: id.map(Into::into), payload: std::borrow::Cow::Owned(payload) };
        if let Ok(text) = serde_json::to_string(&frame) {
            self.send_text(&text);
        }
    }

    /// Ends an id, or refuses a frame that had none, with an error.
    pub(super) fn refuse(&self, id: Option<&str>, error: &Error) {
        self.send(Reply::Error, id, error);
    }

    /// Sends a whole frame. One to a client that has just gone is lost; its end is on the way.
    pub(super) fn send_text(&self, text: &str) {
        self.spoken_to.set(true);
        let _ = self.socket.send_with_str(text);
    }

    /// Sends a whole frame that the runtime has already.
    pub(super) fn pass_on(&self, frame: &Frame) {
        self.spoken_to.set(true);
        let socket = self.raw().unchecked_ref::<RawSocket>();
        let _ = match frame {
            Frame::Text(text) => socket.send_string(text),
            Frame::Binary(bytes) => socket.send_bytes(bytes),
        };
    }

    /// Says something where nothing was said since this was last called: some hops take silence for death.
    pub(super) fn reassure(&self) {
        if !self.spoken_to.replace(false) && self.queue() == 0 {
            self.send_text(PONG);
            self.spoken_to.set(false);
        }
    }

    /// Bytes that were sent and that the runtime has still.
    pub(super) fn queue(&self) -> u32 {
        self.raw().buffered_amount()
    }

    /// Closes it. What is in its queue goes first.
    pub(super) fn close(&self, code: u16, reason: &str) {
        let _ = self.socket.close(Some(code), Some(reason));
    }

    fn raw(&self) -> &worker::web_sys::WebSocket {
        self.socket.as_ref()
    }
}
