//! The variables of the sandbox's commands: what its agent is told of them, and what callers are shown.

use std::{pin::pin, time::Duration};

use cabana_protocol::{
    Error, decode_own,
    sandbox::State,
    variables::{ImageVariables, Origin, SetVariables, VariableList},
};
use futures_util::future::{self, Either};
use worker::{Delay, Method};

use super::{agent::Agent, object::Object};
use crate::{environment::Layers, fault, log, wire};

/// Where the agent takes and shows them.
const PATH: &str = "/v1/env";

/// How long the agent may take to tell the image's.
const PATIENCE: Duration = Duration::from_secs(1);

impl Object {
    /// Has the agent give new commands the present variables; does nothing where the sandbox is not up, for its next start does.
    ///
    /// Fails with `container_not_ready` where the agent was not reached: repeating the change reaches it.
    pub(super) async fn tell_variables(&self) -> Result<(), Error> {
        if !self.supervisor.is_up() {
            return Ok(());
        }
        let lease = self.supervisor.ready_quietly().await?;
        let version = self.store.record()?.version;
        let set = SetVariables { version, env: self.layers(|layers| layers.merged())? };
        let request = wire::request(Method::Put, PATH, Some(&set))?;
        match Agent::new(&lease)?.fetch(&request, None).await.map(|response| response.status_code()) {
            Ok(200) => lease.answered(),
            Ok(status) => {
                log::warn(None, &format!("an older agent takes no variables ({status}): they hold from the next start on"))
            }
            Err(error) => {
                log::warn(None, &format!("the agent was not told of the sandbox's variables: {error}"));
                lease.failed();
                return Err(fault::not_ready("the variables are stored, but the agent was not reached: repeat the request"));
            }
        }
        Ok(())
    }

    /// All that new commands get, with their origins.
    pub(super) async fn variables(&self) -> Result<VariableList, Error> {
        let image = if self.store.state() == Some(State::Running) { self.image_variables().await } else { None };
        self.layers(|layers| layers.describe(image))
    }

    /// The image's, in the word of the agent; `None` where it does not answer.
    async fn image_variables(&self) -> Option<ImageVariables> {
        let ask = async {
            let lease = self.supervisor.ready_quietly().await.ok()?;
            let request = wire::request(Method::Get, PATH, None::<&()>).ok()?;
            decode_own(&Agent::new(&lease).ok()?.fetch(&request, None).await.ok()?.bytes().await.ok()?).ok()
        };
        match future::select(pin!(ask), pin!(Delay::from(PATIENCE))).await {
            Either::Left((image, _)) => image,
            Either::Right(_) => None,
        }
    }

    fn layers<T>(&self, look: impl FnOnce(Layers<'_>) -> T) -> Result<T, Error> {
        let record = self.store.record()?;
        let kind = self.config.as_ref().map(|config| config.variables_of(&record.kind)).unwrap_or_default();
        let layers = [(Origin::Kind, &kind), (Origin::Project, &record.project_env), (Origin::Sandbox, &record.env)];
        Ok(look(Layers(layers)))
    }
}
