//! Fuzzing of journals: some of them under one budget, written, read from anywhere and ended in whatever order, beside a plain list of
//! what was written. Every reader hears each byte once, or hears that it is missing, and a holder misses none.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is told by a panic")]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use bytes::Bytes;
use cabana_protocol::ProcessId;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::process::Stream;

/// Most steps of one input, most readers of a journal, and most pages that it or all may keep: an input takes milliseconds.
const STEPS: usize = 200;
const READERS: usize = 6;
const PAGES: u64 = 5;

/// The longest chunk.
const LONGEST: usize = 2 * PAGE_BYTES;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime starts");
}

/// Plays the steps that these bytes spell.
pub fn journal(bytes: &[u8]) {
    // Only an input that has come to its end is an error.
    RUNTIME.with(|runtime| runtime.block_on(play(&mut Unstructured::new(bytes)))).unwrap_or_default();
}

async fn play(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (memory, disk) = (pages(input)?, pages(input)?);
    let budget = Arc::new(Budget::new(memory, disk, vec!["/var/tmp".into()]));
    let count = input.int_in_range(1..=3)?;
    let mut all: Vec<_> = (0..count).map(|_| Written::begin(&budget, input)).collect::<Result<_, _>>()?;
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let index = input.choose_index(all.len())?;
        all[index].step(input).await?;
    }
    for written in &mut all {
        written.settle().await;
    }
    for written in &mut all {
        written.finish().await;
    }
    Ok(())
}

fn pages(input: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    Ok(input.int_in_range(0..=PAGES)? * PAGE_BYTES as u64)
}

/// A journal and what it should hold.
struct Written {
    journal: Journal,
    text: Text,
    ended: bool,
    readers: Vec<Place>,
}

/// What was written. What a byte is depends on its offset alone, so that only the streams have to be noted: where each run ends.
#[derive(Default)]
struct Text {
    runs: Vec<(Stream, usize)>,
}

impl Text {
    fn len(&self) -> usize {
        self.runs.last().map_or(0, |(_, end)| *end)
    }

    /// Adds a run, and gives its bytes.
    fn write(&mut self, stream: Stream, length: usize) -> &'static [u8] {
        let (start, end) = (self.len(), self.len() + length);
        match self.runs.last_mut() {
            Some((last, last_end)) if *last == stream => *last_end = end,
            _ => self.runs.push((stream, end)),
        }
        bytes_at(start, length)
    }

    fn holds(&self, stream: Stream, start: usize, bytes: &[u8]) -> bool {
        let run = self.runs.partition_point(|(_, end)| *end <= start);
        let within = |(run, end): &(Stream, usize)| *run == stream && start + bytes.len() <= *end;
        self.runs.get(run).is_some_and(within) && bytes_at(start, bytes.len()) == bytes
    }
}

/// The bytes of a journal from this offset on.
fn bytes_at(start: usize, length: usize) -> &'static [u8] {
    // A prime, so that no page looks like another.
    const PERIOD: usize = 251;
    static BYTES: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..LONGEST + PERIOD).map(|at| u8::try_from(at % PERIOD).expect("it is below 251")).collect());
    &BYTES[start % PERIOD..][..length]
}

struct Place {
    reader: Reader,
    at: usize,
    holds: bool,
}

impl Written {
    fn begin(budget: &Arc<Budget>, input: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let (journal, readers) = if input.arbitrary()? {
            let (journal, reader) = Journal::attended(None);
            (journal, vec![Place { reader, at: 0, holds: true }])
        } else {
            (Journal::detached(budget, Keep { memory: pages(input)?, disk: pages(input)? }), Vec::new())
        };
        Ok(Self { journal, text: Text::default(), ended: false, readers })
    }

    async fn step(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        match input.int_in_range(0..=9)? {
            0..=4 if !self.ended => self.push(input).await,
            5 if self.readers.len() < READERS => self.open(input),
            6 if !self.readers.is_empty() => {
                self.readers.swap_remove(input.choose_index(self.readers.len())?);
                Ok(())
            }
            7 if input.ratio(1, 8)? => {
                self.end();
                Ok(())
            }
            _ => self.read(input).await,
        }
    }

    async fn push(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let most = if input.arbitrary()? { 20 } else { LONGEST };
        let (stream, length) = (stream(input.arbitrary()?), input.int_in_range(1..=most)?);
        // As the process does, which waits for whoever holds it.
        while !self.journal.has_room() {
            match self.readers.iter_mut().find(|place| place.holds) {
                Some(holder) => assert!(holder.advance(&self.text, self.ended).await),
                None => self.journal.room().await,
            }
        }
        let offset = self.text.len();
        let bytes = self.text.write(stream, length);
        self.journal.push(Chunk { stream, offset: offset as u64, bytes: Bytes::from_static(bytes) });
        self.journal.move_surplus();
        assert_eq!(self.journal.bounds().1, self.text.len() as u64);
        Ok(())
    }

    fn open(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let at = input.int_in_range(0..=self.text.len())?;
        self.readers.push(Place { reader: self.journal.read(at as u64), at, holds: false });
        Ok(())
    }

    async fn read(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        if !self.readers.is_empty() {
            let (index, count) = (input.choose_index(self.readers.len())?, input.int_in_range(1..=20)?);
            for _ in 0..count {
                if !self.readers[index].advance(&self.text, self.ended).await {
                    break;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            let result = ExecResult {
                process: ProcessId::new("a", 1),
                exit: None,
                duration_ms: 0,
                session_ended: false,
                usage: None,
                pid: None,
            };
            self.journal.end(result);
        }
    }

    /// Waits until no page is on its way to disk.
    async fn settle(&mut self) {
        while self.journal.with(|state| state.moving) {
            self.journal.0.room.notified().await;
        }
    }

    /// Everybody reads to the end, and who comes then finds what is kept in one piece.
    async fn finish(&mut self) {
        self.end();
        for place in &mut self.readers {
            while place.advance(&self.text, true).await {}
        }
        self.readers.clear();
        let start = usize::try_from(self.journal.bounds().0).unwrap();
        let mut late = Place { reader: self.journal.read(start as u64), at: start, holds: true };
        while late.advance(&self.text, true).await {}
    }
}

impl Place {
    /// Reads an entry; false when there is none, or it is the end.
    async fn advance(&mut self, text: &Text, ended: bool) -> bool {
        match self.reader.next_kept().await {
            Some(Entry::Chunk(Chunk { stream, offset, bytes })) => {
                assert_eq!(offset, self.at as u64);
                assert!(!bytes.is_empty() && text.holds(stream, self.at, &bytes));
                self.at += bytes.len();
                true
            }
            Some(Entry::Gap { from, to }) => {
                assert!(!self.holds && from == self.at as u64 && from < to && to <= text.len() as u64, "{from} to {to}");
                self.at = usize::try_from(to).unwrap();
                true
            }
            Some(Entry::End(_)) => {
                assert!(ended && self.at == text.len());
                false
            }
            None => {
                assert!(!ended && self.at == text.len());
                false
            }
        }
    }
}

fn stream(stdout: bool) -> Stream {
    if stdout { Stream::Stdout } else { Stream::Stderr }
}
