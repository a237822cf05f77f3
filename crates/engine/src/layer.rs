//! Layers: what containers have changed, as directories in the form that overlayfs stacks.
//!
//! A commit copies the changes of a running container into a new layer. The kernel offers nothing cheaper: an overlay that
//! processes use cannot be given another upper directory. Images name their layers, and layers are shared: a container from
//! an image mounts them and copies nothing.
//!
//! A layer is garbage when neither an image nor a container nor a commit under way names it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use serde::{Deserialize, Serialize};

pub mod copy;

/// Length of a layer's id, in digits. Short, because a mount's options name all layers in one page.
const ID_DIGITS: usize = 12;

/// A layer, as an image names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The name of its directory.
    pub id: String,
    /// The size of its files, in bytes.
    pub size_bytes: u64,
}

/// The directory of all layers.
#[derive(Debug)]
pub struct LayerStore {
    directory: PathBuf,
    /// How many commits under way need a layer. Held for single operations.
    pins: Mutex<BTreeMap<String, usize>>,
}

impl LayerStore {
    /// The store in this directory, which is made with the first layer.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, pins: Mutex::default() }
    }

    /// The directory of a layer.
    pub fn path(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }

    /// The directory of all layers.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory of a new layer over these. None of them is garbage until the pin is dropped.
    pub fn begin(self: &Arc<Self>, below: &[Layer]) -> io::Result<Pin> {
        let id = crate::id::random_hex()[..ID_DIGITS].to_owned();
        let ids: Vec<String> = below.iter().map(|layer| layer.id.clone()).chain([id.clone()]).collect();
        self.change_pins(&ids, |count| count + 1);
        let pin = Pin { store: Arc::clone(self), id, ids };
        fs::create_dir_all(&self.directory)?;
        fs::create_dir(pin.path())?;
        Ok(pin)
    }

    /// The bytes of all files of these layers, each counted once.
    pub fn size_of<'a>(layers: impl Iterator<Item = &'a Layer>) -> u64 {
        layers.map(|layer| (&layer.id, layer.size_bytes)).collect::<BTreeMap<_, _>>().values().sum()
    }

    /// Removes every layer that is garbage. `referenced` is asked after the directory was listed, so a layer that is made meanwhile stays.
    pub fn sweep(&self, referenced: impl FnOnce() -> BTreeSet<String>) {
        let listed: Vec<_> = fs::read_dir(&self.directory).into_iter().flatten().flatten().collect();
        // The pins first: a commit drops its pin once its image is known.
        let pinned: BTreeSet<String> = self.pins().keys().cloned().collect();
        let referenced = referenced();
        for entry in listed {
            let name = entry.file_name().to_string_lossy().into_owned();
            if pinned.contains(&name) || referenced.contains(&name) {
                continue;
            }
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(layer = name, %error, "a layer that nothing needs was not removed; the next sweep tries again");
            }
        }
    }

    fn pins(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_pins(&self, ids: &[String], change: impl Fn(usize) -> usize) {
        let mut pins = self.pins();
        for id in ids {
            let count = pins.entry(id.clone()).or_default();
            *count = change(*count);
        }
        pins.retain(|_, count| *count > 0);
    }
}

/// A layer that is being made, and the right to those below it.
#[derive(Debug)]
pub struct Pin {
    store: Arc<LayerStore>,
    id: String,
    ids: Vec<String>,
}

impl Pin {
    /// The new layer's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The new layer's directory.
    pub fn path(&self) -> PathBuf {
        self.store.path(&self.id)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.change_pins(&self.ids, |count| count - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_without_a_reference_are_removed_and_those_of_a_commit_under_way_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(LayerStore::new(directory.path().join("layers")));
        let base = store.begin(&[]).unwrap();
        fs::write(base.path().join("a"), "1").unwrap();
        let base_layer = Layer { id: base.id().to_owned(), size_bytes: 1 };
        let over = store.begin(std::slice::from_ref(&base_layer)).unwrap();
        let (base_path, over_path) = (base.path(), over.path());
        drop(base);
        store.sweep(BTreeSet::new);
        assert!(base_path.exists() && over_path.exists(), "the commit under way needs both");
        let id = over.id().to_owned();
        drop(over);
        store.sweep(|| BTreeSet::from([id]));
        assert!(!base_path.exists() && over_path.exists());
        store.sweep(BTreeSet::new);
        assert!(!over_path.exists());
    }

    #[test]
    fn shared_layers_count_once() {
        let layer = |id: &str, size_bytes| Layer { id: id.to_owned(), size_bytes };
        let (one, two) = (layer("a", 3), layer("b", 4));
        assert_eq!(LayerStore::size_of([&one, &two, &one].into_iter()), 7);
    }
}
