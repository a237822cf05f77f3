//! Signals as the Docker Engine API spells them.

use cabana_protocol::signal::Signal as SignalName;
use rustix::process::Signal;

/// Reads `SIGTERM`, `term` or `15`. `None` if there is no such signal.
pub fn parse(text: &str) -> Option<Signal> {
    let signal = match text.parse() {
        Ok(number) => SignalName::from_number(number)?,
        Err(_) => text.parse().ok()?,
    };
    Signal::from_named_raw(signal.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_nonsense() {
        let check = |text, expected: Option<i32>| {
            assert_eq!(parse(text).map(|signal| signal.as_raw()), expected, "{text}");
        };
        check("SIGTERM", Some(15));
        check("term", Some(15));
        check("9", Some(9));
        check("SIGWINCH", Some(28));
        check("SIGNOPE", None);
        check("0", None);
        check("32", None);
        check("", None);
    }
}
