//! Making an archive: its chunks are stored as they come, then its manifest, and then the catalog has it.

use std::collections::{BTreeSet, HashSet};

use cabana_protocol::{
    Code, Error,
    chunk::{ChunkName, Head},
    sandbox::{Archive, ArchiveId},
};
use futures_util::{StreamExt, stream::FuturesUnordered};

use super::{
    Manifest,
    bucket::{Keys, Store},
};

/// How many chunks are stored at once.
const AT_ONCE: usize = 6;

/// After how many chunks the lease is renewed: long before it ends, whatever the bucket takes.
const RENEW_AFTER: usize = 64;

/// The catalog, as one who makes an archive reaches it.
pub(crate) trait Catalog {
    async fn renew(&self, id: &ArchiveId) -> Result<(), Error>;
    async fn commit(&self, archive: &Archive, chunks: &BTreeSet<ChunkName>) -> Result<(), Error>;
}

/// What the agent sends.
pub(crate) trait Frames {
    /// The next frame; fails where there is none before the end was said.
    async fn next(&mut self) -> Result<(Head, Vec<u8>), Error>;
}

/// Stores what comes, and adds the archive to the catalog. `known`: the chunks that are stored, and stay while the lease is held. What fails leaves
/// chunks that nobody needs.
pub(crate) async fn write(
    catalog: &impl Catalog,
    store: &impl Store,
    keys: &Keys,
    mut archive: Archive,
    known: &HashSet<ChunkName>,
    frames: &mut impl Frames,
) -> Result<Archive, Error> {
    let mut chunks: Vec<(ChunkName, u32)> = Vec::new();
    let mut stored = HashSet::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        let (head, content) = frames.next().await?;
        let Some(name) = head.name else { break };
        chunks.push((name, head.raw_bytes));
        archive.size_bytes += u64::from(head.raw_bytes);
        if content.is_empty() {
            if !known.contains(&name) && !stored.contains(&name) {
                return Err(Error::new(Code::AgentUnavailable, "the agent has left out a chunk that is not stored"));
            }
        } else if stored.insert(name) && !known.contains(&name) {
            archive.new_chunks += 1;
            archive.stored_bytes += content.len() as u64;
            let key = keys.chunk(&name);
            under_way.push(async move { store.put(&key, content).await });
        }
        while under_way.len() >= AT_ONCE {
            under_way.next().await.transpose()?;
        }
        if chunks.len().is_multiple_of(RENEW_AFTER) {
            catalog.renew(&archive.id).await?;
        }
    }
    while let Some(done) = under_way.next().await {
        done?;
    }
    archive.chunks = chunks.len() as u64;
    let needed = chunks.iter().map(|(name, _)| *name).collect();
    let manifest = Manifest { archive, chunks };
    let text = serde_json::to_vec(&manifest).map_err(|_| Error::internal("the manifest of an archive cannot be encoded"))?;
    catalog.renew(&manifest.archive.id).await?;
    store.put(&keys.manifest(&manifest.archive.id), text).await?;
    catalog.commit(&manifest.archive, &needed).await?;
    Ok(manifest.archive)
}
