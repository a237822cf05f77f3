//! Images of running containers.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{Engine, EngineError, lock};
use crate::container::workload::Changes;
use crate::image::Image;
use crate::layer::copy::{self, Rules};
use crate::layer::{Layer, LayerStore, Pin};
use crate::sandbox::UNCOMMITTED;

/// Most bytes of all layers together: as much as one snapshot of the platform may have.
const LIMIT_BYTES: u64 = 20 << 30;

/// Disk space that commits leave to everything else on the machine, in bytes.
const RESERVE_BYTES: u64 = 1 << 30;

/// How many layers an image may have before a commit merges them into one. The mount's options hold about 300.
const MERGE_LAYERS: usize = 64;

impl Engine {
    /// Makes an image of this name of what a running container has over the host's files. With `pause`, its processes stand still meanwhile
    /// where the machine's cgroups can do that.
    ///
    /// Costs a copy of what the container has changed since it was started: layers that it began with are shared. A commit that is dropped or
    /// fails leaves no image.
    pub async fn commit(&self, container: &str, name: &str, pause: bool) -> Result<Image, EngineError> {
        let container = self.container(container)?;
        let changes = container.changes().await?;
        let base = container.identity().image.clone();
        let pin = self.settings().layers.begin(&base.layers).map_err(EngineError::Commit)?;
        let limit_bytes = self.room()?;
        let store = Arc::clone(&self.settings().layers);
        let work = move || {
            let layers = copy_changes(&store, &pin, &changes, &base.layers, pause, limit_bytes)?;
            Ok((pin, base, layers))
        };
        let copied = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let (pin, base, layers) = copied.map_err(|error| {
            self.sweep_layers();
            EngineError::Commit(error)
        })?;
        let image = base.commit(name, layers);
        self.add_image(image.clone());
        // From here on the image keeps the layers.
        drop(pin);
        Ok(image)
    }

    /// Removes layers that nothing needs any more, in the background.
    pub fn sweep_layers(&self) {
        let engine = self.clone();
        let sweep = move || engine.settings().layers.sweep(|| engine.referenced_layers());
        self.spawn(async move {
            if let Err(error) = tokio::task::spawn_blocking(sweep).await {
                tracing::warn!(%error, "layers were not swept");
            }
        });
    }

    /// The bytes that all layers take which are not garbage.
    pub fn layer_bytes(&self) -> u64 {
        LayerStore::size_of(self.all_layers().iter())
    }

    fn referenced_layers(&self) -> BTreeSet<String> {
        self.all_layers().into_iter().map(|layer| layer.id).collect()
    }

    fn all_layers(&self) -> Vec<Layer> {
        // In the order in which a creation locks them: it takes layers from an image to a container.
        let images = self.images();
        let containers = lock(&self.shared.containers);
        let of_containers = containers.values().flat_map(|container| container.identity().image.layers.clone());
        images.iter().flat_map(|image| image.layers.clone()).chain(of_containers).collect()
    }

    /// How many bytes a commit may add.
    fn room(&self) -> Result<u64, EngineError> {
        let used_bytes = self.layer_bytes();
        let disk = rustix::fs::statvfs(self.settings().layers.directory());
        let disk = disk.map_err(|error| EngineError::Commit(error.into()))?;
        let free = (disk.f_bavail * disk.f_frsize).saturating_sub(RESERVE_BYTES);
        match LIMIT_BYTES.saturating_sub(used_bytes).min(free) {
            0 => Err(EngineError::LayersFull { used_bytes, limit_bytes: LIMIT_BYTES }),
            room => Ok(room),
        }
    }
}

/// Copies the changes into the new layer; returns all layers of the new image. Where there would be too many, the new one stands for all.
fn copy_changes(
    store: &LayerStore,
    pin: &Pin,
    changes: &Changes,
    below: &[Layer],
    pause: bool,
    limit_bytes: u64,
) -> io::Result<Vec<Layer>> {
    let target = File::open(pin.path())?;
    let (mut layers, mut size_bytes) = (below.to_vec(), 0);
    if below.len() >= MERGE_LAYERS && can_merge(store, changes, below)? {
        layers.clear();
        for layer in below {
            let layer = File::open(store.path(&layer.id))?;
            let rules = Rules { skipped: &[], limit_bytes: limit_bytes - size_bytes };
            size_bytes += copy::copy(layer.as_fd(), target.as_fd(), rules)?;
        }
    }
    // While the processes stand still nothing but their changes is copied.
    let _frozen = changes.freezer.clone().filter(|_| pause).map(|freezer| freezer.freeze()).transpose()?;
    let rules = Rules { skipped: UNCOMMITTED, limit_bytes: limit_bytes - size_bytes };
    size_bytes += copy::copy(changes.upper.as_fd(), target.as_fd(), rules)?;
    layers.push(Layer { id: pin.id().to_owned(), size_bytes });
    Ok(layers)
}

/// Whether the layers mean the same as one. Those with renamed directories do not.
fn can_merge(store: &LayerStore, changes: &Changes, layers: &[Layer]) -> io::Result<bool> {
    for layer in layers {
        if copy::has_redirects(File::open(store.path(&layer.id))?.as_fd())? {
            return Ok(false);
        }
    }
    Ok(!copy::has_redirects(changes.upper.as_fd())?)
}
