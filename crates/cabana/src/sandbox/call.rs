//! A request to the agent whose client may hang up. The agent cannot tell that from the end of this object, so it is told.

use std::rc::Rc;

use cabana_protocol::{Error, Operation, call, exec::Exec};
use worker::{Method, Request};

use super::{agent::Agent, runtime::Supervisor};
use crate::{log, random, wire};

/// How often it is tried to tell the agent. A command that it does not hear of ends when its grace is over.
const ATTEMPTS: u32 = 2;

/// A call that starts a command.
pub(super) struct Call {
    supervisor: Rc<Supervisor>,
    name: String,
}

impl Call {
    /// The call that a request becomes; `None` where nothing goes on without its client.
    pub(super) fn of(supervisor: &Rc<Supervisor>, request: &Request) -> Option<Self> {
        let path = request.path();
        let starts = path.trim_end_matches('/').strip_prefix("/v1/") == Some(Exec::NAME);
        starts.then(|| Self { supervisor: Rc::clone(supervisor), name: random::name() })
    }

    /// What the agent knows it by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Tells the agent that the client has hung up, unless the sandbox sleeps.
    pub(super) fn hang_up(self) {
        let supervisor = Rc::clone(&self.supervisor);
        supervisor.platform().state().wait_until(async move {
            for _ in 0..ATTEMPTS {
                if !self.supervisor.is_up() {
                    return;
                }
                match self.tell().await {
                    Ok(()) => return,
                    Err(error) => log::warn(None, &format!("the agent was not told that a client has hung up: {error}")),
                }
            }
        });
    }

    async fn tell(&self) -> Result<(), Error> {
        let lease = self.supervisor.ready_quietly().await?;
        let request = wire::request(Method::Delete, &call::path(&self.name), None::<&()>)?;
        let told = Agent::new(&lease)?.fetch(&request, None).await;
        told.map(drop).map_err(|error| Error::internal(error.to_string()))
    }
}
