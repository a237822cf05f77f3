//! What the user sees while steps run: one line per step, with what came of it and how long it took.

use anyhow::Result;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// What came of a step that did not fail.
pub(crate) enum Outcome {
    /// Nothing had to be done; the text says what was found.
    Present(String),
    /// The work was done; the text says what there is now.
    Done(String),
}

/// A step under way.
pub(crate) struct Step {
    name: String,
    started: Instant,
    live: bool,
}

impl Step {
    /// Runs `work` as a step called `name` and reports its outcome on standard error.
    pub(crate) fn run<T>(name: &str, work: impl FnOnce(&Self) -> Result<(Outcome, T)>) -> Result<T> {
        let step = Self { name: name.to_owned(), started: Instant::now(), live: stderr().is_terminal() };
        let result = work(&step);
        let (mark, text) = match &result {
            Ok((Outcome::Present(text), _)) => ("-", format!("{text} (already there)")),
            Ok((Outcome::Done(text), _)) => ("+", format!("{text} ({})", seconds(step.started.elapsed()))),
            Err(_) => ("!", format!("failed ({})", seconds(step.started.elapsed()))),
        };
        step.clear();
        say(&format!(" {mark} {name:<18} {text}", name = step.name));
        result.map(|(_, value)| value)
    }

    /// Says what the step does now, when that will take a while.
    pub(crate) fn announce(&self, text: &str) {
        self.clear();
        say(&format!(" . {:<18} {text}", self.name));
    }

    /// On a terminal, shows the time so far and the last line of output, over the previous such line.
    pub(crate) fn tick(&self, last_line: &str) {
        if self.live {
            let line: String = last_line.trim().chars().filter(|c| !c.is_control()).take(90).collect();
            let elapsed = self.started.elapsed().as_secs();
            show(&format!("\r\x1b[K   {:<18} {elapsed:>4} s  {line}", self.name));
        }
    }

    fn clear(&self) {
        if self.live {
            show("\r\x1b[K");
        }
    }
}

/// A time span as people read it: `85 ms`, `1.2 s`, `3 min 20 s`.
pub(crate) fn seconds(span: Duration) -> String {
    match span.as_millis() {
        milliseconds @ 0..1000 => format!("{milliseconds} ms"),
        milliseconds @ 1000..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!("{} min {} s", span.as_secs() / 60, span.as_secs() % 60),
    }
}

/// Tells the user a line on standard error.
pub(crate) fn say(line: &str) {
    show(&format!("{line}\n"));
}

/// A terminal that went away is no reason to stop the work.
fn show(text: &str) {
    let mut screen = stderr().lock();
    let _ = screen.write_all(text.as_bytes()).and_then(|()| screen.flush());
}

#[cfg(test)]
mod tests {
    use super::seconds;
    use std::time::Duration;

    #[test]
    fn spans_read_as_people_say_them() {
        let check = |milliseconds, expected| assert_eq!(seconds(Duration::from_millis(milliseconds)), expected);
        check(0, "0 ms");
        check(999, "999 ms");
        check(1234, "1.2 s");
        check(59_999, "59.9 s");
        check(200_000, "3 min 20 s");
    }
}
