//! From what a caller asked for to what can be started.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use cabana_protocol::{
    Code, Error,
    exec::{Command, DEFAULT_TIMEOUT_MS, Exec, Stdin},
};
use rustix::fs::{Access, access};
use serde_json::json;

use crate::process::{self, Identity, Processes};

/// The process that this request asks for.
///
/// Fails with `invalid_request`, `not_found` (program, working directory) or `unprocessable` (not executable).
pub(crate) fn resolve(request: &Exec, processes: &Processes) -> Result<process::Command, Error> {
    let user = user(processes, request.user.as_deref())?;
    let env = environment(base(processes.env(), user.as_ref(), request.tty.is_some()), &request.env)?;
    let argv = match &request.command {
        Command::Shell(script) => vec![processes.shell().to_owned(), "-c".into(), script.clone()],
        Command::Argv(argv) => argv.clone(),
    };
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err(Error::invalid_request("an argument holds a NUL byte"));
    }
    let cwd = directory(processes.home(), request.cwd.as_deref())?;
    let name = argv.first().filter(|name| !name.is_empty()).ok_or_else(|| Error::invalid_request("the command is empty"))?;
    let program = find(name, env.get(OsStr::new("PATH")), &cwd)?;
    let stdin = stdin(request);
    let timeout_ms = request.timeout_ms.or((!request.detach).then_some(DEFAULT_TIMEOUT_MS));
    let timeout = timeout_ms.map(Duration::from_millis);
    let user = user.filter(|user| !user.is_own());
    Ok(process::Command { program, argv, cwd, env, user, stdin, inherited: None, terminal: request.tty, timeout })
}

/// Whom a command runs as that asks for this user, or for nobody, if not the agent's own user.
///
/// Fails with `not_found`.
pub(crate) fn user(processes: &Processes, asked: Option<&str>) -> Result<Option<Identity>, Error> {
    asked.or(processes.user()).map(Identity::look_up).transpose()
}

/// What a command reads.
pub(crate) fn stdin(request: &Exec) -> process::Stdin {
    match &request.stdin {
        None | Some(Stdin::Live { stream: false }) => process::Stdin::Empty,
        Some(Stdin::Bytes(bytes)) => process::Stdin::Bytes(bytes.0.clone()),
        Some(Stdin::Live { stream: true }) => process::Stdin::Live,
    }
}

/// The sandbox's variables, with those of its user and of its terminal in the place of the agent's.
pub(crate) fn base(
    sandbox: &BTreeMap<OsString, OsString>,
    user: Option<&Identity>,
    terminal: bool,
) -> BTreeMap<OsString, OsString> {
    let mut env = sandbox.clone();
    env.extend(user.into_iter().flat_map(Identity::variables));
    if terminal {
        env.insert("TERM".into(), "xterm-256color".into());
        // They would go before the terminal's own size, which changes.
        env.retain(|name, _| name != "COLUMNS" && name != "LINES");
    }
    env
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
            return Err(Error::invalid_request("a variable's name is empty or holds '=' or a NUL byte"));
        }
        match value {
            Some(value) if value.contains('\0') => {
                return Err(Error::invalid_request(format!("the value of {name} holds a NUL byte")));
            }
            Some(value) => env.insert(name.into(), value.into()),
            None => env.remove(OsStr::new(name)),
        };
    }
    Ok(env)
}

/// The directory that is asked for, or `home`.
///
/// Fails with `invalid_request`, `not_found`, `conflict`, `forbidden`.
pub(crate) fn directory(home: &Path, asked: Option<&str>) -> Result<PathBuf, Error> {
    let cwd = asked.map_or_else(|| home.to_owned(), |asked| home.join(asked));
    if asked.is_some_and(|asked| asked.contains('\0')) {
        return Err(Error::invalid_request("cwd holds a NUL byte"));
    }
    match cwd.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(cwd),
        Ok(_) => Err(Error::new(Code::Conflict, format!("the working directory {} is not a directory", cwd.display()))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Error::new(Code::Forbidden, format!("the working directory {} cannot be reached", cwd.display())))
        }
        Err(_) => Err(Error::not_found(format!("there is no working directory {}", cwd.display()))),
    }
}

/// Looks a program up as execvp(3) does, but in the PATH that it will itself see. With the path known, the kernel can be
/// asked for posix_spawn, which does not copy the agent's page tables.
pub(crate) fn find(name: &str, path: Option<&OsString>, cwd: &Path) -> Result<PathBuf, Error> {
    let shown: String = name.chars().take(64).collect();
    let missing = |message| Error::not_found(message).with_details(json!({ "program": shown }));
    if name.contains('/') {
        let program = cwd.join(name);
        return match access(&program, Access::EXISTS) {
            Err(_) => Err(missing(format!("there is no program {shown}"))),
            Ok(()) if executable(&program) => Ok(program),
            Ok(()) => Err(Error::new(Code::Unprocessable, format!("{shown} is not executable"))),
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
