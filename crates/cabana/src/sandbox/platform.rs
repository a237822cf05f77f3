//! What a sandbox's supervisor needs of the world around it. The platform implements it, and a small world in memory does for tests.

use std::{collections::BTreeMap, time::Duration};

use cabana_protocol::{
    Error, Tenant,
    exec::Command,
    network::NetworkLayers,
    sandbox::{Instance, LifeEvent, Root, State},
    variables::VariableChanges,
};
use futures_util::future::LocalBoxFuture;

use super::record::{NetworkRecord, Record};
use crate::{
    directory::Entry,
    fault::Exit,
    lifecycle::{Instant, Probe},
    tenant::place::Place,
};

/// A call to the platform, and its words where it failed.
pub(crate) type Call = LocalBoxFuture<'static, Result<(), String>>;

/// What a container is started with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Launch {
    /// Which image.
    pub(crate) kind: String,
    /// How large it is; `None`: as the platform likes.
    pub(crate) instance: Option<Instance>,
    /// The snapshot that it begins with; `None`: the image alone.
    pub(crate) snapshot: Option<String>,
    /// What it reaches outside.
    pub(crate) network: NetworkLayers,
    /// Its environment.
    pub(crate) env: BTreeMap<&'static str, String>,
    /// What its project and its owner change in the variables of its commands.
    pub(crate) variables: VariableChanges,
    /// Where its file operations reach; `None`: as its kind says.
    pub(crate) roots: Option<Vec<Root>>,
}

/// The container of one Durable Object, the object's clock and its tasks.
///
/// Futures that are dropped cancel nothing: what was asked of the platform goes on.
pub(crate) trait Platform: 'static {
    /// The time.
    fn now(&self) -> Instant;

    /// Waits.
    fn sleep(&self, span: Duration) -> LocalBoxFuture<'static, ()>;

    /// Has the object own this work, which keeps it in memory.
    fn spawn(&self, work: LocalBoxFuture<'static, ()>);

    /// Resets the object in a moment: it is loaded again by its next request, with new connections to the platform's services. Whatever it
    /// has under way is lost.
    fn reset(&self, why: &str);

    /// Whether the platform says that a container runs. It may be wrong.
    fn running(&self) -> bool;

    /// Starts a container. That it was accepted says nothing: [`Self::exited`] knows whether it came to be.
    fn start(&self, launch: &Launch) -> Result<(), String>;

    /// Waits until the container has ended. An open question keeps the object in memory. Of one that has ended, it is answered at once.
    fn exited(&self) -> LocalBoxFuture<'static, Exit>;

    /// Asks the container to end.
    fn terminate(&self) -> Result<(), String>;

    /// Ends the container.
    fn destroy(&self) -> Call;

    /// Sets how long the container may stay idle once the object is evicted. The platform drops the setting with the object, so it is set
    /// again on load.
    fn set_inactivity_timeout(&self, span: Duration) -> Call;

    /// Replaces the rules by which requests of a container that runs, or is about to start, are judged; their secrets are the tenant's. The
    /// platform drops them with the object, so they are set again on load.
    fn set_rules(&self, tenant: &Tenant, network: &NetworkLayers) -> Call;

    /// The rules that hold for a sandbox of this kind.
    fn layers(&self, kind: &str, network: &NetworkRecord) -> NetworkLayers;

    /// Has the agent run this command, if any, then end every process and write out what it has buffered. What of this fails keeps nothing else
    /// from being done.
    fn quiesce(&self, secret: &str, before: Option<Command>) -> Call;

    /// Waits until what the object has written to its storage is kept whatever happens.
    fn sync(&self) -> Call;

    /// Takes a snapshot of the files of the container, which may run on meanwhile: its name, and its size in bytes.
    fn snapshot(&self) -> LocalBoxFuture<'static, Result<(String, u64), String>>;

    /// Asks the agent for its health, over a connection of its own. The secret is not sent.
    fn probe(&self, secret: &str, limit: Duration) -> LocalBoxFuture<'static, Probe>;

    /// Takes a place among the tenant's running sandboxes. Fails with `too_many_requests`.
    fn acquire_running(&self, tenant: &Tenant) -> LocalBoxFuture<'static, Result<(), Error>>;

    /// Gives a place back.
    fn release(&self, place: Place, tenant: &Tenant);

    /// The sandbox has come from this state into another one, and that is stored.
    fn moved(&self, from: State, event: &LifeEvent);

    /// When the alarm goes off.
    fn alarm(&self) -> LocalBoxFuture<'static, Result<Option<Instant>, Error>>;

    /// Sets the alarm, or takes it back.
    fn set_alarm(&self, at: Option<Instant>) -> LocalBoxFuture<'static, Result<(), Error>>;
}

/// Where the record of one sandbox is stored. Each call is carried out whole or not at all.
pub(crate) trait Rows: 'static {
    /// The stored record.
    fn load(&self) -> Result<Option<Record>, Error>;

    /// Stores a record in place of what was there, with what the directory is to be told of it, and an event of its history.
    fn save(&self, record: &Record, entry: Option<&Entry>, event: Option<&LifeEvent>) -> Result<(), Error>;

    /// Forgets the record, but for what the directory is to be told.
    fn remove(&self, entry: Option<&Entry>) -> Result<(), Error>;

    /// When the object was last reset by its own wish.
    fn reset_at(&self) -> Result<Option<Instant>, Error>;

    /// Notes that it is reset now.
    fn note_reset(&self, at: Instant) -> Result<(), Error>;
}
