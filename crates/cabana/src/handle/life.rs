//! The life of a sandbox, and its snapshots.

use cabana_protocol::sandbox::{CreateSandbox, CreateSnapshot, History, Sandbox, Snapshot, SnapshotId, Snapshots, UpdateSandbox};
use serde::Serialize;
use worker::Method;

use super::{Handle, check, decode};
use crate::{
    Result,
    wire::{self, CONTROL_PATH},
};

impl Handle {
    /// Makes the sandbox, or finds it. What the request names must be as it is on a sandbox that is there. The request's name and
    /// kind do not count, for this handle has an id already. The container starts with the first operation. What its project wants of it, if it
    /// names one, is noted and left to [`proxy_to_sandbox`](crate::proxy_to_sandbox), which knows projects.
    ///
    /// Fails with `invalid_request` where the id's kind is not an image of wrangler.jsonc, and with `conflict` where the sandbox has other
    /// settings; `details.differs` names them.
    pub async fn create(&self, request: &CreateSandbox) -> Result<Sandbox> {
        self.ask(Method::Post, "", Some(request)).await
    }

    /// Shows the sandbox, without waking it. Fails with `not_found`.
    pub async fn show(&self) -> Result<Sandbox> {
        self.ask(Method::Get, "", NOTHING).await
    }

    /// Changes what the request names. Fails with `not_found`.
    pub async fn update(&self, request: &UpdateSandbox) -> Result<Sandbox> {
        self.ask(Method::Patch, "", Some(request)).await
    }

    /// Ends the container and forgets the sandbox, files and all. Does nothing where there is none.
    pub async fn delete(&self) -> Result<()> {
        check(self.control(Method::Delete, "", NOTHING).await?).await?;
        Ok(())
    }

    /// Starts its container, and waits until its agent answers. Operations do that by themselves.
    pub async fn start(&self) -> Result<Sandbox> {
        let request = wire::request(Method::Post, &format!("{CONTROL_PATH}/start"), NOTHING)?;
        Ok(decode(self.reach(request).await?).await?)
    }

    /// Saves its files and ends its container. The next operation starts it again. Fails with `not_found`.
    pub async fn stop(&self) -> Result<Sandbox> {
        self.ask(Method::Post, "/stop", NOTHING).await
    }

    /// Stops and starts it. Fails with `not_found`.
    pub async fn restart(&self) -> Result<Sandbox> {
        self.ask(Method::Post, "/restart", NOTHING).await
    }

    /// Its last changes of state, oldest first. Fails with `not_found`.
    pub async fn events(&self) -> Result<History> {
        self.ask(Method::Get, "/events", NOTHING).await
    }

    /// Saves its files as they are now. A sandbox [made](Self::with) `from` the snapshot is a fork. Fails with `not_found`.
    pub async fn snapshot(&self, request: &CreateSnapshot) -> Result<Snapshot> {
        self.ask(Method::Post, "/snapshots", Some(request)).await
    }

    /// Its snapshots, the newest first. Fails with `not_found`.
    pub async fn snapshots(&self) -> Result<Snapshots> {
        self.ask(Method::Get, "/snapshots", NOTHING).await
    }

    /// Brings back the files of a snapshot. Fails with `not_found`.
    pub async fn restore(&self, snapshot: &SnapshotId) -> Result<Sandbox> {
        self.ask(Method::Post, &format!("/snapshots/{snapshot}/restore"), NOTHING).await
    }

    /// Forgets a snapshot. Fails with `not_found`.
    pub async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<()> {
        check(self.control(Method::Delete, &format!("/snapshots/{snapshot}"), NOTHING).await?).await?;
        Ok(())
    }

    async fn ask<R: serde::de::DeserializeOwned>(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<R> {
        Ok(decode(self.control(method, path, body).await?).await?)
    }
}

/// No body.
const NOTHING: Option<&()> = None;
