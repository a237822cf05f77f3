//! How far cargo is: it draws its bar into a log as well, when told to.

use std::process::Command;

/// Makes cargo, which the command may be or start, draw its bar where no terminal is, and write without colors.
pub(crate) fn enable(command: &mut Command) {
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "100").env("CARGO_TERM_COLOR", "never");
}

/// Whether a line is nothing but a bar: it is of no use once it has been drawn over.
pub(crate) fn is_bar(line: &str) -> bool {
    read(line).is_some()
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
    use super::read;

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
}
