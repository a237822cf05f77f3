//! Failures of this program, and the exit codes of commands.

use std::io;

use anyhow::Error;
use cabana_client::protocol::{Code, exec::Exit};
use serde_json::json;

/// The exit code where this program fails, as that of `docker` and `timeout`.
pub(crate) const OWN_FAILURE: u8 = 125;
/// The exit code of a program that is there and cannot be run, as the shell's.
const NOT_EXECUTABLE: u8 = 126;
/// The exit code of a program that is not there, as the shell's.
const NO_SUCH_PROGRAM: u8 = 127;

/// Says what went wrong, and answers the exit code.
pub(crate) fn report(error: &Error, json: bool) -> u8 {
    // `cabana ls | head` has what it wants.
    if error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)) {
        return 0;
    }
    let service = error.chain().find_map(|cause| cause.downcast_ref::<cabana_client::Error>());
    if json {
        eprintln!("{}", as_json(error, service));
    } else {
        eprintln!("cabana: {}", sentence(error));
        if let Some(hint) = service.and_then(hint) {
            eprintln!("cabana: {hint}");
        }
        if let Some(id) = service.and_then(cabana_client::Error::request_id) {
            eprintln!("cabana: request {id}");
        }
    }
    service.map_or(OWN_FAILURE, code_of)
}

/// The causes, each said once: some errors repeat theirs.
pub(crate) fn sentence(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text
}

fn as_json(error: &Error, service: Option<&cabana_client::Error>) -> serde_json::Value {
    match service {
        Some(cabana_client::Error::Service { error: told, request_id, .. }) => json!({ "error": told, "request_id": request_id }),
        _ => json!({ "error": { "message": sentence(error) } }),
    }
}

pub(crate) fn code_of(error: &cabana_client::Error) -> u8 {
    match (error.code(), error.reason()) {
        (Some(Code::NotFound), Some("no_such_program")) => NO_SUCH_PROGRAM,
        (Some(Code::Unprocessable), Some("not_executable")) => NOT_EXECUTABLE,
        _ => OWN_FAILURE,
    }
}

/// What to do about it, where the message of the service does not say so.
fn hint(error: &cabana_client::Error) -> Option<&'static str> {
    if error.is_ambiguous() {
        return Some("it may have been carried out: look before you repeat it");
    }
    match error.code()? {
        Code::Unauthorized => Some("check the key: CABANA_API_KEY, or `cabana login`"),
        Code::StorageFull => Some("remove files in the sandbox, or use a larger instance"),
        Code::ContainerNotReady | Code::Unavailable => Some("nothing was carried out: try again"),
        _ => None,
    }
}

/// The exit code of a command, and what to say of its end where the code alone does not tell it.
pub(crate) fn exit_code(exit: Option<Exit>) -> (u8, Option<String>) {
    let Some(exit) = exit else { return (0, None) };
    let note = match exit {
        Exit::Exited { .. } => None,
        Exit::Signalled { signal } => Some(format!("the command was ended by {signal}")),
        Exit::TimedOut => Some("the command ran out of time and was ended".to_owned()),
        Exit::OomKilled => Some("the command was ended because the sandbox's memory was used up".to_owned()),
        Exit::Cancelled => Some("the command was cancelled".to_owned()),
        Exit::Lost => Some("how the command ended is not known: the sandbox ended first".to_owned()),
    };
    (exit.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(OWN_FAILURE), note)
}

#[cfg(test)]
mod tests {
    use super::{code_of, exit_code, report, sentence};
    use anyhow::{Context, anyhow};
    use cabana_client::protocol::{self, Code, Signal, exec::Exit};
    use std::io;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (exit, expected, is_told) in [
            (Some(Exit::Exited { code: 3 }), 3, false),
            (Some(Exit::Exited { code: 0 }), 0, false),
            (Some(Exit::Signalled { signal: Signal::KILL }), 137, true),
            (Some(Exit::TimedOut), 124, true),
            (Some(Exit::OomKilled), 137, true),
            (Some(Exit::Cancelled), 143, true),
            (Some(Exit::Lost), 125, true),
            (None, 0, false),
        ] {
            let (code, note) = exit_code(exit);
            assert_eq!((code, note.is_some()), (expected, is_told), "{exit:?}");
        }
    }

    #[test]
    fn programs_that_cannot_run_are_told_as_the_shell_tells_them() {
        let service = |code, reason: &str| cabana_client::Error::from(protocol::Error::new(code, "no").because(reason));
        assert_eq!(code_of(&service(Code::NotFound, "no_such_program")), 127);
        assert_eq!(code_of(&service(Code::Unprocessable, "not_executable")), 126);
        assert_eq!(code_of(&service(Code::NotFound, "no_such_sandbox")), 125);
    }

    #[test]
    fn causes_are_said_once_and_a_closed_pipe_is_no_failure() {
        let error = anyhow!("cannot connect: refused").context("list sandboxes");
        assert_eq!(sentence(&error), "list sandboxes: cannot connect: refused");
        assert_eq!(sentence(&anyhow!("refused").context("cannot connect: refused")), "cannot connect: refused");
        let closed = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("print").unwrap_err();
        assert_eq!(report(&closed, false), 0);
    }
}
