//! The engine: its images, its containers, and what they share.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use crate::container::spec::{NetworkMode, Spec};
use crate::container::{Container, Identity, task};
use crate::faults::StartFaults;
use crate::image::{Image, Images};
use crate::layer::LayerStore;
use crate::limits::Cgroups;
use crate::sandbox::host::HostView;
use crate::sandbox::host_network::HostNetwork;
use crate::sandbox::launch::LaunchError;
use crate::sidecar::store::{SidecarRecord, SidecarStore};

mod commit;

/// The engine's settings.
#[derive(Debug)]
pub struct Settings {
    /// The program that sandboxes run.
    pub agent: PathBuf,
    /// An empty directory of the host, over which each sandbox mounts its own tmpfs.
    pub scratch: PathBuf,
    /// Which parts of the host sandboxes see.
    pub host: HostView,
    /// How the host reaches the internet.
    pub network: HostNetwork,
    /// The file in which images are stored.
    pub images: PathBuf,
    /// What committed containers have changed.
    pub layers: Arc<LayerStore>,
    /// Records of running sidecars.
    pub sidecars: SidecarStore,
    /// Faults that tests inject; `None` where the engine does not allow any.
    pub faults: Option<StartFaults>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No image of this reference is known.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// No container of this name or id.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// The name is taken.
    #[error("Conflict. The container name \"/{0}\" is already in use")]
    NameInUse(String),
    /// The name is not valid.
    #[error("Invalid container name ({0}): use letters, digits, '_', '.' and '-'")]
    BadName(String),
    /// The container must run for this, and does not.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The container must not run for this, and does.
    #[error("container {0} is running: stop it, or remove it with force")]
    Running(String),
    /// The engine is ending.
    #[error("the engine is stopping")]
    Closing,
    /// The files could not be written.
    #[error("the files could not be placed")]
    Upload(#[source] io::Error),
    /// More files than a container may get.
    #[error("the files of a container exceed 1 MiB")]
    UploadTooLarge,
    /// It runs already.
    #[error("container already started")]
    AlreadyStarted,
    /// The sandbox could not be started.
    #[error("the sandbox did not start")]
    Launch(#[from] LaunchError),
    /// The sidecar could not be started.
    #[error("the sidecar did not start")]
    Sidecar(#[source] io::Error),
    /// The network could not be made.
    #[error("the network could not be made")]
    Network(#[source] io::Error),
    /// The limits could not be set.
    #[error("the limits could not be set")]
    Cgroup(#[source] io::Error),
    /// A sidecar, or a sandbox whose kernel gives it no overlay.
    #[error("the changes of container {0} cannot be told from the host's files")]
    NoChanges(String),
    /// All layers together have reached their limit.
    #[error("the layers of all images take {used_bytes} bytes of {limit_bytes}: remove images, or restart with a fresh state")]
    LayersFull {
        /// What they take.
        used_bytes: u64,
        /// What they may take.
        limit_bytes: u64,
    },
    /// The changes could not be copied.
    #[error("the changes could not be copied")]
    Commit(#[source] io::Error),
}

/// A handle to the engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    cgroups: Cgroups,
    /// By name. Held for single operations on the map, never across an await.
    containers: Mutex<BTreeMap<String, Container>>,
    /// Set once, by [`Engine::shutdown`], while `containers` is locked: no container is created after it.
    closing: AtomicBool,
    /// Held for single operations, never across an await.
    images: Mutex<Images>,
    /// The tasks of containers and their logs.
    tasks: TaskTracker,
}

impl Engine {
    /// An engine without containers, with the images that an earlier one has stored.
    pub fn new(settings: Settings, cgroups: Cgroups) -> Self {
        let mut images = Images::load(settings.images.clone());
        images.expire();
        let images = Mutex::new(images);
        let engine = Self {
            shared: Arc::new(Shared {
                settings,
                cgroups,
                containers: Mutex::default(),
                closing: AtomicBool::new(false),
                images,
                tasks: TaskTracker::new(),
            }),
        };
        // What a commit left that was cut short.
        engine.sweep_layers();
        engine
    }

    /// Restores the sidecars of an engine that was killed. Those that cannot be restored count as ended.
    pub async fn restore(&self) {
        for (name, SidecarRecord { image, .. }) in self.settings().sidecars.list() {
            let container = self.create(Some(&name), Spec::sidecar(image));
            let started = async { container?.start().await }.await;
            if let Err(error) = started {
                tracing::warn!(%error, name, "a sidecar could not be restored");
            }
        }
    }

    /// What the engine was started with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// What does not hold on this machine, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.cgroups().missing().into_iter().collect()
    }

    /// Where limits are set.
    pub fn cgroups(&self) -> &Cgroups {
        &self.shared.cgroups
    }

    /// Runs a future that [`Engine::shutdown`] waits for.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(future);
    }

    /// Makes an image known.
    pub fn add_image(&self, image: Image) {
        self.images().insert(image);
    }

    /// The images, locked: for one operation.
    pub fn images(&self) -> MutexGuard<'_, Images> {
        lock(&self.shared.images)
    }

    /// Creates a container, without starting it. Without a name, the engine chooses one.
    pub fn create(&self, name: Option<&str>, spec: Spec) -> Result<Container, EngineError> {
        if let NetworkMode::Container(other) = &spec.network {
            self.container(other)?;
        }
        let name = match name {
            Some(name) => checked_name(name)?,
            None => crate::id::random_hex()[..12].to_owned(),
        };
        // Held until the container is known: its layers are garbage before.
        let mut images = self.images();
        let Some(image) = images.use_for_container(&spec.image) else {
            return Err(EngineError::NoSuchImage(spec.image));
        };
        let mut containers = lock(&self.shared.containers);
        if self.shared.closing.load(Ordering::Relaxed) {
            return Err(EngineError::Closing);
        }
        if containers.contains_key(&name) {
            return Err(EngineError::NameInUse(name));
        }
        let (container, channels) = Container::new(name.clone(), spec, image);
        containers.insert(name, container.clone());
        self.spawn(task::run(self.clone(), channels));
        Ok(container)
    }

    /// Finds a container by name, id, or the first digits (at least 4) of its id.
    pub fn container(&self, reference: &str) -> Result<Container, EngineError> {
        let containers = lock(&self.shared.containers);
        let by_id = |container: &&Container| reference.len() >= 4 && container.identity().id.starts_with(reference);
        containers
            .get(reference.trim_start_matches('/'))
            .or_else(|| containers.values().find(by_id))
            .cloned()
            .ok_or_else(|| EngineError::NoSuchContainer(reference.to_owned()))
    }

    /// Every container, in the order of names.
    pub fn containers(&self) -> Vec<Container> {
        lock(&self.shared.containers).values().cloned().collect()
    }

    /// Frees the name of a container that is being removed; its own task calls this.
    pub fn release_name(&self, identity: &Identity) {
        let mut containers = lock(&self.shared.containers);
        if containers.get(&identity.name).is_some_and(|known| known.identity().id == identity.id) {
            containers.remove(&identity.name);
            self.settings().sidecars.remove(&identity.name);
        }
        drop(containers);
        if !identity.image.layers.is_empty() {
            self.sweep_layers();
        }
    }

    /// Kills and removes every container, and returns when all have ended.
    pub async fn shutdown(&self) {
        self.shared.tasks.close();
        let containers = {
            let containers = lock(&self.shared.containers);
            self.shared.closing.store(true, Ordering::Relaxed);
            containers.values().cloned().collect::<Vec<_>>()
        };
        for container in containers {
            // It may have been removed already.
            let _ = container.begin_removal(true).await;
        }
        self.shared.tasks.wait().await;
    }
}

fn checked_name(name: &str) -> Result<String, EngineError> {
    let name = name.strip_prefix('/').unwrap_or(name);
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    let starts_well = name.starts_with(|character: char| character.is_ascii_alphanumeric());
    if starts_well && name.len() <= 255 && name.chars().all(allowed) {
        Ok(name.to_owned())
    } else {
        Err(EngineError::BadName(name.to_owned()))
    }
}

/// A panic while the map is locked leaves it consistent, so poisoning is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_names_are_checked() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(checked_name(name).ok().as_deref(), expected, "{name}");
        };
        check("workerd-x_1.y", Some("workerd-x_1.y"));
        check("/a", Some("a"));
        check("../a", None);
        check("", None);
        check("a/b", None);
    }
}
