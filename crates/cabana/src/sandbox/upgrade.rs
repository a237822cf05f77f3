//! Moving a sandbox to its kind's present image.
//!
//! A snapshot is tied to the image that it came from, so the files go by way of an archive. A helper, which is a sandbox of its own, starts
//! from the new image and takes them in; then the sandbox begins with the helper's snapshot. Whatever fails or dies before that last step changes
//! nothing of the sandbox, and the helper goes by itself.

use std::rc::Rc;

use cabana_protocol::{
    Error, SandboxId,
    process::End,
    sandbox::{Archive, CreateArchive, CreateSandbox, CreateSnapshot, RestoreArchive, Snapshot, Upgraded},
};
use serde::{Serialize, de::DeserializeOwned};
use worker::Method;

use super::{agent::Agent, archives::Storage, object::Object, snapshots::Source};
use crate::{
    Address, Handle, Principal, handle, log, random,
    tenant::archives::Call,
    wire::{self, CONTROL_PATH},
};

/// After which time a helper goes whose maker has died, in milliseconds.
const HELPER_LIFETIME_MS: u64 = 60 * 60 * 1_000;

/// How long processes may take to end after SIGTERM, in milliseconds.
const GRACE_MS: u64 = 2_000;

impl Object {
    /// Has the sandbox begin with its files over its kind's present image. The files as they are now stay as a snapshot: the way back.
    ///
    /// Fails with `not_implemented` where the deployment has no bucket, and as archives, creations and snapshots do.
    pub(super) async fn upgrade(self: &Rc<Self>, principal: &Principal) -> Result<Upgraded, Error> {
        let storage = Storage::of(self)?;
        self.check_room()?;
        let lease = self.supervisor.ready().await?;
        // What they write after the archive was made would be in the snapshot alone.
        let end = End { all: true, grace_ms: Some(GRACE_MS), keep_restarts: true, ..End::default() };
        if let Err(error) = Agent::new(&lease)?.call(&end).await {
            log::warn(None, &format!("processes of a sandbox that is upgraded were not ended: {error}"));
        }
        drop(lease);
        let mut archives: Vec<Archive> = Vec::new();
        let mut moved = Ok(());
        for root in self.roots_to_keep() {
            let asked =
                CreateArchive { path: Some(root.as_str().into()), name: Some("upgrade".to_owned()), ..CreateArchive::default() };
            match self.archive(&storage, asked).await {
                Ok(archive) => archives.push(archive),
                Err(error) => moved = Err(error),
            }
        }
        let upgraded = match moved {
            Ok(()) => self.move_to_new_image(&archives, principal).await,
            Err(error) => Err(error),
        };
        for archive in archives {
            if let Err(error) = storage.tenant().call::<()>(&Call::Delete { id: archive.id }).await {
                log::warn(None, &format!("an archive of an upgrade is left: {}", error.message));
            }
        }
        upgraded
    }

    async fn move_to_new_image(self: &Rc<Self>, archives: &[Archive], principal: &Principal) -> Result<Upgraded, Error> {
        let helper = Helper::create(self, principal).await?;
        let moved = helper.take_in(archives).await;
        let upgraded = match moved {
            Ok(source) => self.switch(source).await,
            Err(error) => Err(error),
        };
        // Its snapshot stays on the platform, which knows nothing of lists.
        if let Err(error) = helper.handle.delete().await {
            log::warn(None, &format!("the helper of an upgrade goes at the end of its lifetime: {}", error.message));
        }
        upgraded
    }

    /// Begins with the helper's files from the next start on.
    async fn switch(self: &Rc<Self>, source: Source) -> Result<Upgraded, Error> {
        self.supervisor.stop().await?;
        let before = self.keep_present("before the upgrade").await?;
        self.supervisor.restore(source.into_saved())?;
        self.outbox.deliver();
        Ok(Upgraded { sandbox: self.supervisor.look().await?, before })
    }
}

/// The sandbox that takes the files in.
struct Helper {
    handle: Handle,
    id: SandboxId,
}

impl Helper {
    async fn create(object: &Object, principal: &Principal) -> Result<Self, Error> {
        let (env, binding) = object.admission.way();
        let (kind, instance, roots) = {
            let record = object.store.record()?;
            (record.kind.clone(), record.instance, record.roots.clone())
        };
        let id = SandboxId::new(&kind, &random::name())?;
        let handle = Handle::new(env, &binding, Address::new(id.clone(), &principal.tenant))?.acting_for(principal);
        let request = CreateSandbox { instance, roots, max_lifetime_ms: Some(HELPER_LIFETIME_MS), ..CreateSandbox::default() };
        handle.create(&request).await?;
        Ok(Self { handle, id })
    }

    /// Takes the files in, and gives what a sandbox needs to begin with them.
    async fn take_in(&self, archives: &[Archive]) -> Result<Source, Error> {
        for archive in archives {
            let asked = RestoreArchive { path: Some(archive.path.clone()) };
            let path = format!("/archives/{}/restore", archive.id);
            self.ask::<serde_json::Value>(Method::Post, &path, Some(&asked)).await?;
        }
        let name = CreateSnapshot { name: Some("upgrade".to_owned()) };
        let snapshot: Snapshot = self.ask(Method::Post, "/snapshots", Some(&name)).await?;
        let path = format!("/snapshots/{}/source?for={}", snapshot.id, self.id);
        self.ask(Method::Get, &path, None::<&()>).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<T, Error> {
        handle::decode(self.handle.pass(wire::request(method, &format!("{CONTROL_PATH}{path}"), body)?).await?).await
    }
}
