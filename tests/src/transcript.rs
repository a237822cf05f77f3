//! What a command has said to one caller, over one connection after the other.

use cabana_protocol::{
    ProcessId,
    exec::{Exec, ExecEvent, ExecResult, Exit},
    line::LineOf,
};
use reqwest::Response;
use serde_json::{Value, json};

/// All that has come so far. Every byte must come once and in its place.
#[derive(Debug, Default)]
pub struct Transcript {
    /// The process, once it is known.
    pub process: Option<ProcessId>,
    /// stdout and stderr, as they were printed.
    pub output: Vec<u8>,
    /// The result, once it has come.
    pub result: Option<ExecResult>,
}

impl Transcript {
    /// The request that goes on where this one stopped.
    pub fn attach(&self) -> Value {
        json!({ "process": self.process.as_ref().expect("the command has started"), "from": self.output.len() })
    }

    /// The output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.output).unwrap()
    }

    /// How the command ended, once it has.
    pub fn exit(&self) -> Option<Exit> {
        self.result.as_ref()?.exit
    }

    /// Takes a line, or the payload of a frame that is one.
    pub fn hear(&mut self, line: LineOf<Exec>) {
        assert_eq!(self.result, None, "something came after the result: {line:?}");
        match line {
            LineOf::<Exec>::Event(ExecEvent::Started { process, .. }) => {
                assert_eq!(*self.process.get_or_insert_with(|| process.clone()), process);
            }
            LineOf::<Exec>::Event(ExecEvent::Stdout { offset, bytes } | ExecEvent::Stderr { offset, bytes }) => {
                assert_eq!(offset, self.output.len() as u64, "every byte comes once");
                self.output.extend(bytes.0);
            }
            LineOf::<Exec>::Result(result) => self.result = Some(result),
            other => panic!("{other:?}"),
        }
    }

    /// Takes the lines of an answer with one event a line, until it ends, breaks off, or this is enough; it is dropped then.
    pub async fn read(&mut self, mut answer: Response, enough: impl Fn(&Self) -> bool) {
        let mut buffer = Vec::new();
        while !enough(self) {
            let Ok(Some(piece)) = answer.chunk().await else { return };
            buffer.extend(piece);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = buffer.drain(..=end).collect();
                if !line.trim_ascii().is_empty() {
                    self.hear(LineOf::<Exec>::decode(line.trim_ascii()).unwrap());
                }
            }
        }
    }
}
