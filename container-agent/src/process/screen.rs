//! What a terminal shows, for a client that attaches late.

use cabana_protocol::{
    Error,
    exec::{ExecEvent, ExecResult, Tty},
};

use super::{Entry, Reader};
use crate::threads::{self, Length};

/// Plays the output that is kept up to this offset, and tells what is then on a terminal of this size, with the end of the process where that
/// has come. The reader goes on from there.
///
/// Of a terminal that has printed more than is kept, what is painted is as much as can be known.
pub(super) async fn paint(output: &mut Reader, size: Tty, end: u64) -> Result<(ExecEvent, Option<ExecResult>), Error> {
    let (mut printed, mut offset, mut ended) = (Vec::new(), 0, None);
    while offset < end {
        match output.next_kept().await {
            Some(Entry::Chunk(chunk)) => {
                offset = chunk.end();
                printed.push(chunk.bytes);
            }
            Some(Entry::Gap { to, .. }) => offset = to,
            Some(Entry::End(result)) => {
                ended = Some(result);
                break;
            }
            None => break,
        }
    }
    let painted = move || {
        let mut terminal = vt100::Parser::new(size.rows.get(), size.cols.get(), 0);
        printed.iter().for_each(|bytes| terminal.process(bytes));
        let screen = terminal.screen();
        let alternate: &[u8] = if screen.alternate_screen() { b"\x1b[?1049h" } else { b"" };
        [alternate, &screen.state_formatted()].concat()
    };
    // Programs print anything: should that be too much for the emulator, it fails this request alone.
    let bytes = threads::run(Length::Short, painted).await?.into();
    Ok((ExecEvent::Screen { offset, cols: size.cols, rows: size.rows, bytes }, ended))
}
