//! A cell's whole conversation as one value.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Bundle, Run, RunEvent, RunResult};
use crate::{Fold, exec::Ends};

/// Bytes kept of what a cell prints on stdout and stderr each: 1 MiB.
const LOG_BYTES: usize = 1 << 20;

/// Bytes kept of what it shows: 16 MiB.
const RESULT_BYTES: usize = 16 << 20;

/// How a cell ended and what it has shown: the JSON form of `code.run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunOutput {
    /// How it ended.
    #[serde(flatten)]
    pub result: RunResult,
    /// The value of its last expression as text, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What it has shown, in order, with all updates applied.
    pub results: Vec<Output>,
    /// What it has printed.
    pub logs: Logs,
    /// How it has failed, where it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CellError>,
    /// True when it has shown or printed more than is kept: 16 MiB, and 1 MiB on stdout and stderr each.
    #[serde(default)]
    pub truncated: bool,
}

/// Something that a cell has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Output {
    /// True for the value of its last expression.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_value: bool,
    /// By what updates name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_id: Option<String>,
    /// What.
    pub data: Bundle,
    /// What the kernel says of it.
    #[serde(default, skip_serializing_if = "Bundle::is_empty")]
    pub metadata: Bundle,
}

/// What a cell has printed: of much, the first and last part, with a line between them that says how much was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Logs {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// How code has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CellError {
    /// The name of the exception.
    pub name: String,
    /// What it says.
    pub value: String,
    /// Where it happened, without colors.
    pub traceback: Vec<String>,
}

/// Gathers what a cell shows, and performs updates and clearing.
#[derive(Debug)]
pub struct CodeFold {
    results: Vec<Output>,
    bytes: usize,
    limit: usize,
    stdout: Ends,
    stderr: Ends,
    error: Option<CellError>,
    truncated: bool,
    /// What was asked to be cleared with the next output.
    clears: bool,
}

impl CodeFold {
    fn empty() -> Self {
        Self {
            results: Vec::new(),
            bytes: 0,
            limit: RESULT_BYTES,
            stdout: Ends::new(LOG_BYTES),
            stderr: Ends::new(LOG_BYTES),
            error: None,
            truncated: false,
            clears: false,
        }
    }

    fn clear(&mut self) {
        // Output that was left out stays left out: the limit is on the way, and not on the end.
        *self = Self { limit: self.limit, truncated: self.truncated, ..Self::empty() };
    }

    fn show(&mut self, output: Output) {
        let bytes = size(&output);
        if self.bytes + bytes > self.limit {
            self.truncated = true;
            return;
        }
        self.bytes += bytes;
        self.results.push(output);
    }

    fn update(&mut self, display_id: &str, data: &Bundle, metadata: &Bundle) {
        for index in 0..self.results.len() {
            let output = &self.results[index];
            if output.display_id.as_deref() != Some(display_id) {
                continue;
            }
            let new = Output { data: data.clone(), metadata: metadata.clone(), ..output.clone() };
            let bytes = self.bytes - size(output) + size(&new);
            if bytes > self.limit {
                self.truncated = true;
                return;
            }
            self.bytes = bytes;
            self.results[index] = new;
        }
    }
}

impl Fold<Run> for CodeFold {
    type Output = RunOutput;

    fn new(_: &Run) -> Self {
        Self::empty()
    }

    fn push(&mut self, event: RunEvent) {
        use RunEvent::{Clear, Display, Executing, Failed, InputRequest, Omitted, Started, Stderr, Stdout, Update, Value};
        if self.clears && matches!(event, Stdout { .. } | Stderr { .. } | Value { .. } | Display { .. }) {
            self.clear();
        }
        match event {
            Started { .. } | Executing { .. } | InputRequest { .. } => {}
            Stdout { text } => self.stdout.push(text.as_bytes()),
            Stderr { text } => self.stderr.push(text.as_bytes()),
            Value { data, metadata } => self.show(Output { is_value: true, display_id: None, data, metadata }),
            Display { display_id, data, metadata } => self.show(Output { is_value: false, display_id, data, metadata }),
            Update { display_id, data, metadata } => self.update(&display_id, &data, &metadata),
            Clear { wait: true } => self.clears = true,
            Clear { wait: false } => self.clear(),
            Failed { name, value, traceback } => self.error = Some(CellError { name, value, traceback }),
            Omitted { .. } => self.truncated = true,
        }
    }

    fn size(&self) -> usize {
        self.bytes + self.stdout.size() + self.stderr.size()
    }

    fn freeze(&mut self) {
        self.limit = self.bytes;
        self.stdout.freeze();
        self.stderr.freeze();
    }

    fn finish(self, result: RunResult) -> RunOutput {
        let truncated = self.truncated || self.stdout.truncated() || self.stderr.truncated();
        let value = self.results.iter().rev().find(|output| output.is_value);
        let text = value.and_then(|output| output.data.get("text/plain")).and_then(Value::as_str).map(str::to_owned);
        let text_of = |ends: Ends| String::from_utf8_lossy(&ends.join().0).into_owned();
        let logs = Logs { stdout: text_of(self.stdout), stderr: text_of(self.stderr) };
        RunOutput { result, text, results: self.results, logs, error: self.error, truncated }
    }
}

/// About what an output takes in JSON, and in memory.
fn size(output: &Output) -> usize {
    let bundle = |bundle: &Bundle| bundle.iter().map(|(name, value)| name.len() + 8 + value_size(value)).sum::<usize>();
    64 + bundle(&output.data) + bundle(&output.metadata)
}

/// About what a value takes.
pub(super) fn value_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
        Value::String(text) => text.len() + 32,
        Value::Array(values) => 32 + values.iter().map(value_size).sum::<usize>(),
        Value::Object(fields) => 32 + fields.iter().map(|(name, value)| name.len() + 32 + value_size(value)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::code::RunStatus;

    fn data(text: &str) -> Bundle {
        Bundle::from([("text/plain".to_owned(), json!(text))])
    }

    fn display(id: Option<&str>, text: &str) -> RunEvent {
        RunEvent::Display { display_id: id.map(str::to_owned), data: data(text), metadata: Bundle::new() }
    }

    fn update(id: &str, text: &str) -> RunEvent {
        RunEvent::Update { display_id: id.to_owned(), data: data(text), metadata: Bundle::new() }
    }

    fn stdout(text: &str) -> RunEvent {
        RunEvent::Stdout { text: text.to_owned() }
    }

    fn value(text: &str) -> RunEvent {
        RunEvent::Value { data: data(text), metadata: Bundle::new() }
    }

    fn folded(events: Vec<RunEvent>) -> RunOutput {
        let mut fold = CodeFold::empty();
        events.into_iter().for_each(|event| fold.push(event));
        let context = "k3x9ab-c1".to_owned();
        let (status, exit) = (RunStatus::Ok, None);
        fold.finish(RunResult { context, status, state_kept: true, execution_count: Some(1), exit, duration_ms: 1 })
    }

    fn shown(output: &RunOutput) -> Vec<&str> {
        output.results.iter().map(|output| output.data["text/plain"].as_str().unwrap()).collect()
    }

    #[test]
    fn updates_change_every_output_of_their_name() {
        let output = folded(vec![
            display(Some("a"), "one"),
            display(Some("b"), "other"),
            display(Some("a"), "two"),
            update("a", "new"),
            update("unknown", "lost"),
            value("42"),
        ]);
        assert_eq!(shown(&output), ["new", "other", "new", "42"]);
        assert_eq!(output.text.as_deref(), Some("42"));
    }

    #[test]
    fn clearing_takes_what_was_shown_now_or_with_the_next_output() {
        let output = folded(vec![stdout("gone"), display(None, "gone"), RunEvent::Clear { wait: false }, stdout("kept")]);
        assert_eq!((shown(&output).len(), output.logs.stdout.as_str()), (0, "kept"));
        let waiting = vec![stdout("old"), display(None, "old"), RunEvent::Clear { wait: true }];
        let output = folded(waiting.clone());
        assert_eq!((shown(&output), output.logs.stdout.as_str()), (vec!["old"], "old"));
        let output = folded([waiting, vec![display(None, "new")]].concat());
        assert_eq!((shown(&output), output.logs.stdout.as_str()), (vec!["new"], ""));
    }

    #[test]
    fn much_output_is_bounded_and_said_to_be() {
        let large = "x".repeat(RESULT_BYTES / 2);
        let output = folded(vec![display(Some("a"), &large), display(None, &large), display(None, "small")]);
        assert_eq!(output.results.len(), 2);
        assert!(output.truncated);
        let output = folded(vec![display(Some("a"), "small"), update("a", &large.repeat(3)), stdout("x")]);
        assert_eq!((shown(&output), output.truncated), (vec!["small"], true));
        assert!(folded(vec![stdout(&"x".repeat(3 * LOG_BYTES))]).logs.stdout.len() < 2 * LOG_BYTES);
        assert!(folded(vec![RunEvent::Omitted { bytes: 1 }]).truncated);
    }
}
