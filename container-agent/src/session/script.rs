//! A command as shell scripts: the caller's own, and what sets its directory and variables before and puts them back after.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use cabana_protocol::{
    Error,
    exec::{Command, Exec},
    session::Shell,
};

use super::line::DROP;
use crate::{exec::command, process::Processes};

/// A command, checked.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    cwd: Option<PathBuf>,
    env: BTreeMap<String, Option<String>>,
}

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
    let directory = directory.display();
    let prompting = match shell {
        Shell::Bash => "\\command unset PROMPT_COMMAND MAILCHECK HISTFILE TMOUT OLDPWD\n\\command shopt -u checkwinsize\n",
        Shell::Sh => "\\command unset MAIL MAILPATH OLDPWD\n",
    };
    format!(
        "PS1= PS2=\n{prompting}\
         \\command trap '\\command trap >>{directory}/traps; \\command trap - INT; \\command kill -INT \"$$\"' {DROP}\n"
    )
}

impl Script {
    /// Checks what is to be run.
    ///
    /// Fails with `invalid_request` and `not_found` (working directory).
    pub(super) fn new(request: &Exec, processes: &Processes) -> Result<Self, Error> {
        let text = match &request.command {
            Command::Shell(script) => script.clone(),
            Command::Argv(argv) if argv.first().is_none_or(String::is_empty) => {
                return Err(Error::invalid_request("the command is empty"));
            }
            Command::Argv(argv) => argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
        };
        if text.contains('\0') {
            return Err(Error::invalid_request("the command holds a NUL byte"));
        }
        if !request.env.keys().all(|name| is_name(name)) {
            return Err(Error::invalid_request("a variable of a shell has a name of letters, digits and '_'"));
        }
        command::environment(BTreeMap::new(), &request.env)?;
        let cwd = request.cwd.as_deref().map(|cwd| command::directory(processes.home(), Some(cwd))).transpose()?;
        Ok(Self { text, cwd, env: request.env.clone() })
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
            let _ = writeln!(script, "\\command declare -p {} >|{}/saved 2>/dev/null", self.names(), directory.display());
            script += "cabana_saved=1\n";
            for (name, value) in &self.env {
                let _ = match value {
                    Some(value) => writeln!(script, "\\command export {name}={} || \\return 1", quote(value)),
                    None => writeln!(script, "\\command unset {name} || \\return 1"),
                };
            }
        }
        if let Some(cwd) = &self.cwd {
            script += "cabana_cwd=$PWD cabana_oldpwd=${OLDPWD-}\n";
            let _ = writeln!(script, "\\command cd -- {}", quote(&cwd.to_string_lossy()));
        }
        script
    }

    /// Puts back what [`Self::before`] has set, once, however often it is run and wherever that was interrupted.
    fn after(&self, shell: Shell, directory: &Path) -> String {
        let mut script = String::new();
        if shell == Shell::Bash && !self.env.is_empty() {
            let _ = writeln!(
                script,
                "case ${{cabana_saved+x}} in x) \\command unset {}; \\command . {}/saved; \\command unset cabana_saved;; esac",
                self.names(),
                directory.display()
            );
        }
        if self.cwd.is_some() {
            script += "case ${cabana_cwd+x} in x) \\command cd -- \"$cabana_cwd\" || \\command :; OLDPWD=$cabana_oldpwd; \
                       \\command unset cabana_cwd cabana_oldpwd;; esac\n";
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

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

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
