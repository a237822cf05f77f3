//! Sessions: shells that live between commands. Each is owned by one task ([`task`]), which has the shell run one command after
//! the other; whoever wants to run one waits for its turn.
//!
//! The shell is an interactive one without a terminal, because such a shell survives an interrupt: it drops what it is doing, as at
//! ctrl-C, and keeps all that was set. It reads one line for each command, which sources a file with the caller's script. So an
//! unbalanced quote is an error and not a wait for more, redirections are undone when the script is done, and no loop or function
//! around the script changes what `break`, `return` or `local` mean.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`sessions`] | all of them: creating, finding, taking turns |
//! | [`state`] | the state of a shell, for what starts from it |
//! | [`task`] | the task: one command after the other, until the shell ends |
//! | [`run`] | one command, as a supervisor's target |
//! | [`recovery`] | how a shell that was interrupted is brought back to its senses |
//! | [`script`] | a command as shell scripts, what the shell is told, and what it reports |
//! | [`fifo`] | where shell and agent meet |

mod fifo;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod recovery;
mod run;
mod script;
mod sessions;
mod state;
mod task;

pub use sessions::Sessions;
pub(crate) use sessions::Ticket;

use cabana_protocol::{
    Error,
    file::Done,
    session::{self, Create, Delete, Get, List, Update},
};

use crate::{Agent, dispatch::Handle};

impl Handle<Create> for Agent {
    async fn handle(&self, request: Create) -> Result<session::Session, Error> {
        Ok(self.sessions.create(&self.processes, request).await?.describe())
    }
}

impl Handle<List> for Agent {
    async fn handle(&self, _: List) -> Result<session::Sessions, Error> {
        Ok(session::Sessions { sessions: self.sessions.list().iter().map(|session| session.describe()).collect() })
    }
}

impl Handle<Get> for Agent {
    async fn handle(&self, request: Get) -> Result<session::Session, Error> {
        Ok(self.sessions.find(&request.session)?.describe())
    }
}

impl Handle<Update> for Agent {
    async fn handle(&self, request: Update) -> Result<session::Session, Error> {
        Ok(self.sessions.update(&self.processes, request).await?.describe())
    }
}

impl Handle<Delete> for Agent {
    async fn handle(&self, request: Delete) -> Result<Done, Error> {
        self.sessions.find(&request.session)?.end().await;
        Ok(Done {})
    }
}
