//! A page of what a process has printed.

use cabana_protocol::{Data, process::Log};

use super::{Chunk, Entry, Journal, Stream};

/// How much of the output a failed wait tells.
const TAIL_BYTES: u64 = 4 << 10;

/// What is kept from this offset on, at most so many bytes of it. It ends before the next gap.
pub(super) async fn page(journal: &Journal, from: u64, most: usize) -> Log {
    // In this order: how much was printed in all is known for sure once the end is known.
    let exit = journal.result().and_then(|result| result.exit);
    let (_, output_bytes) = journal.bounds();
    let (mut from, mut room, mut reader) = (from, most, journal.read(from));
    let (mut stdout, mut stderr, mut to) = (Vec::new(), Vec::new(), from);
    while room > 0 && to < output_bytes {
        match reader.next_kept().await {
            Some(Entry::Chunk(Chunk { stream, offset, bytes })) => {
                let piece = &bytes[..cut(&bytes, room)];
                if stream == Stream::Stdout { &mut stdout } else { &mut stderr }.extend_from_slice(piece);
                (to, room) = (offset + piece.len() as u64, room - piece.len());
                if piece.len() < bytes.len() {
                    break;
                }
            }
            Some(Entry::Gap { to: next, .. }) if from == to => (from, to) = (next, next),
            Some(Entry::Gap { .. } | Entry::End(_)) | None => break,
        }
    }
    Log { from, to, output_bytes: output_bytes.max(to), stdout: stdout.into(), stderr: stderr.into(), exit }
}

/// The end of what is kept, stdout and stderr as they came, from the beginning of a line on.
pub(super) async fn tail(journal: &Journal) -> Data {
    let (first, end) = journal.bounds();
    let from = end.saturating_sub(TAIL_BYTES).max(first);
    let (mut reader, mut tail, mut to) = (journal.read(from), Vec::new(), from);
    while to < end {
        match reader.next_kept().await {
            Some(Entry::Chunk(Chunk { offset, bytes, .. })) => {
                tail.extend_from_slice(&bytes);
                to = offset + bytes.len() as u64;
            }
            Some(Entry::Gap { to: next, .. }) => to = next,
            Some(Entry::End(_)) | None => break,
        }
    }
    let cut = if from > 0 { tail.iter().position(|byte| *byte == b'\n').map_or(0, |line_break| line_break + 1) } else { 0 };
    tail.split_off(cut).into()
}

/// How much of this fits, without cutting a character in two: half a character would turn all the text into base64.
fn cut(bytes: &[u8], room: usize) -> usize {
    if bytes.len() <= room {
        return bytes.len();
    }
    let torn = (0..room.min(4)).find(|back| bytes[room - back] & 0xc0 != 0x80);
    torn.map_or(room, |back| room - back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_leaves_characters_whole() {
        let text = "a\u{1f30a}b".as_bytes();
        for (room, expected) in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 5), (6, 6), (7, 6)] {
            assert_eq!(cut(text, room), expected, "{room}");
        }
        assert_eq!(cut(&[0x80; 10], 5), 5, "what is no text is cut anywhere");
        assert_eq!(cut(&text[1..], 2), 2, "some progress is made");
    }
}
