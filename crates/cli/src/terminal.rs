//! The terminal that this program runs on.

use cabana_client::protocol::exec::{Cells, Tty};

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{Hidden, Raw, Resizes, Signals, window};

/// The size of the terminal, or the usual one where there is none.
pub(crate) fn size() -> Tty {
    let (cols, rows) = window().unwrap_or((80, 24));
    let cells = |count: u16, usual: u64| Cells::new(count.into()).or_else(|| Cells::new(usual));
    match (cells(cols, 80), cells(rows, 24)) {
        (Some(cols), Some(rows)) => Tty { cols, rows },
        _ => unreachable!("80 and 24 are sizes"),
    }
}
