//! What is to be done with a frame: the one place that judges what clients send. Pure.

use std::collections::HashMap;

use cabana_protocol::{
    Access, Code, Error, SandboxId,
    frame::{CANCEL, ClientFrame, INPUT, MAX_FRAME_BYTES, MAX_ID_BYTES, PING, binary::Raw},
    table::{self, Descriptor},
};
use serde_json::json;

use crate::Principal;

/// Operations that may run for one socket at once.
const MAX_OPERATIONS: usize = 256;

/// Bytes of all their ids together. They are kept in the socket's attachment, which holds 16 KiB.
const MAX_IDS_BYTES: usize = 12 << 10;

/// What runs for one socket, by the client's ids.
#[derive(Debug)]
pub(super) struct Running<T>(HashMap<String, (&'static Descriptor, T)>);

impl<T> Default for Running<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Running<T> {
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn insert(&mut self, id: String, operation: &'static Descriptor, guard: T) {
        self.0.insert(id, (operation, guard));
    }

    /// Its guard, where it ran.
    pub(super) fn remove(&mut self, id: &str) -> Option<T> {
        self.0.remove(id).map(|(_, guard)| guard)
    }

    /// The guard of one that runs.
    pub(super) fn get(&self, id: &str) -> Option<&T> {
        self.0.get(id).map(|(_, guard)| guard)
    }

    /// All guards.
    pub(super) fn guards(&self) -> impl Iterator<Item = &T> {
        self.0.values().map(|(_, guard)| guard)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Fails where one more does not fit.
    fn admit(&self, id: &str) -> Result<(), Error> {
        let full = |what: &str, limit: usize| {
            Err(Error::new(Code::TooManyRequests, format!("{what} on this socket already"))
                .with_details(json!({ "limit": limit })))
        };
        if self.0.len() >= MAX_OPERATIONS {
            return full(&format!("{MAX_OPERATIONS} operations run"), MAX_OPERATIONS);
        }
        if self.ids().map(str::len).sum::<usize>() + id.len() > MAX_IDS_BYTES {
            return full(&format!("ids of {MAX_IDS_BYTES} bytes are in use"), MAX_IDS_BYTES);
        }
        Ok(())
    }
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Say that the connection is alive.
    Pong,
    /// Pass it on: it starts an operation.
    Start {
        /// Under this id.
        id: String,
        /// This one.
        operation: &'static Descriptor,
    },
    /// Pass it on: it speaks to one that runs.
    Pass {
        /// Under this id.
        id: String,
    },
}

/// Why a frame goes no further.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The id that ends with it, and the operation that it was to be; `None` where the frame was none of an operation's own.
    pub(super) id: Option<String>,
    pub(super) operation: Option<String>,
    /// What to say.
    pub(super) error: Error,
}

/// Judges a frame of `principal` to this sandbox.
pub(super) fn judge<T>(
    frame: Raw<'_>,
    principal: &Principal,
    sandbox: &SandboxId,
    running: &Running<T>,
) -> Result<Verdict, Refusal> {
    if frame.length() > MAX_FRAME_BYTES {
        let error = Error::new(Code::PayloadTooLarge, format!("a frame has at most {MAX_FRAME_BYTES} bytes"));
        return refuse(error.with_details(json!({ "limit_bytes": MAX_FRAME_BYTES })));
    }
    let (head, _) = frame.split().or_else(refuse)?;
    let Ok(frame) = serde_json::from_str::<ClientFrame<'_>>(head) else {
        return refuse(Error::invalid_request("not a frame: {\"type\": …, \"id\": …, \"payload\": …}"));
    };
    let (kind, id) = (frame.kind.as_ref(), frame.id.as_ref());
    if kind == PING {
        return Ok(Verdict::Pong);
    }
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return refuse(Error::invalid_request(format!("an id has 1 to {MAX_ID_BYTES} bytes")));
    }
    let check = |operation: &Descriptor, read_only| {
        principal.check(&Access { sandbox: Some(sandbox), operation: operation.name, read_only })
    };
    let about = |error: Error| Refusal { id: None, operation: None, error: error.with_details(json!({ "id": id })) };
    let pass = || Verdict::Pass { id: id.to_owned() };
    match (kind, running.0.get(id)) {
        (INPUT | CANCEL, None) => Err(about(Error::not_found("no operation runs under this id"))),
        (CANCEL, Some(_)) => Ok(pass()),
        // What an operation is told may change what it alone would not: the input of a process, for instance.
        (INPUT, Some((operation, _))) => check(operation, false).map(|()| pass()).map_err(about),
        (_, Some(_)) => Err(about(Error::new(Code::Conflict, "an operation runs under this id"))),
        (name, None) => {
            let started = find(name).and_then(|operation| {
                check(operation, operation.read_only)?;
                running.admit(id).map(|()| Verdict::Start { id: id.to_owned(), operation })
            });
            started.map_err(|error| Refusal { id: Some(id.to_owned()), operation: Some(name.to_owned()), error })
        }
    }
}

fn find(name: &str) -> Result<&'static Descriptor, Error> {
    table::find(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        Error::not_found(format!("there is no operation {shown:?}"))
    })
}

fn refuse<T>(error: Error) -> Result<T, Refusal> {
    Err(Refusal { id: None, operation: None, error })
}

#[cfg(test)]
mod tests {
    use cabana_protocol::Scopes;

    use super::*;

    fn principal(scopes: &str) -> Principal {
        let scopes: Scopes = serde_json::from_str(scopes).unwrap();
        Principal { operator: false, scopes, ..Principal::operator() }
    }

    fn running(ids: &[&str]) -> Running<()> {
        let mut running = Running::default();
        for id in ids {
            running.insert((*id).to_owned(), table::find("process.attach").unwrap(), ());
        }
        running
    }

    /// The verdict in a word, or the code and the id of a refusal.
    fn judged(text: &str, scopes: &str, running: &Running<()>) -> String {
        match judge(Raw::Text(text), &principal(scopes), &"sbx-a".parse().unwrap(), running) {
            Ok(Verdict::Pong) => "pong".to_owned(),
            Ok(Verdict::Start { id, operation }) => format!("start {} {id}", operation.name),
            Ok(Verdict::Pass { id }) => format!("pass {id}"),
            Err(Refusal { id, error, .. }) => {
                format!("{} {}", serde_json::to_value(error.code).unwrap().as_str().unwrap(), id.unwrap_or_default())
            }
        }
    }

    #[test]
    fn what_becomes_of_frames() {
        let busy = running(&["busy"]);
        for (text, scopes, expected) in [
            (r#"{"type":"exec","id":"1","payload":{"command":"a"}}"#, "{}", "start exec 1"),
            (r#"{"payload":[1,{"id":"x"}],"id":"1","type":"file.read"}"#, "{}", "start file.read 1"),
            (r#"{"type": "ping"}"#, r#"{"read_only":true}"#, "pong"),
            ("", "{}", "invalid_request "),
            ("[]", "{}", "invalid_request "),
            (r#"{"type":"exec"}"#, "{}", "invalid_request "),
            (r#"{"type":"exec","id":5}"#, "{}", "invalid_request "),
            (r#"{"type":"exec","type":"file.read","id":"1"}"#, "{}", "invalid_request "),
            (r#"{"type":"nothing","id":"1"}"#, "{}", "not_found 1"),
            (r#"{"type":"exec","id":"busy"}"#, "{}", "conflict "),
            (r#"{"type":"input","id":"1","payload":{"type":"eof"}}"#, "{}", "not_found "),
            (r#"{"type":"cancel","id":"1"}"#, "{}", "not_found "),
            (r#"{"type":"input","id":"busy"}"#, "{}", "pass busy"),
            (r#"{"type":"cancel","id":"busy"}"#, r#"{"read_only":true}"#, "pass busy"),
            (r#"{"type":"input","id":"busy"}"#, r#"{"read_only":true}"#, "forbidden "),
            (r#"{"type":"exec","id":"1"}"#, r#"{"read_only":true}"#, "forbidden 1"),
            (r#"{"type":"file.read","id":"1"}"#, r#"{"read_only":true}"#, "start file.read 1"),
            (r#"{"type":"exec","id":"1"}"#, r#"{"operations":["file"]}"#, "forbidden 1"),
            (r#"{"type":"file.read","id":"1"}"#, r#"{"sandboxes":["sbx-b"]}"#, "forbidden 1"),
        ] {
            assert_eq!(judged(text, scopes, &busy), expected, "{text} {scopes}");
        }
    }

    #[test]
    fn what_is_too_much() {
        let frame = |id: &str| format!(r#"{{"type":"exec","id":"{id}"}}"#);
        assert_eq!(judged(&frame(&"i".repeat(MAX_ID_BYTES + 1)), "{}", &running(&[])), "invalid_request ");
        assert_eq!(judged(&"x".repeat(MAX_FRAME_BYTES + 1), "{}", &running(&[])), "payload_too_large ");
        let many: Vec<_> = (0..MAX_OPERATIONS).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(judged(&frame("one-more"), "{}", &running(&many)), "too_many_requests one-more");
        assert_eq!(judged(&frame("one-more"), "{}", &running(&many[1..])), "start exec one-more");
        let long: Vec<_> = (0..MAX_IDS_BYTES / MAX_ID_BYTES).map(|number| format!("{number:0>MAX_ID_BYTES$}")).collect();
        let long: Vec<_> = long.iter().map(String::as_str).collect();
        assert_eq!(judged(&frame("x"), "{}", &running(&long)), "too_many_requests x");
    }
}
