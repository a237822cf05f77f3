//! Fuzzing of frames.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is told by a panic")]

use cabana_protocol::frame::{
    ClientFrame, Reply, ServerFrame,
    binary::{self, Raw},
};
use serde_json::value::RawValue;

use super::frames::whole;

/// A client's frame, as text or as binary.
pub fn frame(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        head(text);
    }
    if let Ok((json, behind)) = Raw::Binary(bytes).split() {
        assert_eq!([&binary::length(json.len()).unwrap(), json.as_bytes(), behind].concat(), bytes);
        head(json);
    }
}

/// It is refused, or means the same when it is written and read again, and can be answered under its id with its payload.
fn head(text: &str) {
    let Ok(frame) = serde_json::from_str::<ClientFrame>(text) else { return };
    let written = serde_json::to_string(&frame).unwrap();
    let again: ClientFrame = serde_json::from_str(&written).unwrap();
    assert_eq!((&again.kind, &again.id), (&frame.kind, &frame.id));
    assert_eq!(again.payload.map(RawValue::get), frame.payload.map(RawValue::get));
    let payload = frame.payload.map_or("null", RawValue::get);
    let answer = whole(Reply::Event, Some(&frame.id), payload.as_bytes()).unwrap();
    let answer: ServerFrame = serde_json::from_slice(&answer).unwrap();
    assert_eq!((answer.kind, answer.id.as_deref(), answer.payload.get()), (Reply::Event, Some(frame.id.as_ref()), payload));
}
