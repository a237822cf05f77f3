//! `process.attach`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Data, Fold, Operation, ProcessId, Streaming,
    exec::{Exec, ExecEvent, ExecInput, ExecOutput, ExecResult, OutputFold},
};

/// Listens to a process: what it has printed since `from`, as far as that is kept, and what it prints until it ends.
///
/// Of a process that was detached the newest MiB is kept in memory and, where the sandbox has a disk to write to, 64 MiB more on
/// it; on a terminal the newest 256 KiB. It stays for as long as the process is known, unless others print so much that all
/// together keep more than 32 MiB in memory or 512 MiB on disk: then whoever keeps most gives up its oldest. Of a process that
/// somebody waits for, a listener hears what is printed from now on. What is not kept is reported as a `gap`, and so is what a slow
/// listener misses: he holds up nobody. Listening ends with the connection, and the process does not. The events and the result are
/// those of `exec`.
///
/// As server-sent events each piece has an id, the offset of the byte after it, and a request with that id in `Last-Event-ID`
/// goes on from there.
///
/// Fails with `not_found`, `gone`, `conflict` (`screen` of a process without a terminal), `invalid_request` (`from` is past what has been printed, which `details.output_bytes` tells).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attach {
    /// Its id or name.
    pub process: String,
    /// The first byte to hear. Default: 0, the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Begins with what the terminal shows, as a `screen`, and goes on with what is printed from then on, in place of `from`. It is made from
    /// the output that is kept. Only of a process with `tty`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub screen: bool,
}

impl Operation for Attach {
    const NAME: &'static str = "process.attach";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = ExecResult;

    fn summary(&self) -> String {
        self.process.clone()
    }
}

impl Streaming for Attach {
    type Event = ExecEvent;
    type Input = ExecInput;
    type Fold = OutputFold;
    const RAW: bool = true;

    fn raw(event: &ExecEvent) -> Option<&Bytes> {
        event.stdout()
    }

    fn is_gap(event: &ExecEvent) -> bool {
        matches!(event, ExecEvent::Gap { .. })
    }

    fn gap(from: u64, to: u64) -> Option<ExecEvent> {
        Some(ExecEvent::Gap { from, to })
    }

    fn position(event: &ExecEvent) -> Option<u64> {
        event.end()
    }

    fn process(event: &ExecEvent) -> Option<&ProcessId> {
        event.process()
    }

    fn resume(self, position: u64) -> Option<Self> {
        // The screen was shown already.
        Some(Self { from: Some(position), screen: false, ..self })
    }

    fn event_bytes(event: &mut ExecEvent) -> Option<&mut Data> {
        event.bytes()
    }

    fn input_bytes(input: &mut ExecInput) -> Option<&mut Data> {
        input.bytes()
    }
}

impl Fold<Attach> for OutputFold {
    type Output = ExecOutput;

    fn new(_: &Attach) -> Self {
        Self::default()
    }

    fn push(&mut self, event: ExecEvent) {
        Fold::<Exec>::push(self, event);
    }

    fn size(&self) -> usize {
        Fold::<Exec>::size(self)
    }

    fn freeze(&mut self) {
        Fold::<Exec>::freeze(self);
    }

    fn finish(self, result: ExecResult) -> Self::Output {
        Fold::<Exec>::finish(self, result)
    }
}
