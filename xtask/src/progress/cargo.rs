//! How far cargo is: it draws its bar into a log as well, when told to.

use std::process::Command;

/// Makes cargo, which the command may be or start, draw its bar where no terminal is, and write without colors.
pub(crate) fn enable(command: &mut Command) {
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "100").env("CARGO_TERM_COLOR", "never");
}

/// What cargo says of its own work, by the first word of the line.
const ACTIONS: [&str; 10] =
    ["Blocking", "Checking", "Compiling", "Documenting", "Downloaded", "Downloading", "Finished", "Fresh", "Locking", "Updating"];

/// Whether a line says only what cargo does or how far it is: it is of no use once the command has failed.
pub(crate) fn is_progress(line: &str) -> bool {
    let starts = |action: &str| line.trim_start().strip_prefix(action).is_some_and(|rest| rest.starts_with(' '));
    read(line).is_some() || (line.starts_with(' ') && ACTIONS.into_iter().any(starts))
}

/// What a bar says: `Building [====>   ] 56/187: syn, serde` is `56 of 187 crates`.
pub(crate) fn read(line: &str) -> Option<String> {
    let (action, rest) = line.trim_start_matches("\u{1b}[K").trim().split_once(" [")?;
    let (_, rest) = rest.split_once("] ")?;
    let count = rest.split([':', ',', ' ']).next()?;
    let (done, all) = count.split_once('/')?;
    let (done, all): (u64, u64) = (done.parse().ok()?, all.parse().ok()?);
    match action {
        "Building" => Some(format!("{done} of {all} crates")),
        "Downloading" | "Fetch" => Some(format!("{done} of {all} downloads")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_progress, read};

    #[test]
    fn the_counts_of_a_bar_are_read() {
        let check = |line, expected| assert_eq!(read(line).as_deref(), expected, "{line}");
        check("    Building [=====>             ] 56/187: syn, serde(build)", Some("56 of 187 crates"));
        check("\u{1b}[K    Building [====>  ] 1/2: xtask(bin)", Some("1 of 2 crates"));
        check(" Downloading [==>   ] 3/80", Some("3 of 80 downloads"));
    }

    #[test]
    fn other_lines_are_not_bars() {
        for line in ["   Compiling syn v2.0.0", "error[E0308]: a [b] 1/2", "", "Building [===>] soon", "help: [a] 7/8"] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn what_cargo_does_is_told_from_what_is_wrong() {
        for line in ["    Checking syn v2.0.0", "   Compiling xtask v0.1.0 (/w)", "    Building [==>  ] 3/4: a"] {
            assert!(is_progress(line), "{line}");
        }
        for line in ["error: could not compile `a`", "  --> src/a.rs:1:2", "Checking that a is not b", "     Compilingly"] {
            assert!(!is_progress(line), "{line}");
        }
    }
}
