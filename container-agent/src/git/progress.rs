//! How far git says it has come.

use cabana_protocol::git::TransferEvent;

/// Longest line that may tell of progress.
const LINE_BYTES: usize = 256;

/// Reads what git writes while it transfers: lines that end in a carriage return, to be overwritten.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The beginning of a line; what is too long for a line is cut.
    line: Vec<u8>,
}

impl Progress {
    /// Takes some of stderr, and tells of each step in it.
    pub(super) fn read(&mut self, bytes: &[u8], mut tell: impl FnMut(TransferEvent)) {
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    std::str::from_utf8(&self.line).ok().and_then(step).into_iter().for_each(&mut tell);
                    self.line.clear();
                }
                byte if self.line.len() < LINE_BYTES => self.line.push(*byte),
                _ => {}
            }
        }
    }
}

/// Reads `Receiving objects:  45% (9/20), 1.00 MiB`. The remote's own lines are passed on by git, so that only what has this form, in
/// letters, is taken.
fn step(line: &str) -> Option<TransferEvent> {
    let (phase, rest) = line.strip_prefix("remote: ").unwrap_or(line).split_once(": ")?;
    let (percent, rest) = rest.split_once("% (")?;
    let (done, total) = rest.split_once(')')?.0.split_once('/')?;
    let plain = !phase.is_empty() && phase.chars().all(|char| char.is_ascii_alphabetic() || char == ' ');
    let numbers = (percent.trim().parse::<u8>().ok()?, done.parse().ok()?, total.parse().ok()?);
    let (_, done, total) = numbers;
    plain.then(|| TransferEvent::Progress { phase: phase.to_owned(), done, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_found_however_they_arrive() {
        let text = "Cloning into 'x'...\nremote: Counting objects:  50% (1/2)\rremote: \x1b[1mWin: 1% (1/2)\r\
                    Receiving objects: 100% (20/20), 1.00 MiB | 2 MiB/s, done.\nReceiving objects: many% (a/b)\n";
        let expected = [("Counting objects", 1, 2), ("Receiving objects", 20, 20)];
        let expected = expected.map(|(phase, done, total)| TransferEvent::Progress { phase: phase.to_owned(), done, total });
        for size in [1, 7, 1_000] {
            let (mut progress, mut steps) = (Progress::default(), Vec::new());
            text.as_bytes().chunks(size).for_each(|piece| progress.read(piece, |step| steps.push(step)));
            assert_eq!(steps, expected, "in pieces of {size}");
        }
    }
}
