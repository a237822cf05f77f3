use std::time::Duration;

use bytes::Bytes;
use cabana_protocol::{ProcessId, exec::Exit};
use tokio::time::timeout;

use super::{spool::Spool, *};
use crate::{Limits, memory::Memory, process::Stream};

const PAGE: u64 = PAGE_BYTES as u64;

fn write(journal: &Journal, stream: Stream, bytes: impl Into<Bytes>) {
    let (_, offset) = journal.bounds();
    journal.push(Chunk { stream, offset, bytes: bytes.into() });
}

fn result() -> ExecResult {
    let exit = Some(Exit::Exited { code: 0 });
    ExecResult { process: ProcessId::new("a", 1), exit, duration_ms: 1, session_ended: false, usage: None, pid: None }
}

fn budget(memory: u64, disk: u64) -> Arc<Budget> {
    Arc::new(Budget::new(memory, disk, vec!["/var/tmp".into()]))
}

/// What a reader finds, as text.
async fn read(reader: &mut Reader) -> String {
    let mut seen = Vec::new();
    loop {
        seen.push(match reader.next_kept().await {
            Some(Entry::Chunk(chunk)) => format!("{}:{}", chunk.offset, String::from_utf8_lossy(&chunk.bytes)),
            Some(Entry::Gap { from, to }) => format!("gap {from}-{to}"),
            Some(Entry::End(_)) | None => return seen.join(" "),
        });
    }
}

/// How much a reader finds of what was written, from this offset on. Each byte must be what was written there, and each that is
/// missing must be named.
async fn found(journal: &Journal, from: usize, written: &[(Stream, u8)]) -> usize {
    let (mut reader, mut at, mut found) = (journal.read(from as u64), from, 0);
    loop {
        match reader.next_kept().await {
            Some(Entry::Gap { from, to }) => {
                assert!(from == at as u64 && from < to);
                at = to as usize;
            }
            Some(Entry::Chunk(Chunk { stream, offset, bytes })) => {
                assert_eq!(offset, at as u64);
                let expected = &written[at..at + bytes.len()];
                assert!(bytes.iter().zip(expected).all(|(byte, expected)| (stream, *byte) == *expected), "at {at}");
                (at, found) = (at + bytes.len(), found + bytes.len());
            }
            Some(Entry::End(_)) | None => {
                assert_eq!(at, written.len());
                return found;
            }
        }
    }
}

/// Waits until no page is on its way to disk.
async fn settled(journal: &Journal) {
    while journal.with(|state| state.moving) {
        journal.0.room.notified().await;
    }
}

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test]
async fn any_offset_is_read_or_named_as_missing() {
    let (journal, mut holder) = Journal::attended(None);
    ["abc", "def", "ghi"].into_iter().for_each(|text| write(&journal, Stream::Stdout, text));
    holder.next().await;
    for (from, expected) in [(0, "gap 0-3 3:def 6:ghi"), (3, "3:def 6:ghi"), (4, "4:ef 6:ghi"), (8, "8:i"), (9, ""), (99, "")] {
        assert_eq!(read(&mut journal.read(from)).await, expected, "{from}");
    }
    assert_eq!(journal.bounds(), (3, 9));
}

#[tokio::test]
async fn the_holder_misses_nothing_and_the_rest_is_forgotten() {
    let (journal, mut holder) = Journal::attended(None);
    ["abc", "def"].into_iter().for_each(|text| write(&journal, Stream::Stdout, text));
    assert_eq!(journal.bounds(), (0, 6));
    assert_eq!(read(&mut holder).await, "0:abc 3:def");
    assert_eq!(journal.bounds(), (6, 6));
    drop(holder);
    write(&journal, Stream::Stdout, "ghi");
    assert_eq!(read(&mut journal.read(6)).await, "gap 6-9");
}

#[tokio::test]
async fn what_the_holder_has_heard_stays_a_while_for_those_who_listen() {
    let (journal, mut holder) = Journal::attended(None);
    let mut listener = journal.read(0);
    write(&journal, Stream::Stdout, "abc");
    assert_eq!(read(&mut holder).await, "0:abc");
    assert_eq!(read(&mut listener).await, "0:abc");
    for _ in 0..20_000 {
        write(&journal, Stream::Stdout, "x");
        holder.next().await;
    }
    let (start, end) = journal.bounds();
    assert!((1_000..=1_024).contains(&(end - start)), "{start}-{end}");
    drop(listener);
    assert_eq!(journal.bounds(), (end, end));
}

#[tokio::test]
async fn a_process_waits_for_its_holder_and_for_nobody_else() {
    let large = vec![Bytes::from(vec![b'x'; 1 << 20])];
    let small = vec![Bytes::from_static(b"x"); 4_096];
    for output in [large, small] {
        let (journal, mut holder) = Journal::attended(None);
        let bystander = journal.read(0);
        output.iter().for_each(|piece| write(&journal, Stream::Stdout, piece.clone()));
        assert!(tokio::time::timeout(Duration::ZERO, journal.room()).await.is_err());
        let waiting = tokio::spawn({
            let journal = journal.clone();
            async move { journal.room().await }
        });
        read(&mut holder).await;
        waiting.await.unwrap();
        drop((holder, bystander));
        output.iter().for_each(|piece| write(&journal, Stream::Stdout, piece.clone()));
        journal.room().await;
    }
}

/// What is kept for a caller that may return: so many bytes, and no more than this memory allows.
fn tail(bytes: usize, memory: usize) -> Option<Tail> {
    let limits = Limits { reconnect_bytes: bytes, reconnect_grace: Duration::from_secs(30), ..Limits::default() };
    Some(Tail::new(&limits, [Memory::new(memory).account(), Memory::new(4 << 20).account()]))
}

#[tokio::test]
async fn what_a_caller_may_have_lost_is_kept_behind_it() {
    let (journal, mut holder) = Journal::attended(tail(6, 4 << 20));
    ["abc", "def", "ghi"].into_iter().for_each(|text| write(&journal, Stream::Stdout, text));
    assert_eq!(read(&mut holder).await, "0:abc 3:def 6:ghi");
    assert_eq!(journal.bounds(), (3, 9));
    drop(holder);
    write(&journal, Stream::Stdout, "jkl");
    assert_eq!(read(&mut journal.read(0)).await, "gap 0-3 3:def 6:ghi 9:jkl", "a look changes nothing");
    let mut returned = journal.attach(4);
    assert_eq!(read(&mut returned).await, "4:ef 6:ghi 9:jkl");
    assert_eq!(journal.bounds(), (6, 12));
    journal.end(result());
    drop(returned);
    assert_eq!(read(&mut journal.attach(6)).await, "6:ghi 9:jkl");
}

#[tokio::test(start_paused = true)]
async fn a_process_waits_for_a_caller_that_may_return_until_its_time_is_over() {
    let (journal, holder) = Journal::attended(tail(6, 4 << 20));
    let waits = async || timeout(Duration::from_secs(29), journal.room()).await.is_err();
    let deserted = async || timeout(Duration::from_secs(29), journal.deserted()).await.is_ok();
    (0..9).for_each(|_| write(&journal, Stream::Stdout, vec![b'x'; 64 << 10]));
    drop(holder);
    assert!(waits().await, "nobody reads");
    let mut first = journal.attach(0);
    let other = journal.attach(0);
    assert!(!deserted().await && waits().await);
    read(&mut first).await;
    assert!(!waits().await, "the reader that came first is waited for");
    drop(first);
    assert!(waits().await, "then the other");
    drop(other);
    let look = journal.read(0);
    assert!(!deserted().await, "the time begins when the last is gone");
    assert!(deserted().await, "and who looks does not count");
    journal.renew_grace();
    assert!(!deserted().await, "at the end of the process it begins anew");
    assert!(deserted().await);
    drop(look);
    journal.give_up();
    assert!(!waits().await, "what it still has to say is heard by nobody");
    write(&journal, Stream::Stdout, "rest");
    assert_eq!(journal.bounds(), (9 * (64 << 10) + 4, 9 * (64 << 10) + 4), "and is not kept");
}

#[tokio::test]
async fn memory_that_is_used_up_keeps_less_and_takes_nothing_from_one_who_reads() {
    let (journal, mut holder) = Journal::attended(tail(1 << 20, 64 << 10));
    let pieces = |count| (0..count).for_each(|_| write(&journal, Stream::Stdout, vec![b'x'; 15 << 10]));
    pieces(20);
    assert_eq!(journal.bounds(), (0, 300 << 10));
    read(&mut holder).await;
    assert_eq!(journal.bounds(), (240 << 10, 300 << 10));
    drop(holder);
    pieces(3);
    assert_eq!(journal.bounds(), (285 << 10, 345 << 10), "what waits for one who is gone counts, too");
}

#[tokio::test]
async fn readers_wake_for_what_is_written_and_for_the_end() {
    let journal = Journal::detached(&budget(PAGE, 0), Keep { memory: PAGE, disk: 0 });
    let mut reader = journal.read(0);
    let reading = tokio::spawn(async move { (reader.next().await, reader.next().await, reader.next().await) });
    tokio::task::yield_now().await;
    write(&journal, Stream::Stdout, "abc");
    journal.end(result());
    let (first, second, third) = reading.await.unwrap();
    assert!(matches!(first, Entry::Chunk(_)));
    assert_eq!((second, third), (Entry::End(result()), Entry::End(result())));
}

#[tokio::test]
async fn what_is_kept_is_the_newest_without_a_hole() {
    // Memory and disk of the process, memory and disk of all, and how much must be there in the end: its pages on disk or its
    // memory, and never less.
    for (seed, (keep, all, least)) in [
        ((PAGE, 0), (64 * PAGE, 0), 4 * PAGE / 5),
        ((PAGE, 1), (64 * PAGE, 64 * PAGE), 4 * PAGE / 5),
        ((PAGE, 8 * PAGE), (64 * PAGE, 64 * PAGE), 5 * PAGE),
        ((PAGE, 8 * PAGE), (64 * PAGE, 4 * PAGE), 3 * PAGE),
        ((PAGE, 8 * PAGE), (PAGE, 64 * PAGE), 5 * PAGE),
        ((PAGE, 8 * PAGE), (1, 0), 0),
        ((64 * PAGE, 64 * PAGE), (64 * PAGE, 64 * PAGE), 20 * PAGE),
    ]
    .into_iter()
    .enumerate()
    {
        let journal = Journal::detached(&budget(all.0, all.1), Keep { memory: keep.0, disk: keep.1 });
        let (mut dice, mut written) = (Dice(seed as u64), Vec::new());
        while written.len() < 20 * PAGE_BYTES {
            let stream = if dice.roll(2) == 0 { Stream::Stdout } else { Stream::Stderr };
            let length = if dice.roll(4) == 0 { dice.roll(PAGE) + 1 } else { dice.roll(20) + 1 };
            let bytes: Vec<u8> = (0..length).map(|_| dice.roll(256) as u8).collect();
            written.extend(bytes.iter().map(|byte| (stream, *byte)));
            journal.room().await;
            write(&journal, stream, bytes);
            if dice.roll(200) == 0 {
                found(&journal, dice.roll(written.len() as u64) as usize, &written).await;
            }
        }
        journal.end(result());
        settled(&journal).await;
        let (start, _) = journal.bounds();
        let found = found(&journal, 0, &written).await;
        assert!(found == written.len() - start as usize && found as u64 >= least, "{seed}: {found} bytes are kept");
    }
}

#[tokio::test]
async fn all_together_keep_what_they_may_and_the_largest_gives_up_first() {
    let budget = budget(16 * PAGE, 32 * PAGE);
    let keep = Keep { memory: 8 * PAGE, disk: 32 * PAGE };
    let small = Journal::detached(&budget, keep);
    write(&small, Stream::Stdout, "small");
    let large: Vec<_> = (0..8).map(|_| Journal::detached(&budget, keep)).collect();
    for _ in 0..20 {
        for journal in &large {
            journal.room().await;
            write(journal, Stream::Stdout, vec![b'x'; PAGE_BYTES]);
        }
    }
    for journal in &large {
        journal.room().await;
        settled(journal).await;
    }
    assert!(!budget.is_exceeded());
    assert_eq!(small.bounds(), (0, 5));
    let sizes: Vec<_> = large.iter().map(|journal| journal.with_pages(|pages| (pages.memory(), pages.disk())).unwrap()).collect();
    let (memory, disk): (u64, u64) = sizes.iter().fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    assert!(memory <= 16 * PAGE && disk <= 32 * PAGE, "{sizes:?}");
    assert!(sizes.iter().all(|(memory, disk)| memory + disk >= 4 * PAGE), "none is robbed: {sizes:?}");
    drop(large);
    for _ in 0..20 {
        small.room().await;
        write(&small, Stream::Stderr, vec![b'x'; PAGE_BYTES]);
    }
    assert_eq!(small.bounds().0, 0, "what others kept is free for the next");
}

#[tokio::test]
async fn a_reader_finishes_from_what_was_kept_when_it_is_kept_no_longer() {
    let journal = Journal::detached(&budget(64 * PAGE, 64 * PAGE), Keep { memory: PAGE, disk: 8 * PAGE });
    for _ in 0..6 {
        journal.room().await;
        write(&journal, Stream::Stdout, vec![b'x'; PAGE_BYTES]);
    }
    let mut reader = journal.read(0);
    assert!(matches!(reader.next().await, Entry::Chunk(Chunk { offset: 0, .. })));
    journal.end(result());
    drop(journal);
    let mut end = 0;
    let last = loop {
        match reader.next().await {
            Entry::Chunk(chunk) => end = chunk.end(),
            entry => break entry,
        }
    };
    assert_eq!((end, last), (6 * PAGE, Entry::End(result())));
}

#[tokio::test]
async fn without_a_disk_or_with_a_full_one_the_newest_stays_in_memory() {
    for spool in [Spool::full(), Spool::new(vec!["/nowhere".into()], u64::MAX)] {
        let budget = Arc::new(Budget::with_spool(64 * PAGE, spool));
        let journal = Journal::detached(&budget, Keep { memory: 2 * PAGE, disk: 64 * PAGE });
        for _ in 0..40 {
            journal.room().await;
            write(&journal, Stream::Stdout, vec![b'x'; PAGE_BYTES]);
        }
        settled(&journal).await;
        let (start, end) = journal.bounds();
        assert!((2 * PAGE..=7 * PAGE).contains(&(end - start)), "{start}-{end}");
        assert!(read(&mut journal.read(0)).await.starts_with(&format!("gap 0-{start} ")));
    }
}
