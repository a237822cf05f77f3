//! A shell that lives between commands.

use cabana_protocol::{
    exec::{Exec, ExecOutput},
    session::{Create, Delete, Update},
};

use super::{Handle, Running};
use crate::Result;

/// A session of a sandbox, by its id or its name: a shell whose directory, variables and functions last from one command to the next. Dropping it
/// ends nothing.
#[derive(Debug, Clone)]
pub struct Session {
    sandbox: Handle,
    id: String,
}

impl Handle {
    /// Starts a session, or finds the one of its name. Fails as [`Create`] says.
    pub async fn create_session(&self, request: Create) -> Result<Session> {
        let created = self.call(request).await?;
        Ok(self.session(&created.session))
    }

    /// The session with this id or name. Makes no call.
    pub fn session(&self, id: &str) -> Session {
        Session { sandbox: self.clone(), id: id.to_owned() }
    }
}

impl Session {
    /// Its id, or the name that it was reached by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs a command in it, once those that came before have ended.
    ///
    /// Fails as [`Handle::exec`] does, with `not_found`, and with `gone` where its shell has ended; so do all other methods.
    pub async fn exec(&self, command: impl Into<Exec>) -> Result<ExecOutput> {
        self.sandbox.call(self.within(command.into())).await
    }

    /// The same as a stream.
    pub async fn stream(&self, command: impl Into<Exec>) -> Result<Running<Exec>> {
        self.sandbox.stream(self.within(command.into())).await
    }

    /// Changes its directory and variables; the request's `session` does not count.
    pub async fn update(&self, request: Update) -> Result<()> {
        self.sandbox.call(Update { session: self.id.clone(), ..request }).await?;
        Ok(())
    }

    /// Ends its shell, and whatever that has started.
    pub async fn delete(&self) -> Result<()> {
        self.sandbox.call(Delete { session: self.id.clone() }).await?;
        Ok(())
    }

    fn within(&self, command: Exec) -> Exec {
        Exec { session: Some(self.id.clone()), ..command }
    }
}
