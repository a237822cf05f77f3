//! A session's shell, as a process: one for all of the session's commands.

use std::{os::fd::OwnedFd, sync::Arc};

use cabana_protocol::{Error, ProcessId, Signal, exec::Exit};

use super::{
    Command, Members, Processes,
    exited::Exited,
    kill::{Whom, send},
    oom::Oom,
    orphans, proc,
    processes::draw,
    spawn,
};

/// A shell that reads what it is to do.
#[derive(Debug)]
pub(crate) struct Shell {
    exited: Exited,
    /// How it ended, once it has been waited for.
    exit: Option<Exit>,
    mark: String,
    secret: String,
    own: orphans::Own,
    oom: Arc<Oom>,
}

impl Processes {
    /// Starts the shell of the session of this id, which takes what it is to do from `stdin`.
    ///
    /// Fails as [`spawn`] does.
    pub(crate) fn start_shell(&self, session: &str, command: Command, stdin: OwnedFd) -> Result<Shell, Error> {
        let secret = format!(".{}", draw()?);
        let mark = format!("{session}{secret}");
        let (own, oom) = (self.own().clone(), Arc::clone(self.oom()));
        let exited = own.claim(|| spawn::spawn_apart(command, &mark, stdin), Exited::pid)?;
        Ok(Shell { exited, exit: None, mark, secret, own, oom })
    }
}

impl Shell {
    /// The kernel's number for it.
    pub(crate) fn pid(&self) -> u32 {
        self.exited.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether it has not been waited for.
    pub(crate) fn runs(&self) -> bool {
        self.exit.is_none()
    }

    /// Waits for its end. Nothing is lost when the future is dropped.
    pub(crate) async fn wait(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let exit = match self.exited.wait().await {
            Ok((Exit::Signalled { signal: Signal::KILL }, _)) if self.oom.took_one() => Exit::OomKilled,
            Ok((exit, _)) => exit,
            Err(_) => Exit::Lost,
        };
        self.own.release(self.exited.pid());
        *self.exit.insert(exit)
    }

    /// Signals it, and nothing that it has started.
    pub(crate) fn signal(&self, signal: Signal) {
        // Once it has been waited for, its number may be another's.
        if self.exit.is_none() {
            send(Whom::Process(self.exited.pid()), signal);
        }
    }

    /// What marks all that this command starts.
    pub(crate) fn mark(&self, command: &ProcessId) -> String {
        format!("{command}{}", self.secret)
    }

    /// It and all that it has started. Nobody may [wait](Self::wait) for it while these are looked for.
    pub(crate) fn members(&self) -> Members {
        Members::Session { shell: self.exited.pid(), secret: self.secret.clone() }
    }

    /// What this command, which begins now, will have started. Nobody may [wait](Self::wait) for the shell while these are looked for.
    pub(crate) fn members_of(&self, command: &ProcessId) -> Members {
        let shell = self.exited.pid();
        Members::Command {
            shell,
            shell_mark: self.mark.clone(),
            mark: self.mark(command),
            before: proc::children(shell.as_raw_nonzero().get()),
            since: proc::now(),
        }
    }
}
