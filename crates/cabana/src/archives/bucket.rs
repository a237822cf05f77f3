//! Where manifests and chunks are stored.

use cabana_protocol::{Code, Error, Tenant, chunk::ChunkName, sandbox::ArchiveId};
use worker::{Bucket, Env};

/// The R2 binding of wrangler.jsonc.
const BINDING: &str = "ARCHIVES";

/// Keys of one tenant in a bucket.
pub(crate) trait Store {
    /// The value of a key; `None` where there is none.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error>;
    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Error>;
    async fn delete(&self, keys: Vec<String>) -> Result<(), Error>;
    /// Some of the keys with this prefix that come after this one, in their order; none at the end.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Error>;
}

/// The keys of a tenant.
#[derive(Debug, Clone)]
pub(crate) struct Keys(String);

impl Keys {
    /// A tenant's name may have any character.
    pub(crate) fn new(tenant: &Tenant) -> Self {
        let encode = |byte: u8| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        };
        Self(tenant.as_str().bytes().map(encode).collect())
    }

    pub(crate) fn chunks(&self) -> String {
        format!("{}/chunks/", self.0)
    }

    pub(crate) fn chunk(&self, chunk: &ChunkName) -> String {
        format!("{}{chunk}", self.chunks())
    }

    /// The chunk that a key is of.
    pub(crate) fn chunk_of(&self, key: &str) -> Option<ChunkName> {
        ChunkName::parse(key.strip_prefix(&self.chunks())?)
    }

    /// An archive that a caller has put under a name of its own. No sweep looks there.
    pub(crate) fn export(&self, key: &str) -> String {
        format!("{}/exports/{key}", self.0)
    }

    pub(crate) fn manifests(&self) -> String {
        format!("{}/archives/", self.0)
    }

    pub(crate) fn manifest(&self, archive: &ArchiveId) -> String {
        format!("{}{archive}", self.manifests())
    }

    /// The archive whose manifest a key is of.
    pub(crate) fn archive_of(&self, key: &str) -> Option<ArchiveId> {
        key.strip_prefix(&self.manifests())?.parse().ok()
    }
}

/// The bucket itself. Fails with `not_implemented` where the deployment has none.
pub(crate) fn bucket(env: &Env) -> Result<Bucket, Error> {
    let missing = |_| Error::new(Code::NotImplemented, format!("no R2 bucket is bound as {BINDING}: add it to wrangler.jsonc"));
    env.bucket(BINDING).map_err(missing)
}

/// R2.
#[derive(Debug, Clone)]
pub(crate) struct R2(Bucket);

impl R2 {
    /// Fails with `not_implemented` where the deployment has no bucket.
    pub(crate) fn of(env: &Env) -> Result<Self, Error> {
        bucket(env).map(Self)
    }
}

impl Store for R2 {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(object) = self.0.get(key).execute().await.map_err(failed)? else { return Ok(None) };
        let Some(body) = object.body() else { return Ok(None) };
        body.bytes().await.map(Some).map_err(failed)
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Error> {
        self.0.put(key, value).execute().await.map(drop).map_err(failed)
    }

    async fn delete(&self, keys: Vec<String>) -> Result<(), Error> {
        self.0.delete_multiple(keys).await.map_err(failed)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Error> {
        let list = self.0.list().prefix(prefix);
        let list = after.into_iter().fold(list, |list, after| list.start_after(after));
        let found = list.execute().await.map_err(failed)?;
        Ok(found.objects().iter().map(worker::Object::key).collect())
    }
}

fn failed(error: worker::Error) -> Error {
    Error::new(Code::ContainerNotReady, format!("the bucket of archives does not answer: {error}")).because("bucket")
}
