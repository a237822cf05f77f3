//! Images: names that `docker build` and `docker pull` registered.
//!
//! The engine builds nothing and pulls nothing. Every sandbox runs the host's own root file system; an
//! image is the name under which a container may be created, and the ports and variables of its Dockerfile. An image that was
//! committed also has layers: what its container had changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::layer::{Layer, LayerStore};

pub mod dockerfile;

/// The agent's port, on which every sandbox listens whatever its image says.
pub const AGENT_PORT: &str = "49983/tcp";

/// One named image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Reference with its tag, e.g. `cloudflare-dev/sbx:1a2b`.
    pub name: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// Ports in Docker's spelling, e.g. `49983/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// Variables of its containers.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What its containers have over the host's files, oldest first.
    #[serde(default)]
    pub layers: Vec<Layer>,
    /// The id of the image whose container was committed; empty for others.
    #[serde(default)]
    pub parent: String,
    /// When it was committed, or a container was last created from it, in seconds since 1970. 0 for an image that was not committed.
    #[serde(default)]
    pub used_at: u64,
}

/// How long an image that was committed is kept after its last use: as long as the platform keeps a snapshot.
const KEPT_SECONDS: u64 = 30 * 24 * 3600;

impl Image {
    /// An image of this name. Without ports it exposes the agent's.
    pub fn new(name: &str, mut exposed_ports: BTreeSet<String>) -> Self {
        if exposed_ports.is_empty() {
            exposed_ports.insert(AGENT_PORT.to_owned());
        }
        let id = format!("sha256:{}", crate::id::random_hex());
        let (name, env) = (normalize(name), BTreeMap::new());
        Self { name, id, exposed_ports, env, layers: Vec::new(), parent: String::new(), used_at: 0 }
    }

    /// The image of a container of this one, with these layers.
    pub fn commit(&self, name: &str, layers: Vec<Layer>) -> Self {
        let image = Self::new(name, self.exposed_ports.clone()).with_env(self.env.clone());
        Self { layers, parent: self.id.clone(), used_at: seconds_now(), ..image }
    }

    /// The same with these variables.
    pub fn with_env(self, env: BTreeMap<String, String>) -> Self {
        Self { env, ..self }
    }

    /// The image as `GET /images/{name}/json` shows it.
    pub fn inspect(&self) -> serde_json::Value {
        let ports: BTreeMap<&str, serde_json::Value> =
            self.exposed_ports.iter().map(|port| (port.as_str(), serde_json::json!({}))).collect();
        let env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        serde_json::json!({
            "Id": self.id,
            "Parent": self.parent,
            "RepoTags": [self.name],
            "RepoDigests": [],
            "Os": "linux",
            "Architecture": architecture(),
            "Size": LayerStore::size_of(self.layers.iter()),
            "Config": { "ExposedPorts": ports, "Env": env, "Cmd": null, "Entrypoint": null },
            "RootFS": { "Type": "layers", "Layers": self.layers.iter().map(|layer| &layer.id).collect::<Vec<_>>() },
        })
    }
}

/// All images, by name. They are stored, because wrangler does not build them again after the engine was killed.
#[derive(Debug, Default)]
pub struct Images {
    by_name: BTreeMap<String, Image>,
    /// Where they are stored; `None`: nowhere.
    file: Option<PathBuf>,
}

impl Images {
    /// Loads images from a file, and saves every later change there. A missing or malformed file has none.
    pub fn load(file: PathBuf) -> Self {
        let by_name = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { by_name, file: Some(file) }
    }

    /// Adds an image, or replaces the one of the same name.
    pub fn insert(&mut self, image: Image) {
        self.by_name.insert(image.name.clone(), image);
        self.save();
    }

    /// Finds an image by reference (with or without `:latest`) or by id.
    pub fn find(&self, reference: &str) -> Option<&Image> {
        self.by_name.get(&normalize(reference)).or_else(|| self.by_name.values().find(|image| image.id == reference))
    }

    /// Gives `source` a second name. `false` if there is no such image.
    pub fn tag(&mut self, source: &str, target: &str) -> bool {
        let Some(image) = self.find(source) else {
            return false;
        };
        let image = Image { name: normalize(target), ..image.clone() };
        self.insert(image);
        true
    }

    /// Removes a name. `None` if there is no such image.
    pub fn remove(&mut self, reference: &str) -> Option<Image> {
        let name = self.find(reference)?.name.clone();
        let image = self.by_name.remove(&name);
        self.save();
        image
    }

    /// Finds an image for a new container, and notes that it is used.
    pub fn use_for_container(&mut self, reference: &str) -> Option<Image> {
        let name = self.find(reference)?.name.clone();
        let image = self.by_name.get_mut(&name)?;
        if image.used_at > 0 {
            image.used_at = seconds_now();
            let image = image.clone();
            self.save();
            return Some(image);
        }
        Some(image.clone())
    }

    /// Removes the committed images that were not used for 30 days: nobody else removes those of sandboxes that are gone.
    pub fn expire(&mut self) {
        let (before, now) = (self.by_name.len(), seconds_now());
        self.by_name.retain(|_, image| image.used_at == 0 || image.used_at + KEPT_SECONDS > now);
        if self.by_name.len() < before {
            self.save();
        }
    }

    /// Removes every image but those of these references.
    pub fn keep(&mut self, references: &BTreeSet<&str>) {
        let kept: BTreeSet<String> = references.iter().map(|reference| normalize(reference)).collect();
        self.by_name.retain(|name, _| kept.contains(name));
        self.save();
    }

    /// Every image, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Image> {
        self.by_name.values()
    }

    fn save(&self) {
        let Some(file) = &self.file else { return };
        if let Err(error) = self.write(file) {
            tracing::warn!(%error, file = %file.display(), "images could not be saved: the next engine will not know them");
        }
    }

    /// Replaces the file atomically.
    fn write(&self, file: &Path) -> io::Result<()> {
        let temporary = file.with_extension("new");
        fs::write(&temporary, serde_json::to_vec(&self.by_name)?)?;
        fs::rename(temporary, file)
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The reference with a tag: `name` becomes `name:latest`; a tag or digest stays.
fn normalize(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

/// The machine's architecture by Docker's name.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_with_and_without_tag_name_one_image() {
        let mut images = Images::default();
        images.insert(Image::new("registry:5000/a/b", BTreeSet::new()));
        images.insert(Image::new("a/c:1", BTreeSet::from(["80/tcp".to_owned()])));
        assert_eq!(images.find("registry:5000/a/b:latest").map(|image| &*image.name), Some("registry:5000/a/b:latest"));
        assert!(images.find("a/c").is_none());
        assert!(images.tag("a/c:1", "a/d"));
        assert!(images.remove("a/c:1").is_some());
        assert!(images.find("a/d:latest").is_some());
        assert!(images.remove("a/c:1").is_none());
    }

    #[test]
    fn images_are_loaded_by_the_next_engine() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("images.json");
        let mut images = Images::load(file.clone());
        images.insert(Image::new("a", BTreeSet::new()));
        images.insert(Image::new("b", BTreeSet::from(["80/tcp".to_owned()])));
        assert!(images.remove("a").is_some());
        assert_eq!(Images::load(file.clone()).by_name, images.by_name);
        fs::write(&file, "{").unwrap();
        assert!(Images::load(file).by_name.is_empty());
    }

    #[test]
    fn an_image_without_ports_exposes_the_agents() {
        let image = Image::new("x", BTreeSet::new());
        assert_eq!(image.inspect()["Config"]["ExposedPorts"][AGENT_PORT], serde_json::json!({}));
    }
}
