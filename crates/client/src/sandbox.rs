//! One sandbox.

use std::{fmt, sync::Arc};

use cabana_protocol::{
    Operation, SandboxId, Streaming,
    audit::{AuditPage, AuditVerification},
    port::Connect,
    preview::{ExposePort, ExposedPort, ExposedPorts},
    sandbox::{CreateSnapshot, ForkSandbox, Forks, History, Sandbox as Shown, Snapshot, SnapshotId, Snapshots, UpdateSandbox},
};
use http::Method;

use crate::{Call, Client, Result, Running, Tunnel, connection::Link, request::Request};

/// A sandbox of one service. Clones share one WebSocket, over which all their streams run.
///
/// A stream whose events are not read delays the others of the same socket once 256 of its events wait. [`Sandbox::separate`] gives a
/// handle with a socket of its own.
#[derive(Clone)]
pub struct Sandbox {
    client: Client,
    id: SandboxId,
    link: Arc<Link>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sandbox").field("id", &self.id).field("client", &self.client).finish_non_exhaustive()
    }
}

impl Sandbox {
    pub(crate) fn new(client: Client, id: SandboxId) -> Self {
        let link = Arc::new(Link::new(client.clone(), &id));
        Self { client, id, link }
    }

    /// Its id.
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// The client that it belongs to.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same sandbox with a WebSocket of its own.
    pub fn separate(&self) -> Self {
        Self::new(self.client.clone(), self.id.clone())
    }

    /// Runs an operation to its end. The answer of a streaming operation is the fold of its events: of `exec`, its exit and its output.
    ///
    /// Is repeated where the service says that nothing was carried out, and after a lost connection if the operation is idempotent.
    pub async fn call<O: Call>(&self, operation: O) -> Result<O::Output> {
        operation.call(self).await
    }

    /// Starts a streaming operation. Dropping the answer cancels the operation.
    pub async fn stream<O: Streaming>(&self, operation: O) -> Result<Running<O>> {
        Running::start(self.link.clone(), operation).await
    }

    /// Connects to a port or a Unix socket of the sandbox. Its window is the client's: `window_bytes` is not heeded.
    pub async fn tunnel(&self, request: Connect) -> Result<Tunnel> {
        Tunnel::open(self, request).await
    }

    pub(crate) async fn post<O: Operation>(&self, operation: &O) -> Result<O::Response> {
        let route = self.route(&format!("/{}", O::NAME.replace('.', "/")));
        self.client.json(Request::new(Method::POST, route).with_json(operation)?.idempotent(O::IDEMPOTENT)).await
    }

    /// How it is. Wakes nothing.
    pub async fn show(&self) -> Result<Shown> {
        self.client.json(self.request(Method::GET, "")).await
    }

    /// Changes what the request names.
    pub async fn update(&self, request: &UpdateSandbox) -> Result<Shown> {
        self.client.json(self.request(Method::PATCH, "").with_json(request)?.idempotent(true)).await
    }

    /// Destroys it. It may be gone already.
    pub async fn delete(&self) -> Result<()> {
        self.client.empty(self.request(Method::DELETE, "")).await
    }

    /// Starts its container, and waits until its agent answers.
    pub async fn start(&self) -> Result<Shown> {
        self.client.json(self.request(Method::POST, "/start").idempotent(true)).await
    }

    /// Saves its files and ends its container.
    pub async fn stop(&self) -> Result<Shown> {
        self.client.json(self.request(Method::POST, "/stop").idempotent(true)).await
    }

    /// Stops and starts it.
    pub async fn restart(&self) -> Result<Shown> {
        self.client.json(self.request(Method::POST, "/restart")).await
    }

    /// Its last changes of state, oldest first.
    pub async fn events(&self) -> Result<History> {
        self.client.json(self.request(Method::GET, "/events")).await
    }

    /// Saves its files as they are now.
    pub async fn snapshot(&self, request: &CreateSnapshot) -> Result<Snapshot> {
        self.client.json(self.request(Method::POST, "/snapshots").with_json(request)?).await
    }

    /// Its snapshots, the newest first.
    pub async fn snapshots(&self) -> Result<Snapshots> {
        self.client.json(self.request(Method::GET, "/snapshots")).await
    }

    /// Brings back the files of a snapshot.
    pub async fn restore(&self, snapshot: &SnapshotId) -> Result<Shown> {
        self.client.json(self.request(Method::POST, &format!("/snapshots/{snapshot}/restore"))).await
    }

    /// Forgets a snapshot.
    pub async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<()> {
        self.client.empty(self.request(Method::DELETE, &format!("/snapshots/{snapshot}"))).await
    }

    /// Makes sandboxes that begin with its files.
    pub async fn fork(&self, request: &ForkSandbox) -> Result<Forks> {
        self.client.json(self.request(Method::POST, "/fork").with_json(request)?).await
    }

    /// Gives a port a URL, or changes how it is reached.
    pub async fn expose(&self, request: &ExposePort) -> Result<ExposedPort> {
        self.client.json(self.request(Method::POST, "/ports").with_json(request)?.idempotent(true)).await
    }

    /// The ports that have a URL.
    pub async fn exposed(&self) -> Result<ExposedPorts> {
        self.client.json(self.request(Method::GET, "/ports")).await
    }

    /// Takes a port's URL away.
    pub async fn hide(&self, port: u16) -> Result<()> {
        self.client.empty(self.request(Method::DELETE, &format!("/ports/{port}"))).await
    }

    /// A page of the audit trail, the newest entries first; the next one begins at the answer's `cursor`.
    pub async fn audit(&self, cursor: Option<&str>) -> Result<AuditPage> {
        let request = self.request(Method::GET, "/audit");
        self.client.json(cursor.into_iter().fold(request, |request, cursor| request.with_query("cursor", cursor))).await
    }

    /// Checks a page of the chain of the audit trail; the next one begins at the answer's `cursor`.
    pub async fn verify_audit(&self, cursor: Option<&str>) -> Result<AuditVerification> {
        let request = self.request(Method::GET, "/audit/verify");
        self.client.json(cursor.into_iter().fold(request, |request, cursor| request.with_query("cursor", cursor))).await
    }

    pub(crate) fn request(&self, method: Method, route: &str) -> Request {
        Request::new(method, self.route(route))
    }

    fn route(&self, route: &str) -> String {
        format!("/v1/sandboxes/{}{route}", self.id)
    }
}
