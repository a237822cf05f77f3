//! What is to be done with a frame: the one place that judges what clients send. Pure.

use std::{collections::HashMap, mem};

use cabana_protocol::{
    Access, Code, Error, SandboxId,
    frame::{CANCEL, ClientFrame, INPUT, MAX_FRAME_BYTES, MAX_ID_BYTES, PING, binary::Raw},
    names::unknown_operation,
    table::{self, Descriptor},
};
use serde::Serialize;
use serde_json::json;

use crate::Principal;

/// Operations that may run for one socket at once.
const MAX_OPERATIONS: usize = 256;

/// Bytes that the platform keeps of a socket's attachment, less what it adds itself.
pub(super) const MAX_ATTACHMENT_BYTES: usize = (16 << 10) - 64;

/// What runs for one socket, by the client's ids. They are kept in the socket's attachment.
#[derive(Debug)]
pub(super) struct Running<T> {
    operations: HashMap<String, (&'static Descriptor, T)>,
    /// Bytes that the attachment takes without ids.
    reserved: usize,
}

impl<T> Running<T> {
    /// Nothing runs. `reserved`: bytes that the attachment takes without ids.
    pub(super) fn new(reserved: usize) -> Self {
        Self { operations: HashMap::new(), reserved }
    }

    /// Forgets all that runs.
    pub(super) fn clear(&mut self) -> Self {
        Self { operations: mem::take(&mut self.operations), reserved: self.reserved }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.operations.keys().map(String::as_str)
    }

    pub(super) fn insert(&mut self, id: String, operation: &'static Descriptor, guard: T) {
        self.operations.insert(id, (operation, guard));
    }

    /// Its guard, where it ran.
    pub(super) fn remove(&mut self, id: &str) -> Option<T> {
        self.operations.remove(id).map(|(_, guard)| guard)
    }

    /// The guard of one that runs.
    pub(super) fn get(&self, id: &str) -> Option<&T> {
        self.operations.get(id).map(|(_, guard)| guard)
    }

    /// All guards.
    pub(super) fn guards(&self) -> impl Iterator<Item = &T> {
        self.operations.values().map(|(_, guard)| guard)
    }

    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }

    /// Fails where one more does not fit.
    fn admit(&self, id: &str) -> Result<(), Error> {
        let full = |what: &str, limit: usize| {
            Err(Error::new(Code::TooManyRequests, format!("{what} on this socket already"))
                .with_details(json!({ "limit": limit })))
        };
        if self.operations.len() >= MAX_OPERATIONS {
            return full(&format!("{MAX_OPERATIONS} operations run"), MAX_OPERATIONS);
        }
        // As they are stored: a character may take several bytes.
        let ids: usize = self.ids().chain([id]).map(|id| ascii_json(&id).len() + ",".len()).sum();
        if self.reserved + ids > MAX_ATTACHMENT_BYTES {
            return full("more ids are in use than can be kept", MAX_ATTACHMENT_BYTES);
        }
        Ok(())
    }
}

/// A value as JSON of ASCII alone: the runtime takes two bytes for each character of a text that has others.
pub(super) fn ascii_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("what is kept has string keys and no failing serialisers");
    let escape = |char: char| match char {
        ' '..='~' => String::from(char),
        other => other.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    json.chars().map(escape).collect()
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
        /// Whether it cancels it.
        cancels: bool,
    },
    /// Do nothing more.
    Ignore,
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
    let frame = ClientFrame::parse(head).or_else(refuse)?;
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
    let pass = |cancels| Verdict::Pass { id: id.to_owned(), cancels };
    match (kind, running.operations.get(id)) {
        (INPUT | CANCEL, None) => Err(about(Error::not_found("no operation runs under this id").because("no_such_id"))),
        (CANCEL, Some(_)) => Ok(pass(true)),
        // What an operation is told may change what it alone would not: the input of a process, for instance.
        (INPUT, Some((operation, _))) => check(operation, false).map(|()| pass(false)).map_err(about),
        (_, Some(_)) => Err(about(Error::new(Code::Conflict, "an operation runs under this id").because("id_in_use"))),
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
    table::find(name).ok_or_else(|| unknown_operation(name))
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
        let mut running = Running::new(1_000);
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
            Ok(Verdict::Pass { id, cancels: false }) => format!("pass {id}"),
            Ok(Verdict::Pass { id, cancels: true }) => format!("cancel {id}"),
            Ok(Verdict::Ignore) => "ignore".to_owned(),
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
            (r#"{"type":"cancel","id":"busy"}"#, r#"{"read_only":true}"#, "cancel busy"),
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
        let long: Vec<_> = (0..120).map(|number| format!("{number:0>MAX_ID_BYTES$}")).collect();
        let long: Vec<_> = long.iter().map(String::as_str).collect();
        assert_eq!(judged(&frame("x"), "{}", &running(&long)), "too_many_requests x");
    }

    #[test]
    fn ids_fit_into_the_attachment_as_they_are_stored() {
        for character in ["a", "\"", "\u{1}", "\u{e9}", "\u{1f980}"] {
            let id = |number: usize| format!("{number:04}{}", character.repeat((MAX_ID_BYTES - 4) / character.len()));
            let mut running = Running::new(2_000);
            let admitted = (0..).map(id).take_while(|id| {
                let fits = running.admit(id).is_ok();
                running.insert(id.clone(), table::find("exec").unwrap(), ());
                fits
            });
            let admitted: Vec<_> = admitted.collect();
            let stored = ascii_json(&admitted);
            assert!(stored.is_ascii() && 2_000 + stored.len() <= MAX_ATTACHMENT_BYTES + "[]".len(), "{character:?}");
            assert!(admitted.len() == MAX_OPERATIONS || 2_000 + stored.len() + 800 > MAX_ATTACHMENT_BYTES, "{}", admitted.len());
            assert_eq!(serde_json::from_str::<Vec<String>>(&stored).unwrap(), admitted);
        }
    }
}
