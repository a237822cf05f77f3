//! What is kept of the request that started a process.

use std::io;

use cabana_protocol::exec::{Command, Exec, Stdin, Tty};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Most bytes of a command that are kept to be shown.
const SHOWN_BYTES: usize = 4 << 10;

/// What is kept of the request that started a process: not its input, and no more than the beginning of a long command.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(in crate::process) name: Option<String>,
    command: Command,
    pub(in crate::process) detach: bool,
    /// The next container starts it again.
    pub(in crate::process) restart: bool,
    pub(in crate::process) terminal: bool,
    /// The size of the terminal at the start.
    pub(in crate::process) tty: Option<Tty>,
    /// Its stdin is a stream.
    pub(in crate::process) takes_input: bool,
    /// Of each field of the request, where it has a name by which it may come again.
    digests: Option<Digests>,
}

impl Default for Launch {
    /// That of a process which is not listed.
    fn default() -> Self {
        Self::new(&Exec::new(""))
    }
}

impl Launch {
    /// What is kept of this request.
    pub(crate) fn new(request: &Exec) -> Self {
        Self {
            name: request.name.clone(),
            command: shorten(&request.command),
            detach: request.detach,
            restart: request.restart,
            terminal: request.tty.is_some(),
            tty: request.tty,
            takes_input: request.stdin == Some(Stdin::Live { stream: true }),
            digests: request.name.is_some().then(|| digests(request)),
        }
    }

    /// The command, as it is shown.
    pub(super) fn command(&self) -> &Command {
        &self.command
    }

    /// The fields in which another request differs.
    pub(in crate::process) fn differing(&self, request: &Exec) -> Vec<&'static str> {
        let digests = digests(request);
        let known = self.digests.as_ref();
        let differs = |(index, (_, digest)): &(usize, &(&str, [u8; 32]))| known.is_none_or(|known| known[*index].1 != *digest);
        digests.iter().enumerate().filter(differs).map(|(_, (field, _))| *field).collect()
    }
}

type Digests = [(&'static str, [u8; 32]); 13];

fn digests(request: &Exec) -> Digests {
    let Exec {
        command, cwd, env, user, stdin, stderr, tty, timeout_ms, detach, name, restart, session, max_output_bytes, ..
    } = request;
    [
        ("command", digest(command)),
        ("cwd", digest(cwd)),
        ("env", digest(env)),
        ("user", digest(user)),
        ("stdin", digest(stdin)),
        ("stderr", digest(stderr)),
        ("tty", digest(tty)),
        ("timeout_ms", digest(timeout_ms)),
        ("detach", digest(detach)),
        ("name", digest(name)),
        ("restart", digest(restart)),
        ("session", digest(session)),
        ("max_output_bytes", digest(max_output_bytes)),
    ]
}

fn digest(field: &impl Serialize) -> [u8; 32] {
    let mut hasher = Hasher(Sha256::new());
    // A request has been JSON before, and the hasher takes everything.
    let _ = serde_json::to_writer(&mut hasher, field);
    hasher.0.finalize().into()
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As much of a command as is shown.
fn shorten(command: &Command) -> Command {
    let cut = |text: &str, room: usize| match text.len() <= room {
        true => text.to_owned(),
        false => format!("{}\u{2026}", &text[..text.floor_char_boundary(room)]),
    };
    match command {
        Command::Shell(script) => Command::Shell(cut(script, SHOWN_BYTES)),
        Command::Argv(argv) => {
            let mut room = SHOWN_BYTES;
            let mut shown = Vec::new();
            for word in argv {
                shown.push(cut(word, room));
                if word.len().max(1) >= room {
                    break;
                }
                room -= word.len().max(1);
            }
            Command::Argv(shown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_cut_where_it_is_kept() {
        let long = "\u{e9}".repeat(SHOWN_BYTES);
        let Command::Shell(script) = shorten(&Command::Shell(long.clone())) else { panic!("it was a script") };
        assert!(script.len() <= SHOWN_BYTES + '\u{2026}'.len_utf8() && script.ends_with("\u{e9}\u{2026}"));
        let short = Command::from(["printf", "%s", ""]);
        assert_eq!(shorten(&short), short);
        let argv = Command::Argv(vec!["a".to_owned(), long.clone(), long]);
        let Command::Argv(argv) = shorten(&argv) else { panic!("it was an argument vector") };
        assert_eq!(argv.len(), 2);
        let Command::Argv(many) = shorten(&Command::Argv(vec![String::new(); 100_000])) else { panic!("likewise") };
        assert!(many.len() <= SHOWN_BYTES);
    }

    #[test]
    fn the_same_request_is_told_from_others_without_being_kept() {
        let named = Exec { detach: true, name: Some("server".to_owned()), ..Exec::new("true") };
        let with_input = Exec { stdin: Some(Stdin::Bytes("input".into())), ..named.clone() };
        let launch = Launch::new(&with_input);
        assert!(launch.differing(&with_input.clone()).is_empty());
        assert_eq!(launch.differing(&named), ["stdin"]);
        assert_eq!(launch.differing(&Exec { stdin: Some(Stdin::Bytes("other".into())), ..named }), ["stdin"]);
    }
}
