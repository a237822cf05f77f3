//! The content of messages of kernels. They leave out much that the protocol demands.

use std::borrow::Cow;

use cabana_protocol::code::{Bundle, RunEvent};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a cell prints.
#[derive(Debug, Deserialize)]
pub(super) struct Stream<'a> {
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) text: Cow<'a, str>,
}

/// What a cell shows.
#[derive(Debug, Deserialize)]
pub(super) struct Display {
    #[serde(default)]
    pub(super) data: Bundle,
    metadata: Option<Bundle>,
    transient: Option<Transient>,
}

#[derive(Debug, Deserialize)]
struct Transient {
    display_id: Option<String>,
}

/// What a kernel says of its state.
#[derive(Debug, Deserialize)]
pub(super) struct Status<'a> {
    #[serde(borrow, default)]
    pub(super) execution_state: Cow<'a, str>,
}

/// How code has failed.
#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    ename: String,
    #[serde(default)]
    evalue: String,
    #[serde(default)]
    traceback: Vec<String>,
}

/// That a kernel begins with a cell.
#[derive(Debug, Deserialize)]
pub(super) struct Executing {
    pub(super) execution_count: Option<u32>,
}

/// That output is to be cleared.
#[derive(Debug, Deserialize)]
pub(super) struct Clear {
    #[serde(default)]
    pub(super) wait: bool,
}

/// The end of a cell.
#[derive(Debug, Deserialize)]
pub(super) struct ExecuteReply {
    #[serde(default)]
    pub(super) status: String,
    pub(super) execution_count: Option<u32>,
    /// What a front end is to do. Of a shape that kernels do not agree about.
    #[serde(default)]
    payload: Value,
    #[serde(flatten)]
    pub(super) failure: Failure,
}

impl ExecuteReply {
    /// The documentation that the cell has asked for, as in `zip?`: a kernel has front ends show it beside the output.
    pub(super) fn take_pages(&mut self) -> Vec<Bundle> {
        let Value::Array(payload) = self.payload.take() else { return Vec::new() };
        let pages = payload.into_iter().filter(|entry| entry["source"] == "page");
        let data = pages.filter_map(|mut page| serde_json::from_value(page["data"].take()).ok());
        data.map(|mut data| {
            strip_text(&mut data);
            data
        })
        .collect()
    }
}

/// What a kernel is.
#[derive(Debug, Default, Deserialize)]
pub(super) struct KernelInfo {
    #[serde(default)]
    pub(super) supported_features: Vec<String>,
    #[serde(default)]
    pub(super) language_info: Value,
}

/// That code waits for a line.
#[derive(Debug, Deserialize)]
pub(super) struct InputRequest {
    #[serde(default)]
    pub(super) prompt: String,
    #[serde(default)]
    pub(super) password: bool,
}

impl Display {
    /// By what updates name it.
    pub(super) fn display_id(&mut self) -> Option<String> {
        self.transient.as_mut().and_then(|transient| transient.display_id.take())
    }

    /// Its data, text without colors, and metadata.
    pub(super) fn into_bundles(mut self) -> (Bundle, Bundle) {
        strip_text(&mut self.data);
        (self.data, self.metadata.unwrap_or_default())
    }
}

impl Failure {
    /// As an event.
    pub(super) fn into_event(self) -> RunEvent {
        let traceback = self.traceback.iter().map(|line| plain(line)).collect();
        RunEvent::Failed { name: self.ename, value: plain(&self.evalue), traceback }
    }
}

/// Takes the colors out of a bundle's plain text.
pub(super) fn strip_text(data: &mut Bundle) {
    if let Some(Value::String(text)) = data.get_mut("text/plain")
        && text.contains('\u{1b}')
    {
        *text = plain(text);
    }
}

/// Text without the escape sequences of terminals: kernels color what they show, and neither people nor programs read that here.
pub(super) fn plain(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '\u{1b}' {
            kept.push(char);
        } else if chars.next_if_eq(&'[').is_some() {
            // Parameters, and the letter that ends them.
            while chars.next().is_some_and(|char| !('@'..='~').contains(&char)) {}
        }
    }
    kept
}

/// The content of an `execute_request`. Silent code has no number, and is not part of the history.
pub(super) fn execution(code: &str, silent: bool, takes_input: bool) -> Value {
    json!({
        "code": code,
        "silent": silent,
        "store_history": !silent,
        "user_expressions": {},
        "allow_stdin": takes_input,
        "stop_on_error": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_taken_out_of_text() {
        for (text, expected) in [
            ("\u{1b}[31mred\u{1b}[39m and \u{1b}[1;38;5;241mgrey\u{1b}[0m", "red and grey"),
            ("[31m no escape", "[31m no escape"),
            ("cut \u{1b}[3", "cut "),
            ("é\u{1b}é", "éé"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn documentation_that_a_cell_asks_for_is_found_without_colors() {
        let page = json!({ "source": "page", "start": 0, "data": { "text/plain": "\u{1b}[31mzip\u{1b}[0m" } });
        let next = json!({ "source": "set_next_input", "text": "x" });
        let mut reply: ExecuteReply = serde_json::from_value(json!({ "status": "ok", "payload": [next, page] })).unwrap();
        assert_eq!(json!(reply.take_pages()), json!([{ "text/plain": "zip" }]));
    }

    #[test]
    fn content_that_lacks_fields_is_read_all_the_same() {
        let reply: ExecuteReply = serde_json::from_str(r#"{"status":"error","ename":"E","traceback":["x"]}"#).unwrap();
        let event = RunEvent::Failed { name: "E".into(), value: String::new(), traceback: vec!["x".into()] };
        assert_eq!(reply.failure.into_event(), event);
        for payload in [json!(null), json!({}), json!(["page", { "source": "page" }, { "source": "page", "data": "x" }])] {
            let mut reply: ExecuteReply = serde_json::from_value(json!({ "status": "ok", "payload": payload })).unwrap();
            assert_eq!((reply.take_pages(), reply.status.as_str()), (Vec::new(), "ok"), "{payload}");
        }
        let mut display: Display = serde_json::from_str(r#"{"data":{"text/plain":"x"},"metadata":null}"#).unwrap();
        assert_eq!(display.display_id(), None);
        assert_eq!(display.into_bundles().0["text/plain"], "x");
    }
}
