//! A session's shell, as a process: one for all of the session's commands.

use std::{os::fd::OwnedFd, sync::Arc};

use cabana_protocol::{Error, ProcessId, Signal, exec::Exit};

use super::{
    Command, Members, Processes,
    child::{self, ChildHandle},
    registry::draw,
    supervisor::{
        Oom, OwnedChildren,
        tree::{
            kill::{Whom, send},
            proc,
        },
    },
};

/// A shell that reads what it is to do.
#[derive(Debug)]
pub(crate) struct Shell {
    handle: ChildHandle,
    /// How it ended, once it has been waited for.
    exit: Option<Exit>,
    mark: String,
    secret: String,
    owned: OwnedChildren,
    oom: Arc<Oom>,
}

impl Processes {
    /// Starts the shell of the session of this id, which takes what it is to do from `stdin`. Blocks until its program has been loaded.
    ///
    /// Fails as [`child::spawn_apart`] does.
    pub(crate) fn start_shell(&self, session: &str, command: Command, stdin: OwnedFd) -> Result<Shell, Error> {
        let secret = format!(".{}", draw()?);
        let mark = format!("{session}{secret}");
        let (owned, oom) = (self.owned().clone(), Arc::clone(self.oom()));
        let handle = owned.claim(|| child::spawn_apart(command, &mark, &stdin), ChildHandle::pid)?;
        Ok(Shell { handle, exit: None, mark, secret, owned, oom })
    }
}

impl Shell {
    /// The kernel's number for it.
    pub(crate) fn pid(&self) -> u32 {
        self.handle.raw_pid()
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
        let exit = match self.handle.wait().await {
            Ok((Exit::Signalled { signal: Signal::KILL }, _)) if self.oom.took_one() => Exit::OomKilled,
            Ok((exit, _)) => exit,
            Err(_) => Exit::Lost,
        };
        self.owned.release(self.handle.pid());
        *self.exit.insert(exit)
    }

    /// Signals it, and nothing that it has started.
    pub(crate) fn signal(&self, signal: Signal) {
        // Once it has been waited for, its number may be another's.
        if self.exit.is_none() {
            send(Whom::Process(self.handle.pid()), signal);
        }
    }

    /// What marks all that this command starts.
    pub(crate) fn mark(&self, command: &ProcessId) -> String {
        format!("{command}{}", self.secret)
    }

    /// It and all that it has started. Nobody may [wait](Self::wait) for it while these are looked for.
    pub(crate) fn members(&self) -> Members {
        Members::Session { shell: self.handle.pid(), secret: self.secret.clone() }
    }

    /// What this command, which begins now, will have started. Nobody may [wait](Self::wait) for the shell while these are looked for.
    pub(crate) fn members_of(&self, command: &ProcessId) -> Members {
        let shell = self.handle.pid();
        Members::Command {
            shell,
            shell_mark: self.mark.clone(),
            mark: self.mark(command),
            before: proc::children(shell.as_raw_nonzero().get()),
            since: proc::now(),
        }
    }
}
