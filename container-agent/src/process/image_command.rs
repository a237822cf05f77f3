//! The image's own command, Docker's CMD: a program that runs beside the agent, on the container's own output.
//!
//! It is no process of a caller's: it has no id, no mark and no journal, and runs until it ends or the agent does.

use std::{
    ffi::{OsStr, OsString},
    io,
};

use cabana_protocol::{Code, Error, Signal, exec::Exit};
use rustix::process::Pid;
use tokio::signal::unix::SignalKind;

use super::{
    Identity, Processes,
    child::{self, ChildHandle},
    command,
    supervisor::{
        OwnedChildren,
        tree::kill::{Whom, send},
    },
};

/// The exit code of a program that is not there, and of one that cannot be run, as shells and Docker tell it.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// What a signal's number is added to, to make an exit code.
const SIGNALLED: u8 = 128;

/// The image's own command.
#[derive(Debug)]
pub struct ImageCommand {
    state: State,
    owned: OwnedChildren,
}

#[derive(Debug)]
enum State {
    Running(ChildHandle),
    /// With this exit code; what never was, with 0.
    Ended(u8),
}

impl Processes {
    /// Starts this program, with its arguments, as the user and with the variables of a command that asks for nothing, in the
    /// agent's own directory. Its output is the agent's, its input empty.
    ///
    /// One that cannot be started has ended, with 127 where it is not there, else with 126; the log says why. So has, with 0, none.
    pub fn start_image_command(&self, argv: &[OsString]) -> ImageCommand {
        let owned = self.owned().clone();
        let started = argv.split_first().map(|(name, arguments)| owned.claim(|| self.launch(name, arguments), ChildHandle::pid));
        let state = match started {
            None => State::Ended(0),
            Some(Ok(handle)) => State::Running(handle),
            Some(Err(error)) => {
                tracing::error!("the image's command: {}", error.message);
                State::Ended(if error.code == Code::NotFound { NOT_FOUND } else { NOT_RUNNABLE })
            }
        };
        ImageCommand { state, owned }
    }

    fn launch(&self, name: &OsStr, arguments: &[OsString]) -> Result<ChildHandle, Error> {
        let user = self.user().map(Identity::look_up).transpose()?;
        let env = self.variables().base(user.as_ref(), false);
        let refused = |error: io::Error| Error::new(Code::Unprocessable, format!("cannot run {}: {error}", name.display()));
        let directory = std::env::current_dir().map_err(refused)?;
        let program = command::find(&name.to_string_lossy(), env.get(OsStr::new("PATH")), &directory)?;
        let user = user.filter(|user| !user.is_own());
        let argv: Vec<_> = [name].into_iter().chain(arguments.iter().map(|word| &**word)).collect();
        child::beside(&program, &argv, &env, &directory, user.as_ref()).map_err(refused)
    }
}

impl ImageCommand {
    /// Its number, while it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match &self.state {
            State::Running(handle) => Some(handle.pid()),
            State::Ended(_) => None,
        }
    }

    /// Passes a signal on to it, and to nothing that it started.
    pub fn signal(&self, kind: SignalKind) {
        // Nobody has waited for it, so the number is still its own.
        if let Some((pid, signal)) = self.pid().zip(Signal::from_number(kind.as_raw_value())) {
            send(Whom::Process(pid), signal);
        }
    }

    /// Waits until it has ended, and gives its exit code: 128 and the signal's number where one ended it. Nothing is lost when the
    /// future is dropped.
    pub async fn ended(&mut self) -> u8 {
        if let State::Running(handle) = &self.state {
            let ended = handle.wait().await;
            self.owned.release(handle.pid());
            self.state = State::Ended(ended.map_or(SIGNALLED, |(exit, _)| code(exit)));
        }
        self.code()
    }

    /// Waits until it has ended with another exit code than 0.
    pub async fn failed(&mut self) {
        if self.ended().await == 0 {
            std::future::pending().await
        }
    }

    /// Its exit code; while it runs, that of one that is killed.
    pub fn code(&self) -> u8 {
        match self.state {
            State::Running(_) => code(Exit::Signalled { signal: Signal::KILL }),
            State::Ended(code) => code,
        }
    }
}

fn code(exit: Exit) -> u8 {
    match exit {
        Exit::Exited { code } => u8::try_from(code).unwrap_or(u8::MAX),
        Exit::Signalled { signal } => u8::try_from(signal.number()).map_or(u8::MAX, |number| SIGNALLED.saturating_add(number)),
        _ => u8::MAX,
    }
}
