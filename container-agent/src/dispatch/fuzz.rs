//! Fuzzing of what operations are asked and what they say.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is told by a panic")]

use arbitrary::Unstructured;
use bytes::Bytes;
use cabana_protocol::{
    Code, Data, Fold, Operation, ProcessId, Streaming,
    exec::{Exec, ExecEvent, ExecOutput, ExecResult, OutputFold, omission},
    line::{Line, LineOf},
    operations,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Encoding, RawOutput, decode, encode, encoder::Encoder};

/// The most that the message of an error adds to what it says of the request.
const MESSAGE_BYTES: usize = 1_000;

macro_rules! read_as {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        |name: &str, body: &[u8]| match name {
            $(<$call as Operation>::NAME => read::<$call>(body),)*
            $(<$stream as Operation>::NAME => {
                read::<$stream>(body);
                read::<<$stream as Streaming>::Input>(body);
            })*
            _ => {}
        }
    };
}

/// An operation's name, a line break, and its request or input: it is refused as it must be, or means the same when it is written
/// and read again.
pub fn request(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(name) = std::str::from_utf8(&bytes[..end]) else { return };
    operations!(read_as)(name, &bytes[end + 1..]);
}

fn read<T: Serialize + DeserializeOwned>(body: &[u8]) {
    match decode::<T>(body) {
        Ok(request) => {
            let written = encode(&request).unwrap();
            assert_eq!(encode(&decode::<T>(&written).unwrap()).unwrap(), written);
        }
        Err(error) => {
            assert_eq!(error.code, Code::InvalidRequest);
            assert!(error.message.len() <= body.len() + MESSAGE_BYTES, "{error}");
        }
    }
}

/// Output in pieces: whatever they are, every form carries them exactly, and a fold keeps its ends.
pub fn output(bytes: &[u8]) {
    // Only an input that has come to its end is an error.
    let _ = play(&mut Unstructured::new(bytes));
}

fn play(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let limit = input.int_in_range(0..=64)?;
    let mut fold = <OutputFold as Fold<Exec>>::new(&Exec { max_output_bytes: Some(limit), ..Exec::new("") });
    let mut encoder = Encoder::new(Encoding::Lines);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while !input.is_empty() {
        let (to_stdout, length) = (input.arbitrary()?, input.int_in_range(0..=40)?);
        let piece = Bytes::copy_from_slice(input.bytes(usize::min(length, input.len()))?);
        let (mut runs, whole) = (Vec::new(), piece.clone());
        for run in Data::runs(piece) {
            runs.extend_from_slice(&run.0);
            let offset = (stdout.len() + stderr.len()) as u64;
            let event = match to_stdout {
                true => ExecEvent::Stdout { offset, bytes: run },
                false => ExecEvent::Stderr { offset, bytes: run },
            };
            said(&mut encoder, &event);
            Fold::<Exec>::push(&mut fold, event);
        }
        assert_eq!(runs, whole);
        if to_stdout { &mut stdout } else { &mut stderr }.extend_from_slice(&whole);
    }
    let result =
        ExecResult { process: ProcessId::new("a", 1), exit: None, duration_ms: 0, session_ended: false, usage: None, pid: None };
    let output: ExecOutput = Fold::<Exec>::finish(fold, result);
    assert_eq!((output.stdout_bytes, output.stderr_bytes), (stdout.len() as u64, stderr.len() as u64));
    let limit = usize::try_from(limit).unwrap();
    assert_eq!(output.truncated, stdout.len() > limit || stderr.len() > limit);
    // Without the mark where it was cut, whose place no byte of the output tells.
    let kept = |shown: &[u8], whole: &[u8]| {
        whole.len() <= limit && shown == whole || (0..=limit).any(|at| unmarked(shown, whole, at, limit))
    };
    assert!(kept(&output.stdout.0, &stdout) && kept(&output.stderr.0, &stderr), "{output:?}");
    Ok(())
}

/// What is written is what the protocol writes, and reads back.
fn said(encoder: &mut Encoder, event: &ExecEvent) {
    let RawOutput::Event(line, _) = encoder.encode::<Exec>(Line::Event(event.clone())) else { panic!("not an event") };
    let json = line.strip_suffix(b"\n").unwrap();
    assert!(!json.contains(&b'\n') && json == serde_json::to_vec(event).unwrap());
    assert_eq!(LineOf::<Exec>::decode(json).unwrap(), Line::Event(event.clone()));
}

/// Whether this is the two ends of the whole, with a mark at this place or none.
fn unmarked(shown: &[u8], whole: &[u8], at: usize, limit: usize) -> bool {
    let mark = (0..=7).map(|torn| omission((whole.len() - limit.min(whole.len()) + torn) as u64));
    let rest = mark.filter_map(|mark| Some([shown.get(..at)?, shown.get(at..)?.strip_prefix(mark.as_bytes())?].concat()));
    rest.chain([shown.to_vec()]).any(|kept| ends(&kept, whole, limit))
}

/// Whether this is the whole, or its two ends without what may belong to a torn character.
fn ends(kept: &[u8], whole: &[u8], limit: usize) -> bool {
    const TORN: usize = 3;
    let (head, tail) = (limit / 2, limit - limit / 2);
    kept == whole
        || whole.len() > limit
            && (head.saturating_sub(TORN)..=head).any(|head| {
                kept.len() >= head
                    && kept.len() - head + TORN >= tail
                    && kept.len() - head <= tail
                    && kept[..head] == whole[..head]
                    && whole.ends_with(&kept[head..])
            })
}
