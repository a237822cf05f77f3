//! What the cells of a context were and have shown, for its notebook.

use std::collections::VecDeque;

use cabana_protocol::code::{Bundle, Notebook, RunEvent};
use serde_json::{Value, json};

use crate::memory::Held;

/// Most bytes that are kept of one context.
const KEPT_BYTES: usize = 4 << 20;

/// Most bytes that are kept of one cell's output.
const CELL_BYTES: usize = 1 << 20;

/// Most cells that are kept.
const KEPT_CELLS: usize = 1_000;

/// The cells of a context. When they have shown too much, the oldest outputs go first.
#[derive(Debug)]
pub(super) struct History {
    cells: VecDeque<RecordedCell>,
    bytes: usize,
    next: u64,
    truncated: bool,
    held: Held,
}

#[derive(Debug)]
struct RecordedCell {
    number: u64,
    source: String,
    execution_count: Option<u32>,
    outputs: Vec<RecordedOutput>,
    bytes: usize,
    /// What was asked to be cleared with the next output.
    clears: bool,
}

#[derive(Debug)]
enum RecordedOutput {
    Stream { name: &'static str, text: String },
    Data { is_value: bool, display_id: Option<String>, data: Bundle, metadata: Bundle },
    Error { name: String, value: String, traceback: Vec<String> },
}

impl History {
    /// None yet; what they take is accounted for there.
    pub(super) fn new(held: Held) -> Self {
        Self { cells: VecDeque::new(), bytes: 0, next: 0, truncated: false, held }
    }

    /// Adds a cell, and gives its number.
    pub(super) fn begin(&mut self, source: &str) -> u64 {
        self.next += 1;
        self.cells.push_back(RecordedCell {
            number: self.next,
            source: source.to_owned(),
            execution_count: None,
            outputs: Vec::new(),
            bytes: source.len(),
            clears: false,
        });
        self.bytes += source.len();
        while self.cells.len() > KEPT_CELLS || self.cells.len() > 1 && self.bytes > KEPT_BYTES {
            self.drop_first();
        }
        self.account();
        self.next
    }

    /// Adds what a cell has shown, also long after its end.
    pub(super) fn record(&mut self, number: u64, event: &RunEvent) {
        if let RunEvent::Update { display_id, data, metadata } = event {
            self.update(display_id, data, metadata);
            return;
        }
        let Some(index) = self.cells.iter().position(|cell| cell.number == number) else { return };
        let before = self.cells[index].bytes;
        self.truncated |= !self.cells[index].record(event);
        self.bytes = self.bytes + self.cells[index].bytes - before;
        self.shrink();
    }

    fn update(&mut self, wanted: &str, new_data: &Bundle, new_metadata: &Bundle) {
        for cell in &mut self.cells {
            for output in &mut cell.outputs {
                let RecordedOutput::Data { display_id: Some(id), data, metadata, .. } = output else { continue };
                if id == wanted {
                    let (old, new) = (size(data), size(new_data));
                    (cell.bytes, self.bytes) = (cell.bytes + new - old, self.bytes + new - old);
                    (*data, *metadata) = (new_data.clone(), new_metadata.clone());
                }
            }
        }
        self.shrink();
    }

    /// Drops the oldest outputs while there is too much, or no memory for it.
    fn shrink(&mut self) {
        for index in 0..self.cells.len() {
            if self.bytes <= KEPT_BYTES && self.account() {
                return;
            }
            let cell = &mut self.cells[index];
            self.truncated |= !cell.outputs.is_empty();
            let bytes = cell.source.len();
            self.bytes -= cell.bytes - bytes;
            (cell.outputs, cell.bytes) = (Vec::new(), bytes);
        }
        self.account();
    }

    fn account(&mut self) -> bool {
        self.held.resize(self.bytes).is_ok()
    }

    fn drop_first(&mut self) {
        if let Some(cell) = self.cells.pop_front() {
            self.bytes -= cell.bytes;
            self.truncated = true;
        }
    }

    /// The cells as a notebook of this kernel.
    pub(super) fn notebook(&self, kernel: &str, language: &str, language_info: &Value) -> Notebook {
        let cells: Vec<_> = self.cells.iter().map(RecordedCell::json).collect();
        let language_info = if language_info.is_object() { language_info.clone() } else { json!({ "name": language }) };
        let kernelspec = json!({ "name": kernel, "display_name": kernel, "language": language });
        let metadata = json!({ "kernelspec": kernelspec, "language_info": language_info });
        let notebook = json!({ "cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5 });
        Notebook { notebook, truncated: self.truncated }
    }
}

impl RecordedCell {
    /// Adds output; false where there is no room for it.
    fn record(&mut self, event: &RunEvent) -> bool {
        let output = match event {
            RunEvent::Executing { execution_count } => {
                self.execution_count = Some(*execution_count);
                return true;
            }
            RunEvent::Clear { wait: true } => {
                self.clears = true;
                return true;
            }
            RunEvent::Clear { wait: false } => {
                self.clear();
                return true;
            }
            RunEvent::Stdout { text } => RecordedOutput::Stream { name: "stdout", text: text.clone() },
            RunEvent::Stderr { text } => RecordedOutput::Stream { name: "stderr", text: text.clone() },
            RunEvent::Value { data, metadata } => {
                RecordedOutput::Data { is_value: true, display_id: None, data: data.clone(), metadata: metadata.clone() }
            }
            RunEvent::Display { display_id, data, metadata } => RecordedOutput::Data {
                is_value: false,
                display_id: display_id.clone(),
                data: data.clone(),
                metadata: metadata.clone(),
            },
            RunEvent::Failed { name, value, traceback } => {
                RecordedOutput::Error { name: name.clone(), value: value.clone(), traceback: traceback.clone() }
            }
            RunEvent::Omitted { .. } => return false,
            RunEvent::Started { .. } | RunEvent::Update { .. } | RunEvent::InputRequest { .. } => return true,
        };
        if self.clears {
            self.clear();
        }
        let bytes = output.size();
        if self.bytes + bytes > CELL_BYTES + self.source.len() {
            return false;
        }
        self.bytes += bytes;
        match (self.outputs.last_mut(), output) {
            (Some(RecordedOutput::Stream { name: last, text }), RecordedOutput::Stream { name, text: more }) if *last == name => {
                text.push_str(&more);
            }
            (_, output) => self.outputs.push(output),
        }
        true
    }

    fn clear(&mut self) {
        (self.outputs, self.bytes, self.clears) = (Vec::new(), self.source.len(), false);
    }

    fn json(&self) -> Value {
        let outputs: Vec<_> = self.outputs.iter().map(|output| output.json(self.execution_count)).collect();
        json!({
            "cell_type": "code",
            "id": format!("cell-{}", self.number),
            "metadata": {},
            "execution_count": self.execution_count,
            "source": self.source,
            "outputs": outputs,
        })
    }
}

impl RecordedOutput {
    fn size(&self) -> usize {
        match self {
            Self::Stream { text, .. } => text.len(),
            Self::Data { data, metadata, .. } => 128 + size(data) + size(metadata),
            Self::Error { name, value, traceback } => {
                128 + name.len() + value.len() + traceback.iter().map(String::len).sum::<usize>()
            }
        }
    }

    fn json(&self, execution_count: Option<u32>) -> Value {
        match self {
            Self::Stream { name, text } => json!({ "output_type": "stream", "name": name, "text": text }),
            Self::Data { is_value: true, data, metadata, .. } => json!({
                "output_type": "execute_result",
                "execution_count": execution_count,
                "data": data,
                "metadata": metadata,
            }),
            Self::Data { data, metadata, .. } => json!({ "output_type": "display_data", "data": data, "metadata": metadata }),
            Self::Error { name, value, traceback } => {
                json!({ "output_type": "error", "ename": name, "evalue": value, "traceback": traceback })
            }
        }
    }
}

/// About what a bundle takes.
pub(super) fn size(bundle: &Bundle) -> usize {
    fn value_size(value: &Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 32,
            Value::String(text) => 32 + text.len(),
            Value::Array(values) => 32 + values.iter().map(value_size).sum::<usize>(),
            Value::Object(fields) => fields.iter().map(|(name, value)| 32 + name.len() + value_size(value)).sum(),
        }
    }
    bundle.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    fn data(text: &str) -> Bundle {
        Bundle::from([("text/plain".to_owned(), json!(text))])
    }

    fn outputs(history: &History) -> Vec<Value> {
        let notebook = history.notebook("python3", "python", &Value::Null).notebook;
        notebook["cells"].as_array().unwrap().iter().map(|cell| cell["outputs"].clone()).collect()
    }

    fn stdout(text: &str) -> RunEvent {
        RunEvent::Stdout { text: text.to_owned() }
    }

    #[test]
    fn late_output_and_updates_reach_the_cell_that_they_belong_to() {
        let mut history = History::new(Memory::new(64 << 20).account());
        let first = history.begin("first");
        history.record(first, &RunEvent::Executing { execution_count: 1 });
        history.record(first, &RunEvent::Display { display_id: Some("a".into()), data: data("old"), metadata: Bundle::new() });
        let second = history.begin("second");
        history.record(second, &stdout("two"));
        history.record(first, &stdout("late"));
        history.record(second, &RunEvent::Update { display_id: "a".into(), data: data("new"), metadata: Bundle::new() });
        assert_eq!(
            outputs(&history),
            [
                json!([
                    { "output_type": "display_data", "data": { "text/plain": "new" }, "metadata": {} },
                    { "output_type": "stream", "name": "stdout", "text": "late" },
                ]),
                json!([{ "output_type": "stream", "name": "stdout", "text": "two" }]),
            ]
        );
        history.record(second, &RunEvent::Clear { wait: true });
        history.record(second, &stdout("three"));
        assert_eq!(outputs(&history)[1][0]["text"], "three");
    }

    #[test]
    fn the_oldest_outputs_go_first() {
        let mut history = History::new(Memory::new(64 << 20).account());
        let large = "x".repeat(CELL_BYTES);
        for _ in 0..=KEPT_BYTES / CELL_BYTES {
            let number = history.begin("");
            history.record(number, &stdout(&large));
        }
        let outputs = outputs(&history);
        assert_eq!((outputs[0].as_array().unwrap().len(), outputs[1].as_array().unwrap().len()), (0, 1));
        assert!(history.notebook("k", "l", &Value::Null).truncated && history.bytes <= KEPT_BYTES);
        let number = history.begin("more");
        history.record(number, &stdout(&(large + "x")));
        assert!(history.cells.back().unwrap().outputs.is_empty(), "one cell does not push out all others");
    }
}
