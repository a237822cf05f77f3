//! What a session's shell is told, line by line, and what it reports. No line is longer than what a pipe takes at once: whatever
//! could be long is in a file, which the line names.

use std::path::Path;

use cabana_protocol::session::Shell;

use crate::process::tree::MARK;

/// The signal at which the shell drops what it is doing even where a child's end hides an interrupt from it. By number, because C
/// libraries disagree on the first real-time signal.
pub(super) const DROP: i32 = 39;

/// The order in which a command is run.
#[derive(Debug)]
pub(super) struct Order<'a> {
    /// The shell.
    pub(super) shell: Shell,
    /// The session's directory.
    pub(super) directory: &'a Path,
    /// The number of the run, by which its reports are known.
    pub(super) run: u64,
    /// What marks all that it starts.
    pub(super) mark: &'a str,
    /// Whether `$?` is to be restored first.
    pub(super) restores_status: bool,
    /// Whether there are scripts to be run before and after.
    pub(super) surrounded: bool,
    /// Whether it reads anything.
    pub(super) reads: bool,
}

impl Order<'_> {
    /// The lines. Each is dropped by the shell when an interrupt hits it, but not those after it.
    pub(super) fn lines(&self) -> String {
        let Self { shell, directory, run, mark, .. } = self;
        let report = report(*shell, directory, *run, 0);
        let directory = directory.display();
        let input = if self.reads { "" } else { " </dev/null" };
        let mut order = format!("\\command . {directory}/run{input} >|{directory}/out 2>|{directory}/err");
        if self.restores_status {
            order = format!("{{ \\command . {directory}/last || {order}; }}");
        }
        if self.surrounded {
            order = format!("{{ \\command . {directory}/before 2>|{directory}/err && {order}; }}");
        }
        if self.reads {
            // A FIFO may be closed on one side only once it has been opened on the other.
            order = format!("{{ \\command echo {run} open >|{directory}/status; {order}; }} <{directory}/in");
        }
        let restore = if self.surrounded { restore(*shell, self.directory, *run) } else { String::new() };
        format!("\\command export {MARK}={mark} || \\command :\n{order}\n{report}{restore}")
    }

    /// The number of the last report, if nothing is interrupted.
    pub(super) fn reports(&self) -> u64 {
        u64::from(self.surrounded)
    }
}

/// Puts back what a command had for itself.
fn restore(shell: Shell, directory: &Path, run: u64) -> String {
    format!("\\command . {}/after\n{}", directory.display(), report(shell, directory, run, 1))
}

/// Reports `$?`.
///
/// After a script that ended within `$(`, the parser of an interactive bash 5.2 writes where it must not as soon as it reads a double
/// quote. A syntax error, which nobody sees, has it forget what that script has left behind.
fn report(shell: Shell, directory: &Path, run: u64, report: u64) -> String {
    let status = directory.join("status");
    let status = status.display();
    match shell {
        Shell::Bash => format!(
            "cabana_status=$?\n\\command eval \\) || \\command :\n\\command echo {run} {report} \"$cabana_status\" >|{status}; \\command unset cabana_status\n"
        ),
        Shell::Sh => format!("\\command echo {run} {report} \"$?\" >|{status}\n"),
    }
}

/// Asks for a report, once the shell has put back what an interrupt may have left: its traps, and what the command had for itself.
/// None of that ends a shell that ends at errors.
pub(super) fn ask(shell: Shell, directory: &Path, run: u64, number: u64, surrounded: bool) -> String {
    let report = report(shell, directory, run, number);
    let directory = directory.display();
    let after = if surrounded { format!("\\command . {directory}/after || \\command :\n") } else { String::new() };
    format!("\\command . {directory}/traps || \\command :; \\command : >|{directory}/traps\n{after}{report}")
}

/// The first line, and the request to report that it has been read.
pub(super) fn first(shell: Shell, directory: &Path) -> String {
    format!("\\command . {}/start\n{}", directory.display(), report(shell, directory, 0, 0))
}

/// Something that the shell reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// This run has opened what it reads.
    Opened {
        /// Which run.
        run: u64,
    },
    /// The shell has come to this point.
    Reached {
        /// Which run.
        run: u64,
        /// Which of its reports.
        report: u64,
        /// `$?`.
        status: i32,
    },
}

impl Report {
    /// Reads a line; `None` for what no shell of ours has written.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let run = words.next()?.parse().ok()?;
        match (words.next()?, words.next(), words.next()) {
            ("open", None, _) => Some(Self::Opened { run }),
            (report, Some(status), None) => {
                Some(Self::Reached { run, report: report.parse().ok()?, status: status.parse().ok()? })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_and_nothing_else() {
        for (line, expected) in [
            ("3 open", Some(Report::Opened { run: 3 })),
            ("3 0 127", Some(Report::Reached { run: 3, report: 0, status: 127 })),
            ("", None),
            ("3", None),
            ("3 0", None),
            ("3 0 1 2", None),
            ("x 0 1", None),
            ("3 open 1", None),
        ] {
            assert_eq!(Report::parse(line.as_bytes()), expected, "{line:?}");
        }
    }
}
