//! The state of a session's shell, for what starts from it and runs for itself.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use cabana_protocol::{Code, Error, Operation, file::RelativePaths, session::Create};
use tokio_util::sync::CancellationToken;

use super::{Sessions, script::Script, sessions::Ticket};
use crate::{
    Agent,
    process::{
        Processes,
        command::SessionState,
        tree::{MARK, proc},
    },
    threads::{self, Length},
};

/// The most that a shell's directory and variables may take: more than a process can be started with.
const STATE_BYTES: usize = 4 << 20;

impl Sessions {
    /// A place in the queue of this session, which is made where there is none of this name.
    ///
    /// Fails as [`Sessions::line_up`] and [`Sessions::create`] do.
    pub(crate) async fn line_up_or_create(&self, processes: &std::sync::Arc<Processes>, name: &str) -> Result<Ticket, Error> {
        match self.line_up(name) {
            Err(error) if error.code == Code::NotFound => {
                self.create(processes, Create { name: Some(name.to_owned()), ..Create::default() }).await?;
                self.line_up(name)
            }
            found => found,
        }
    }

    /// Makes these paths begin in the directory of this session where they are relative. It is the directory that the session's shell is in
    /// now: a command that runs there delays nobody, and the path has no symlinks.
    ///
    /// Fails with `not_found`, `gone`, `unprocessable`.
    pub(crate) async fn locate(&self, relative: RelativePaths<'_>) -> Result<(), Error> {
        let RelativePaths { session: name, paths } = relative;
        let session = self.find(name)?;
        let pid = session.pid();
        let directory = threads::run(Length::Short, move || proc::directory(pid)).await?.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => session.gone(),
            _ => Error::new(Code::Unprocessable, format!("the directory of the session {name:?} cannot be read: {error}")),
        })?;
        for path in paths {
            *path = path.within(directory.as_os_str().as_bytes());
        }
        Ok(())
    }

    /// The directory, the exported variables and the user of a session, once its turn has come.
    ///
    /// Fails with `gone`, `too_many_requests`, `unprocessable`.
    pub(crate) async fn state(
        &self,
        processes: &std::sync::Arc<Processes>,
        ticket: Ticket,
        cancel: CancellationToken,
    ) -> Result<SessionState, Error> {
        let (script, user) = (Script::state(ticket.shell()), ticket.user().map(str::to_owned));
        let said = self.tell(processes, ticket, script, "session.state", STATE_BYTES, cancel).await?;
        let odd = || Error::new(Code::Unprocessable, "the session's shell did not tell its directory and variables");
        let mut fields = said.split(|byte| *byte == 0);
        let cwd = fields.next().and_then(|cwd| cwd.strip_suffix(b"\n")).filter(|cwd| !cwd.is_empty()).ok_or_else(odd)?;
        let variable = |field: &[u8]| {
            let equals = field.iter().position(|byte| *byte == b'=')?;
            Some((OsString::from_vec(field[..equals].to_vec()), OsString::from_vec(field[equals + 1..].to_vec())))
        };
        // What marks the session's own processes, and what the shell says of its last command.
        let env = fields.filter_map(variable).filter(|(name, _)| name != MARK && name != "_").collect();
        Ok(SessionState { cwd: OsString::from_vec(cwd.to_vec()).into(), env, user })
    }
}

impl Agent {
    /// Makes the request's relative paths begin in the directory of the session that it names, if it names one.
    ///
    /// Fails as [`Sessions::locate`] does.
    pub(crate) async fn locate<O: Operation>(&self, mut request: O) -> Result<O, Error> {
        if let Some(relative) = request.relative_paths() {
            self.sessions.locate(relative).await?;
        }
        Ok(request)
    }
}
