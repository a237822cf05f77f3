//! What the user sees while steps run: one line per step, with its outcome and duration, and how far a long step is.
//!
//! Several steps may run at once, each on its own thread. On a terminal one live line shows all of them; elsewhere a step that takes
//! long writes a line every 15 seconds.

pub(crate) mod cargo;

use anyhow::Result;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// After how long a step first says how far it is, where there is no terminal.
const FIRST_REPORT: Duration = Duration::from_secs(10);
/// How often it says so from then on.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);
/// How often the live line of a terminal is drawn while a step says how far it is, and otherwise.
const FRAME: Duration = Duration::from_millis(100);
const REFRESH: Duration = Duration::from_secs(1);
/// Characters of the live line.
const WIDTH: usize = 110;

/// The outcome of a step that did not fail.
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
}

/// What is known of a running step.
struct Running {
    name: String,
    started: Instant,
    reported: Option<Instant>,
    /// How far it is.
    status: String,
}

/// Standard error, which all steps share.
struct Screen {
    is_terminal: bool,
    running: Vec<Running>,
    drawn: Option<Instant>,
}

static SCREEN: LazyLock<Mutex<Screen>> = LazyLock::new(|| {
    // A step that says nothing for a while is seen to go on all the same. The thread ends with this program.
    thread::spawn(|| {
        loop {
            thread::sleep(REFRESH);
            on_screen(|screen| screen.refresh(Instant::now()));
        }
    });
    Mutex::new(Screen { is_terminal: stderr().is_terminal(), running: Vec::new(), drawn: None })
});

impl Step {
    /// Runs `work` as a step called `name` and reports its outcome on standard error.
    pub(crate) fn run<T>(name: &str, work: impl FnOnce(&Self) -> Result<(Outcome, T)>) -> Result<T> {
        let step = Self { name: name.to_owned(), started: Instant::now() };
        on_screen(|screen| screen.begin(&step));
        let result = work(&step);
        let took = seconds(step.started.elapsed());
        let (mark, text) = match &result {
            Ok((Outcome::Present(text), _)) => ("-", format!("{text} (already there)")),
            Ok((Outcome::Done(text), _)) => ("+", format!("{text} ({took})")),
            Err(_) => ("!", format!("failed ({took})")),
        };
        on_screen(|screen| screen.end(&step, &format!(" {mark} {name:<20} {text}")));
        result.map(|(_, value)| value)
    }

    /// Says what the step does now, when that will take a while.
    pub(crate) fn announce(&self, text: &str) {
        say(&format!(" . {:<20} {text}", self.name));
    }

    /// Says how far the step is: at once on a terminal, now and then elsewhere.
    pub(crate) fn tick(&self, status: &str) {
        on_screen(|screen| screen.update(self, status, Instant::now()));
    }
}

impl Screen {
    fn begin(&mut self, step: &Step) {
        self.running.push(Running { name: step.name.clone(), started: step.started, reported: None, status: String::new() });
    }

    fn end(&mut self, step: &Step, line: &str) {
        self.running.retain(|running| !running.is(step));
        self.say(line);
    }

    fn update(&mut self, step: &Step, status: &str, now: Instant) {
        let Some(running) = self.running.iter_mut().find(|running| running.is(step)) else { return };
        running.status = status.trim().chars().filter(|character| !character.is_control()).collect();
        if self.drawn.is_none_or(|drawn| now.duration_since(drawn) >= FRAME) {
            self.refresh(now);
        }
    }

    /// Shows the live line, or the lines that are due.
    fn refresh(&mut self, now: Instant) {
        if !self.is_terminal {
            let lines: Vec<String> = self.running.iter_mut().filter_map(|running| running.report(now)).collect();
            lines.iter().for_each(|line| self.say(line));
        } else if !self.running.is_empty() {
            self.draw(now);
        }
    }

    fn draw(&mut self, now: Instant) {
        let steps: Vec<String> = self.running.iter().map(|running| running.describe(now)).collect();
        let line: String = steps.join(" | ").chars().take(WIDTH).collect();
        show(&format!("\r\x1b[K   {line}"));
        self.drawn = Some(now);
    }

    fn say(&mut self, line: &str) {
        let clear = if self.drawn.take().is_some() { "\r\x1b[K" } else { "" };
        show(&format!("{clear}{line}\n"));
    }
}

impl Running {
    fn is(&self, step: &Step) -> bool {
        self.name == step.name && self.started == step.started
    }

    fn describe(&self, now: Instant) -> String {
        format!("{} {} s {}", self.name, now.duration_since(self.started).as_secs(), self.status).trim_end().to_owned()
    }

    /// The line that is due now, if any.
    fn report(&mut self, now: Instant) -> Option<String> {
        let due = self.reported.map_or(self.started + FIRST_REPORT, |reported| reported + REPORT_INTERVAL);
        if now < due {
            return None;
        }
        self.reported = Some(now);
        let took = now.duration_since(self.started).as_secs();
        Some(format!(" . {:<20} {took} s: {}", self.name, if self.status.is_empty() { "working" } else { &self.status }))
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

/// Writes a line to standard error, above the live line.
pub(crate) fn say(line: &str) {
    on_screen(|screen| screen.say(line));
}

fn on_screen(work: impl FnOnce(&mut Screen)) {
    work(&mut SCREEN.lock().unwrap_or_else(PoisonError::into_inner));
}

/// A terminal that went away is no reason to stop the work.
fn show(text: &str) {
    let mut screen = stderr().lock();
    let _ = screen.write_all(text.as_bytes()).and_then(|()| screen.flush());
}

#[cfg(test)]
mod tests {
    use super::{Running, seconds};
    use std::time::{Duration, Instant};

    #[test]
    fn durations_are_formatted_by_their_size() {
        let check = |milliseconds, expected| assert_eq!(seconds(Duration::from_millis(milliseconds)), expected);
        check(0, "0 ms");
        check(999, "999 ms");
        check(1234, "1.2 s");
        check(59_999, "59.9 s");
        check(200_000, "3 min 20 s");
    }

    #[test]
    fn a_long_step_reports_after_10_seconds_and_then_every_15() {
        let started = Instant::now();
        let mut running = Running { name: "build".to_owned(), started, reported: None, status: "3 of 9 crates".to_owned() };
        let reports: Vec<u64> =
            (0..45).filter(|second| running.report(started + Duration::from_secs(*second)).is_some()).collect();
        assert_eq!(reports, [10, 25, 40]);
        let line = running.report(started + Duration::from_secs(60)).unwrap();
        assert!(line.contains("build") && line.contains("60 s: 3 of 9 crates"), "{line}");
    }
}
