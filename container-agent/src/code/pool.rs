//! Kernels that wait, started, for the next context of their language. Each is owned by a task, which hands it out, or ends it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{mpsc, oneshot};

use super::kernel::{Kernel, Launch};
use crate::{
    process::{Processes, command},
    system,
    threads::{self, Length},
};

/// Containers with less memory keep no kernel waiting: Python's takes 50 MB.
const LEAST_MEMORY: u64 = 512 << 20;

/// Asks for a kernel.
type Wanted = oneshot::Sender<Kernel>;

/// The kernels that wait; clones mean the same. Without languages there is none, no task, and nothing to pay.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    languages: Vec<String>,
    /// The owners of those that wait, by their languages. Locked for a look-up.
    owners: Mutex<HashMap<String, mpsc::Sender<Wanted>>>,
}

impl Pool {
    /// One that keeps a kernel for each of these languages, where there is memory for them.
    pub(super) fn new(languages: Vec<String>) -> Self {
        let memory = system::memory_bytes().unwrap_or_default();
        let languages = if memory < LEAST_MEMORY { Vec::new() } else { languages };
        Self(Arc::new(Waiting { languages, owners: Mutex::default() }))
    }

    /// Starts what is to wait and does not.
    pub(super) fn fill(&self, processes: &Arc<Processes>) {
        for language in &self.0.languages {
            let mut owners = self.0.owners.lock().unwrap_or_else(PoisonError::into_inner);
            if owners.get(language).is_none_or(mpsc::Sender::is_closed) {
                let (owner, wanted) = mpsc::channel(1);
                owners.insert(language.clone(), owner);
                processes.tasks().spawn(own(Arc::clone(processes), language.clone(), wanted));
            }
        }
    }

    /// The kernel that waits for this launch, if one does.
    pub(super) async fn take(&self, launch: &Launch) -> Option<Kernel> {
        if launch.cwd.is_some() || !launch.env.is_empty() || launch.user.is_some() {
            return None;
        }
        let owner = self.0.owners.lock().unwrap_or_else(PoisonError::into_inner).remove(&launch.language)?;
        let (wanted, kernel) = oneshot::channel();
        // Fails where it has ended meanwhile, or does not start.
        owner.send(wanted).await.ok()?;
        kernel.await.ok()
    }
}

/// Starts a kernel, and keeps it until somebody wants it. It ends when it is not as one would be that is started then.
async fn own(processes: Arc<Processes>, language: String, mut wanted: mpsc::Receiver<Wanted>) {
    let launch = Launch { language, cwd: None, env: std::collections::BTreeMap::new(), user: None };
    let ending = processes.ending().clone();
    let variables = variables(&processes).await;
    let Some(Ok(mut kernel)) = ending.run_until_cancelled(Kernel::start(&processes, &launch)).await else { return };
    let wanted = tokio::select! {
        wanted = wanted.recv() => wanted,
        () = kernel.until_broken() => None,
        () = ending.cancelled() => None,
    };
    match wanted {
        Some(wanted) if self::variables(&processes).await == variables => {
            // Dropped, and so ended, where nobody waits any more.
            let _ = wanted.send(kernel);
        }
        _ => drop(kernel.end(false).await),
    }
}

/// The variables that a kernel gets now.
async fn variables(processes: &Arc<Processes>) -> Option<std::collections::BTreeMap<std::ffi::OsString, std::ffi::OsString>> {
    let of = Arc::clone(processes);
    let variables = threads::run(Length::Short, move || {
        let user = command::user(&of, None).ok()?;
        Some(of.variables().base(user.as_ref(), false))
    });
    variables.await.ok().flatten()
}
