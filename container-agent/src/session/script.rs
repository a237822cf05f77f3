//! What a session's shell is told: a command as scripts in files, the lines that have it run them, and the reports that come back.
//!
//! No line is longer than what a pipe takes at once: whatever could be long is in a file, which the line names.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use cabana_protocol::{
    Error,
    exec::{Command, Exec},
    names::invalid_field,
    session::Shell,
};

use crate::process::{Processes, command, tree::MARK};

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
    /// Whether its stderr is its stdout.
    pub(super) merges_stderr: bool,
}

impl Order<'_> {
    /// The lines. Each is dropped by the shell when an interrupt hits it, but not those after it.
    pub(super) fn lines(&self) -> String {
        let Self { shell, directory, run, mark, .. } = self;
        let (report, guard) = (report(*shell, directory, *run, 0), guard(*shell));
        let directory = directory.display();
        let input = if self.reads { "" } else { " </dev/null" };
        let (errors, same) = if self.merges_stderr { ("out", "2>&1".to_owned()) } else { ("err", format!("2>|{directory}/err")) };
        let mut order = format!("{guard} . {directory}/run{input} >|{directory}/out {same}");
        if self.restores_status {
            order = format!("{{ {guard} . {directory}/last || {order}; }}");
        }
        if self.surrounded {
            order = format!("{{ {guard} . {directory}/before 2>|{directory}/{errors} && {order}; }}");
        }
        if self.reads {
            // A FIFO may be closed on one side only once it has been opened on the other.
            order = format!("{{ {guard} echo {run} open >|{directory}/status; {order}; }} <{directory}/in");
        }
        let restore = if self.surrounded { restore(*shell, self.directory, *run) } else { String::new() };
        format!("{}{guard} export {MARK}={mark} || {guard} :\n{order}\n{report}{restore}", unguard(*shell))
    }

    /// The number of the last report, if nothing is interrupted.
    pub(super) fn reports(&self) -> u64 {
        u64::from(self.surrounded)
    }
}

/// What goes before a builtin, so that the shell takes no function of the caller's for it, and does not end when the builtin fails.
fn guard(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => "\\builtin command",
        // `builtin` is bash's own.
        Shell::Sh => "\\command",
    }
}

/// A line that makes sure that the [`guard`] itself is no function. In POSIX shells `unset` cannot be one.
fn unguard(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => "",
        Shell::Sh => "\\unset -f command\n",
    }
}

/// Puts back what a command had for itself.
fn restore(shell: Shell, directory: &Path, run: u64) -> String {
    format!("{} . {}/after\n{}", guard(shell), directory.display(), report(shell, directory, run, 1))
}

/// Reports `$?`.
///
/// After a script that ended within `$(`, the parser of an interactive bash 5.2 writes where it must not as soon as it reads a double
/// quote. A syntax error, which nobody sees, has it forget what that script has left behind. Only `command` as the first word keeps that
/// error from ending a shell that ends at errors.
fn report(shell: Shell, directory: &Path, run: u64, report: u64) -> String {
    let status = directory.join("status");
    let (status, guard) = (status.display(), guard(shell));
    let prepare = match shell {
        Shell::Bash => "\\command eval \\) || \\builtin :\n",
        Shell::Sh => unguard(shell),
    };
    format!("cabana_status=$?\n{prepare}{guard} echo {run} {report} \"$cabana_status\" >|{status}; {guard} unset cabana_status\n")
}

/// Asks for a report, once the shell has put back what an interrupt may have left: its traps, and what the command had for itself.
/// None of that ends a shell that ends at errors.
pub(super) fn ask(shell: Shell, directory: &Path, run: u64, number: u64, surrounded: bool) -> String {
    let (report, guard) = (report(shell, directory, run, number), guard(shell));
    let directory = directory.display();
    let after = if surrounded { format!("{guard} . {directory}/after || {guard} :\n") } else { String::new() };
    let unguard = unguard(shell);
    format!("{unguard}{guard} . {directory}/traps || {guard} :; {guard} : >|{directory}/traps\n{after}{report}")
}

/// The first line, and the request to report that it has been read.
pub(super) fn first(shell: Shell, directory: &Path) -> String {
    format!("{} . {}/start\n{}", guard(shell), directory.display(), report(shell, directory, 0, 0))
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

/// A command, checked.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    cwd: Option<PathBuf>,
    env: BTreeMap<String, Option<String>>,
}

/// The names of all files that a command may have.
pub(super) const FILES: [&str; 5] = ["before", "after", "run", "script", "last"];

/// The files of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// Each by its name.
    pub(super) scripts: Vec<(&'static str, String)>,
    /// Whether those before and after are among them.
    pub(super) surrounded: bool,
}

/// How a shell is started that reads commands, no matter what it reads them from.
pub(super) fn arguments(shell: Shell) -> Vec<String> {
    let arguments: &[&str] = match shell {
        Shell::Bash => &["bash", "--norc", "--noprofile", "--noediting", "+H", "+o", "history", "-i"],
        Shell::Sh => &["sh", "-i"],
    };
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

/// What the shell does first: forget what only people need, and learn to drop what it is doing. A caller's own trap of SIGINT would
/// keep the interrupt from that, so it is put aside, to be set again with the other traps.
pub(super) fn start(shell: Shell, directory: &Path) -> String {
    let (directory, guard) = (directory.display(), guard(shell));
    let prompting = match shell {
        Shell::Bash => "\\builtin unset PROMPT_COMMAND MAILCHECK HISTFILE TMOUT OLDPWD\n\\builtin shopt -u checkwinsize\n",
        Shell::Sh => "\\command unset MAIL MAILPATH OLDPWD\n",
    };
    format!(
        "PS1= PS2=\n{prompting}\
         {guard} trap '{guard} trap >>{directory}/traps; {guard} trap - INT; {guard} kill -INT \"$$\"' {DROP}\n"
    )
}

impl Script {
    /// Checks what is to be run.
    ///
    /// Fails with `invalid_request`.
    pub(super) fn new(request: &Exec) -> Result<Self, Error> {
        let text = match &request.command {
            Command::Shell(script) => script.clone(),
            Command::Argv(argv) => argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
        };
        check_names(&request.env)?;
        Ok(Self { text, cwd: None, env: request.env.clone() })
    }

    /// What changes the shell itself: its directory, which is checked, and its variables.
    ///
    /// Fails with `invalid_request`.
    pub(super) fn update(shell: Shell, cwd: Option<&Path>, env: &BTreeMap<String, Option<String>>) -> Result<Self, Error> {
        check_names(env)?;
        let guard = guard(shell);
        let mut text = String::new();
        for (name, value) in env {
            let _ = match value {
                Some(value) => writeln!(text, "{guard} export {name}={} || {guard} return 1", quote(value)),
                None => writeln!(text, "{guard} unset {name} || {guard} return 1"),
            };
        }
        if let Some(cwd) = cwd {
            let _ = writeln!(text, "{guard} cd -- {}", quote(&cwd.to_string_lossy()));
        }
        Ok(Self { text, cwd: None, env: BTreeMap::new() })
    }

    /// Tells the shell's directory and its exported variables, each with a NUL behind it.
    pub(super) fn state(shell: Shell) -> Self {
        let guard = guard(shell);
        let text = format!("{guard} pwd && {guard} printf '\\0' && {guard} -p env -0\n");
        Self { text, cwd: None, env: BTreeMap::new() }
    }

    /// Has it run in this directory, which is checked. Blocks for as long as the file system takes.
    ///
    /// Fails with `not_found`, `conflict`, `forbidden`.
    pub(super) fn in_directory(self, cwd: &str, processes: &Processes) -> Result<Self, Error> {
        Ok(Self { cwd: Some(command::directory(processes.home(), Some(cwd))?), ..self })
    }

    /// The files for this shell.
    pub(super) fn files(self, shell: Shell, directory: &Path) -> Files {
        let surrounded = self.cwd.is_some() || (shell == Shell::Bash && !self.env.is_empty());
        let mut scripts = Vec::new();
        if surrounded {
            scripts.extend([("before", self.before(shell, directory)), ("after", self.after(shell, directory))]);
        }
        match shell {
            Shell::Sh if !self.env.is_empty() => {
                scripts.extend([("run", self.assigned(directory)), ("script", self.text)]);
            }
            _ => scripts.push(("run", self.text)),
        }
        Files { scripts, surrounded }
    }

    fn before(&self, shell: Shell, directory: &Path) -> String {
        let mut script = String::new();
        if shell == Shell::Bash && !self.env.is_empty() {
            let _ = writeln!(script, "\\builtin declare -p {} >|{}/saved 2>/dev/null", self.names(), directory.display());
            script += "cabana_saved=1\n";
            for (name, value) in &self.env {
                let _ = match value {
                    Some(value) => writeln!(script, "\\builtin command export {name}={} || \\builtin return 1", quote(value)),
                    None => writeln!(script, "\\builtin command unset {name} || \\builtin return 1"),
                };
            }
        }
        if let Some(cwd) = &self.cwd {
            script += "cabana_cwd=$PWD cabana_oldpwd=${OLDPWD-}\n";
            let _ = writeln!(script, "{} cd -- {}", guard(shell), quote(&cwd.to_string_lossy()));
        }
        script
    }

    /// Puts back what [`Self::before`] has set, once, however often it is run and wherever that was interrupted.
    fn after(&self, shell: Shell, directory: &Path) -> String {
        let mut script = String::new();
        if shell == Shell::Bash && !self.env.is_empty() {
            let _ = writeln!(
                script,
                "case ${{cabana_saved+x}} in x) \\builtin command unset {}; \\builtin command . {}/saved; \\builtin command unset cabana_saved;; esac",
                self.names(),
                directory.display()
            );
        }
        if self.cwd.is_some() {
            let guard = guard(shell);
            let _ = writeln!(
                script,
                "case ${{cabana_cwd+x}} in x) {guard} cd -- \"$cabana_cwd\" || {guard} :; OLDPWD=$cabana_oldpwd; \
                 {guard} unset cabana_cwd cabana_oldpwd;; esac"
            );
        }
        script
    }

    /// The caller's script with variables of its own, as POSIX shells give them to a builtin and take them back. Of those, bash alone
    /// shows a variable that is unset within its scope as it is outside.
    fn assigned(&self, directory: &Path) -> String {
        let assignments: String =
            self.env.iter().map(|(name, value)| format!("{name}={} ", quote(value.as_deref().unwrap_or_default()))).collect();
        let unset: String =
            self.env.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| format!("\\command unset {name}; ")).collect();
        format!("{assignments}\\command eval '{unset}\\command . {}/script'\n", directory.display())
    }

    fn names(&self) -> String {
        self.env.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// As one word that the shell reads as exactly this text.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn check_names(env: &BTreeMap<String, Option<String>>) -> Result<(), Error> {
    if !env.keys().all(|name| is_name(name)) {
        return Err(invalid_field("env", "names of letters, digits and '_' where a shell is to have the variables"));
    }
    command::environment(BTreeMap::new(), env).map(drop)
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
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

    #[test]
    fn shells_read_what_was_quoted() {
        let mut all: String = (1..=0x2ff).filter_map(char::from_u32).collect();
        all += "'\\n $HOME `x` $(y) !! \u{1f30a}\n";
        for shell in ["bash", "sh"] {
            let script = format!("printf %s {}", quote(&all));
            let output = std::process::Command::new(shell).args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), all, "{shell}");
        }
    }

    #[test]
    fn names_are_those_of_variables() {
        for (name, expected) in
            [("A", true), ("_a1", true), ("", false), ("A-B", false), ("1A", false), ("A B", false), ("A;x", false), ("É", false)]
        {
            assert_eq!(is_name(name), expected, "{name:?}");
        }
    }
}
