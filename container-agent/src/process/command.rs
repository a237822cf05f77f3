//! From what a caller asked for to what can be started.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use cabana_protocol::{
    Code, Error,
    exec::{self, DEFAULT_TIMEOUT_MS, Exec, Tty},
    names::invalid_field,
};
use rustix::fs::{Access, MemfdFlags, SealFlags, access, fcntl_add_seals, memfd_create};
use serde_json::json;

use super::{Identity, Inherited, Processes};
use crate::variables;

/// The longest script that is passed as an argument: Linux allows 128 KiB, with a NUL at the end (MAX_ARG_STRLEN, execve(2)).
const ARGUMENT_BYTES: usize = (128 << 10) - 1;

/// The descriptor from which a shell reads a longer script. Every shell can name a descriptor of one digit.
const SCRIPT_DESCRIPTOR: i32 = 9;

/// What to start. Everything in it has been checked.
#[derive(Debug)]
pub struct Command {
    /// The program's absolute path.
    pub program: PathBuf,
    /// The argument vector, the program's name as the caller wrote it first.
    pub argv: Vec<String>,
    /// Working directory, absolute.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Whom it runs as, if not the agent's own user.
    pub user: Option<Identity>,
    /// What it reads.
    pub stdin: Stdin,
    /// Its stderr is its stdout: one pipe, which keeps the order.
    pub merges_stderr: bool,
    /// A descriptor that it has besides the three streams.
    pub(crate) inherited: Option<Inherited>,
    /// Open until it has started: `cwd` may be named by it.
    pub(crate) kept_open: Option<OwnedFd>,
    /// The size of the terminal that it runs on, if on one: then what it reads is typed, and the keyboard stays.
    pub terminal: Option<Tty>,
    /// How long it may run, if there is a limit.
    pub timeout: Option<Duration>,
}

/// What a process reads.
#[derive(Debug)]
pub enum Stdin {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// What [`Input`](super::Input)s bring.
    Live,
    /// This file, which the process reads itself.
    File(OwnedFd),
}

/// What a command starts from besides its request.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// The file that it reads.
    pub(crate) stdin: Option<OwnedFd>,
    /// The session whose state it has at first.
    pub(crate) session: Option<SessionState>,
}

/// The state of a session's shell.
#[derive(Debug)]
pub(crate) struct SessionState {
    /// Its directory.
    pub(crate) cwd: PathBuf,
    /// Its exported variables.
    pub(crate) env: BTreeMap<OsString, OsString>,
    /// Whom it runs as, if it was made for somebody.
    pub(crate) user: Option<String>,
}

/// The process that this request asks for, starting from this. Blocks for as long as the file system takes.
///
/// Fails with `invalid_request`, `not_found` (program, working directory) or `unprocessable` (not executable).
pub(crate) fn resolve(request: &Exec, start: Start, processes: &Processes) -> Result<Command, Error> {
    let Start { stdin: file, session } = start;
    let user = user(processes, session.as_ref().and_then(|session| session.user.as_deref()).or(request.user.as_deref()))?;
    let (base, home) = match session {
        None => (processes.variables().base(user.as_ref(), request.tty.is_some()), processes.home().to_owned()),
        Some(SessionState { mut env, cwd, .. }) => {
            if request.tty.is_some() {
                variables::prepare_for_terminal(&mut env);
            }
            (env, cwd)
        }
    };
    let env = environment(base, &request.env)?;
    let shell = || processes.shell().to_owned();
    let (argv, inherited) = match &request.command {
        exec::Command::Shell(script) if script.len() > ARGUMENT_BYTES => {
            (vec![shell(), "-c".into(), format!(". /proc/self/fd/{SCRIPT_DESCRIPTOR}")], Some(script_file(script)?))
        }
        exec::Command::Shell(script) => (vec![shell(), "-c".into(), script.clone()], None),
        exec::Command::Argv(argv) => (argv.clone(), None),
    };
    let cwd = directory(&home, request.cwd.as_deref())?;
    let name = argv
        .first()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| invalid_field("command", "at least a program: it is empty"))?;
    let program = find(name, env.get(OsStr::new("PATH")), &cwd)?;
    let timeout_ms = request.timeout_ms.or((!request.detach).then_some(DEFAULT_TIMEOUT_MS));
    Ok(Command {
        program,
        argv,
        cwd,
        env,
        user: user.filter(|user| !user.is_own()),
        stdin: file.map_or_else(|| stdin(request), Stdin::File),
        merges_stderr: request.stderr.is_some(),
        inherited,
        kept_open: None,
        terminal: request.tty,
        timeout: timeout_ms.map(Duration::from_millis),
    })
}

/// A file without a name that holds a script too long to be an argument. What the script starts does not have it: the script closes it
/// first, on its first line, so that lines keep their numbers.
fn script_file(script: &str) -> Result<Inherited, Error> {
    let write = || {
        let mut file = File::from(memfd_create("script", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        write!(file, "exec {SCRIPT_DESCRIPTOR}<&-; ")?;
        file.write_all(script.as_bytes())?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Inherited { descriptor: file.into(), number: SCRIPT_DESCRIPTOR })
    };
    write().map_err(|error: io::Error| Error::new(Code::TooManyRequests, format!("the script cannot be passed on: {error}")))
}

/// Checks what a command says of itself, without a look at the sandbox.
///
/// Fails with `invalid_request`.
pub(crate) fn check(command: &exec::Command) -> Result<(), Error> {
    let (empty, nul) = match command {
        exec::Command::Shell(script) => (script.trim().is_empty(), script.contains('\0')),
        exec::Command::Argv(argv) => {
            (argv.first().is_none_or(String::is_empty), argv.iter().any(|argument| argument.contains('\0')))
        }
    };
    match (empty, nul) {
        (true, _) => Err(invalid_field("command", "at least a program: it is empty")),
        (_, true) => Err(invalid_field("command", "no NUL byte")),
        _ => Ok(()),
    }
}

/// Whom a command runs as that asks for this user, or for nobody, if not the agent's own user.
///
/// Fails with `not_found`.
pub(crate) fn user(processes: &Processes, asked: Option<&str>) -> Result<Option<Identity>, Error> {
    asked.or(processes.user()).map(Identity::look_up).transpose()
}

/// What a command reads that reads no file.
pub(crate) fn stdin(request: &Exec) -> Stdin {
    match &request.stdin {
        None | Some(exec::Stdin::Live { stream: false } | exec::Stdin::File { .. }) => Stdin::Empty,
        Some(exec::Stdin::Bytes(bytes)) => Stdin::Bytes(bytes.0.clone()),
        Some(exec::Stdin::Live { stream: true }) => Stdin::Live,
    }
}

/// These variables with changes on top. What is wrong with one is said without its value.
///
/// Fails with `invalid_request`.
pub(crate) fn environment(
    base: BTreeMap<OsString, OsString>,
    changes: &BTreeMap<String, Option<String>>,
) -> Result<BTreeMap<OsString, OsString>, Error> {
    let mut env = base;
    for (name, value) in changes {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(invalid_field("env", "names that are not empty and hold neither '=' nor a NUL byte"));
        }
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            return Err(invalid_field(&format!("env.{name}"), "no NUL byte"));
        }
    }
    variables::apply(&mut env, changes);
    Ok(env)
}

/// The directory that is asked for, or `home`.
///
/// Fails with `invalid_request`, `not_found`, `conflict`, `forbidden`.
pub(crate) fn directory(home: &Path, asked: Option<&str>) -> Result<PathBuf, Error> {
    let cwd = asked.map_or_else(|| home.to_owned(), |asked| home.join(asked));
    if asked.is_some_and(|asked| asked.contains('\0')) {
        return Err(invalid_field("cwd", "no NUL byte"));
    }
    match cwd.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(cwd),
        Ok(_) => Err(Error::new(Code::Conflict, format!("the working directory {} is not a directory", cwd.display()))
            .because("not_a_directory")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Error::new(Code::Forbidden, format!("the working directory {} cannot be reached", cwd.display()))
                .because("permission"))
        }
        Err(_) => Err(Error::not_found(format!("there is no working directory {}", cwd.display())).because("no_such_directory")),
    }
}

/// Looks a program up as execvp(3) does, but in the PATH that it will itself see. With the path known, the kernel can be
/// asked for posix_spawn, which does not copy the agent's page tables.
pub(crate) fn find(name: &str, path: Option<&OsString>, cwd: &Path) -> Result<PathBuf, Error> {
    let shown: String = name.chars().take(64).collect();
    let missing = |message| Error::not_found(message).with_details(json!({ "reason": "no_such_program", "program": shown }));
    if name.contains('/') {
        let program = cwd.join(name);
        return match access(&program, Access::EXISTS) {
            Err(_) => Err(missing(format!("there is no program {shown}"))),
            Ok(()) if executable(&program) => Ok(program),
            Ok(()) => Err(Error::new(Code::Unprocessable, format!("{shown} is not executable")).because("not_executable")),
        };
    }
    let path = path.map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), OsString::as_os_str);
    let found = std::env::split_paths(path).map(|directory| cwd.join(directory).join(name)).find(|program| executable(program));
    found.ok_or_else(|| missing(format!("there is no program {shown} on the PATH")))
}

fn executable(program: &Path) -> bool {
    access(program, Access::EXEC_OK).is_ok() && program.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_and_unset() {
        let base = BTreeMap::from([("A".into(), "1".into()), ("B".into(), "2".into())]);
        let changes = BTreeMap::from([("A".to_owned(), None), ("C".to_owned(), Some("3".to_owned()))]);
        let env = environment(base, &changes).unwrap();
        assert_eq!(env, BTreeMap::from([("B".into(), "2".into()), ("C".into(), "3".into())]));
    }

    #[test]
    fn impossible_variables_are_refused() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
            let changes = BTreeMap::from([(name.to_owned(), Some(value.to_owned()))]);
            assert_eq!(environment(BTreeMap::new(), &changes).unwrap_err().code, Code::InvalidRequest, "{name:?}={value:?}");
        }
    }

    #[test]
    fn blank_commands_and_nul_bytes_are_refused() {
        let argv = |words: &[&str]| exec::Command::Argv(words.iter().map(|&word| word.to_owned()).collect());
        for command in ["".into(), " \n\t".into(), "a\0b".into(), argv(&[]), argv(&["", "x"]), argv(&["x", "\0"])] {
            assert_eq!(check(&command).unwrap_err().code, Code::InvalidRequest, "{command:?}");
        }
        for command in [":".into(), "# nothing".into(), argv(&["x", ""]), argv(&[" "])] {
            assert_eq!(check(&command), Ok(()), "{command:?}");
        }
    }

    #[test]
    fn programs_are_found_where_the_command_would_look() {
        let path = OsString::from("/nowhere:/usr/bin:/bin");
        let root = Path::new("/");
        assert!(find("sh", Some(&path), root).unwrap().ends_with("sh"));
        assert!(find("bin/sh", None, root).is_ok());
        for (name, code) in [
            ("no-such-program", Code::NotFound),
            ("/no/such/program", Code::NotFound),
            ("/etc/passwd", Code::Unprocessable),
            ("/etc", Code::Unprocessable),
        ] {
            assert_eq!(find(name, Some(&path), root).unwrap_err().code, code, "{name}");
        }
    }
}
