//! `cabana-engine prune`: frees what an engine has kept that nothing needs any more. It runs before an engine of a new run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::image::Images;
use crate::layer::LayerStore;
use crate::serve::StateDirectory;

/// What is left, and what is gone.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// How many committed images are left.
    pub snapshots: usize,
    /// The bytes of their layers.
    pub kept_bytes: u64,
    /// The bytes of layers that were removed.
    pub removed_bytes: u64,
}

/// Removes every image from the state directory whose reference is not in `keep`, a line each, and the layers that only those had. Sidecars are
/// those of an engine that was killed, and of a runtime that is gone.
pub fn run(state: &Path, keep: &Path) -> Result<Pruned> {
    let keep = fs::read_to_string(keep).with_context(|| format!("reading {}", keep.display()))?;
    let keep: BTreeSet<&str> = keep.lines().collect();
    let state = StateDirectory::lock(state)?;
    let layers = LayerStore::new(state.layers());
    let mut images = Images::load(state.images());
    let before = LayerStore::size_of(images.iter().flat_map(|image| &image.layers));
    images.keep(&keep);
    let sidecars = state.sidecars();
    if sidecars.exists() {
        fs::remove_dir_all(&sidecars).with_context(|| format!("removing {}", sidecars.display()))?;
    }
    // The list of images first: what it does not name may go.
    layers.sweep(|| images.iter().flat_map(|image| &image.layers).map(|layer| layer.id.clone()).collect());
    let kept_bytes = LayerStore::size_of(images.iter().flat_map(|image| &image.layers));
    Ok(Pruned { snapshots: images.iter().count(), kept_bytes, removed_bytes: before.saturating_sub(kept_bytes) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::image::Image;
    use crate::layer::Layer;

    #[test]
    fn what_is_not_kept_goes_and_shared_layers_stay() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let locked = StateDirectory::lock(&state).unwrap();
        let store = Arc::new(LayerStore::new(locked.layers()));
        let mut images = Images::load(locked.images());
        let layer = |size_bytes| {
            let pin = store.begin(&[]).unwrap();
            Layer { id: pin.id().to_owned(), size_bytes }
        };
        let (shared, own, other) = (layer(1), layer(20), layer(300));
        let base = Image::new("cloudflare-dev/sbx:1", BTreeSet::new());
        images.insert(base.commit("kept", vec![shared.clone(), own.clone()]));
        images.insert(base.commit("gone", vec![shared.clone(), other.clone()]));
        images.insert(base);
        drop(images);
        drop(locked);
        let keep = directory.path().join("keep");
        fs::write(&keep, "kept\nnever-heard-of\n").unwrap();
        assert_eq!(run(&state, &keep).unwrap(), Pruned { snapshots: 1, kept_bytes: 21, removed_bytes: 300 });
        assert!([shared, own].iter().all(|layer| store.path(&layer.id).exists()) && !store.path(&other.id).exists());
        assert_eq!(run(&state, &keep).unwrap().removed_bytes, 0);
    }
}
