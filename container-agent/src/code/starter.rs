//! Starts kernels for contexts.

use std::{sync::Arc, time::Duration};

use cabana_protocol::Error;
use tokio_util::sync::CancellationToken;

use super::{
    kernel::{Kernel, Launch},
    pool::Pool,
};
use crate::{Limits, process::Processes};

/// What owners of contexts need of the agent; clones mean the same.
#[derive(Debug, Clone)]
pub(super) struct Starter {
    processes: Arc<Processes>,
    pool: Pool,
    grace: Duration,
    idle_limit: Duration,
}

impl Starter {
    /// One that starts kernels among these processes, and keeps some of these languages at hand.
    pub(super) fn new(processes: Arc<Processes>, limits: &Limits, warm: Vec<String>) -> Self {
        Self { processes, pool: Pool::new(warm), grace: limits.kill_grace, idle_limit: limits.context_idle }
    }

    /// Starts a kernel. Dropping the future ends it again.
    ///
    /// Fails as [`Kernel::start`] does.
    pub(super) async fn start(&self, launch: &Launch) -> Result<Kernel, Error> {
        let kernel = match self.pool.take(launch).await {
            Some(kernel) => Ok(kernel),
            None => Kernel::start(&self.processes, launch).await,
        };
        self.pool.fill(&self.processes);
        kernel
    }

    /// Starts the kernels that are kept at hand.
    pub(super) fn warm(&self) {
        self.pool.fill(&self.processes);
    }

    /// The agent's processes.
    pub(super) fn processes(&self) -> &Arc<Processes> {
        &self.processes
    }

    /// How long a cell may go on that has been interrupted.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    /// How long a context may be idle.
    pub(super) fn idle_limit(&self) -> Duration {
        self.idle_limit
    }

    /// Set when the agent ends.
    pub(super) fn agent_ends(&self) -> &CancellationToken {
        self.processes.ending()
    }
}
