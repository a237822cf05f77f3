//! Removing what no archive needs.

use cabana_protocol::Error;

use super::{
    bucket::{Keys, Store},
    catalog::{Catalog, Rows},
};
use crate::lifecycle::Instant;

/// Removes the chunks that no archive needs, and the manifests of none. False while somebody makes an archive: then nothing is removed.
///
/// Whatever ends it, the next one goes on where it has ended.
pub(crate) async fn sweep<R: Rows>(
    catalog: &Catalog<R>,
    store: &impl Store,
    keys: &Keys,
    now: impl Fn() -> Instant,
) -> Result<bool, Error> {
    let mut lease = None;
    for prefix in [keys.chunks(), keys.manifests()] {
        let mut after: Option<String> = None;
        loop {
            // What is asked for here is decided anew below: the catalog may change while the bucket answers.
            let page = store.list(&prefix, after.as_deref()).await?;
            let Some(last) = page.last().cloned() else { break };
            let Some(held) = catalog.sweep(lease, now())? else { return Ok(false) };
            lease = Some(held);
            let needed = |key: &String| match (keys.chunk_of(key), keys.archive_of(key)) {
                (Some(chunk), _) => catalog.0.needs(&chunk),
                (None, Some(archive)) => catalog.0.archive(&archive).map(|archive| archive.is_some()),
                // Nobody knows what it is.
                (None, None) => Ok(true),
            };
            let mut garbage = Vec::new();
            for key in page {
                if !needed(&key)? {
                    garbage.push(key);
                }
            }
            if !garbage.is_empty() {
                store.delete(garbage).await?;
            }
            after = Some(last);
        }
    }
    // Where there was nothing at all, there was no need of a lease.
    match lease {
        Some(lease) => catalog.swept(lease)?,
        None => {
            if let Some(lease) = catalog.sweep(None, now())? {
                catalog.swept(lease)?;
            }
        }
    }
    Ok(true)
}
