//! How far a copy is, on a terminal.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often the line is drawn.
const DRAW: Duration = Duration::from_millis(100);

/// A line on stderr that says how much has been copied, how fast, and how long the rest takes. Nothing where stderr is no terminal.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    is_shown: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    started: Instant,
    drawn: Option<Instant>,
    done: u64,
    total: Option<u64>,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        let state = State { started: Instant::now(), drawn: None, done: 0, total: None };
        Self { is_shown: !json && stderr().is_terminal(), state: Arc::new(Mutex::new(state)) }
    }

    /// Says how much there is in all.
    pub(super) fn expect(&self, bytes: u64) {
        let mut state = self.state();
        state.total = Some(state.total.unwrap_or(0) + bytes);
    }

    /// Counts what has been copied.
    pub(super) fn add(&self, bytes: u64) {
        let mut state = self.state();
        state.done += bytes;
        let now = Instant::now();
        if self.is_shown && state.drawn.is_none_or(|drawn| now.duration_since(drawn) >= DRAW) {
            state.drawn = Some(now);
            draw(&line(state.done, state.total, now.duration_since(state.started)));
        }
    }

    /// Draws the last line.
    pub(super) fn finish(&self) {
        let state = self.state();
        if self.is_shown && state.done > 0 {
            draw(&line(state.done, state.total, state.started.elapsed()));
            let _ = writeln!(stderr());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Draws over the line. A copy does not fail because nobody sees how far it is.
fn draw(line: &str) {
    let _ = write!(stderr(), "\r\u{1b}[K{line}");
}

fn line(done: u64, total: Option<u64>, took: Duration) -> String {
    let rate = (done as f64 / took.as_secs_f64().max(0.001)) as u64;
    let (shown, rate_shown) = (size(done), size(rate));
    match total.filter(|total| *total > 0) {
        None => format!("{shown}  {rate_shown}/s"),
        Some(total) => {
            let left = Duration::from_secs(total.saturating_sub(done) / rate.max(1));
            let percent = done.min(total) * 100 / total;
            format!("{percent:>3} %  {shown} of {}  {rate_shown}/s  {} left", size(total), humantime::format_duration(left))
        }
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len() - 1).find(|unit| bytes >> (10 * (unit + 1)) == 0).unwrap_or(UNITS.len() - 1);
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / f64::powi(1024.0, i32::try_from(unit).unwrap_or(0)), UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::{line, size};
    use std::time::Duration;

    #[test]
    fn sizes_are_short() {
        for (bytes, expected) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn the_line_says_how_fast_and_how_long() {
        let second = Duration::from_secs(1);
        assert_eq!(line(1 << 20, Some(4 << 20), second), " 25 %  1.0 MiB of 4.0 MiB  1.0 MiB/s  3s left");
        assert_eq!(line(512, None, second), "512 B  512 B/s");
        assert_eq!(line(0, Some(0), Duration::ZERO), "0 B  0 B/s");
    }
}
