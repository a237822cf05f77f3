//! Which parts of the host a sandbox sees.
//!
//! It sees the host's programs and system files. It does not see the homes of the host's users, the engine's state, or its
//! socket. Toolchains in a home are shown read-only: [`TOOLCHAINS`] lists them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::HOME;
use crate::mount_table::{self, Mount};

/// Directories of a home that sandboxes may read, because a developer's PATH relies on them. None of them
/// holds credentials by convention (`~/.cargo/credentials.toml` is beside `~/.cargo/bin`, not in it).
pub const TOOLCHAINS: &[&str] =
    &[".bun/bin", ".cargo/bin", ".deno/bin", ".local/bin", ".local/share/uv", ".nvm", ".pyenv", ".rustup", ".volta"];

/// Directories that are empty and writable in every sandbox, with their modes.
const PRIVATE: &[(&str, u32)] =
    &[("/home", 0o755), (HOME, 0o700), ("/run", 0o755), ("/tmp", 0o1777), ("/var/tmp", 0o1777), ("/workspace", 0o755)];

/// Where separately mounted file systems hold programs.
const SYSTEM: &[&str] = &["/nix", "/opt", "/usr"];

/// The end of every sandbox's PATH.
const USUAL_PATH: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The parts of the host that a sandbox sees. All paths are absolute and without symbolic links.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostView {
    /// Directories that are empty and writable inside.
    pub private: Vec<PrivateDirectory>,
    /// Directories of the host shown read-only inside the private ones.
    pub toolchains: Vec<SharedDirectory>,
    /// Mount points of the host that hold programs, shown read-only.
    pub system_mounts: Vec<PathBuf>,
    /// Directories and files of the host that are hidden.
    pub hidden: Vec<PathBuf>,
    /// The sandbox's PATH.
    pub path: String,
    /// Where a sandbox finds kernels of Jupyter, beside the usual places.
    pub jupyter_path: Option<PathBuf>,
}

/// An empty, writable directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateDirectory {
    /// Path on the host and inside.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
}

/// A directory of the host, shown read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedDirectory {
    /// Path on the host.
    pub source: PathBuf,
    /// Path inside.
    pub target: PathBuf,
}

impl HostView {
    /// Inspects the host. `home` and `path` are the engine's HOME and PATH; `hidden` names further paths to hide.
    pub fn inspect(home: Option<&Path>, path: &str, hidden: &[PathBuf]) -> Self {
        let homes = homes(home, path);
        let private = private(&homes);
        let toolchains = toolchains(&homes);
        let hidden = hidden.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let mut view = Self {
            private,
            toolchains,
            system_mounts: system_mounts(mount_table::read()),
            hidden,
            path: String::new(),
            jupyter_path: None,
        };
        view.path = view.visible_path(path);
        view
    }

    /// Shows this directory of the host, which has kernels of Jupyter, at its own path.
    pub fn share_kernels(&mut self, directory: &Path) {
        if !self.shows(directory) {
            self.toolchains.push(SharedDirectory { source: directory.to_owned(), target: directory.to_owned() });
        }
        self.jupyter_path = Some(directory.join("share/jupyter"));
    }

    /// The entries of `path` that exist inside, then the usual ones.
    fn visible_path(&self, path: &str) -> String {
        let mut seen = BTreeSet::new();
        let own = path.split(':').filter(|entry| {
            let Ok(real) = Path::new(entry).canonicalize() else {
                return false;
            };
            entry.starts_with('/') && real.is_dir() && self.shows(&real)
        });
        own.chain(USUAL_PATH.iter().copied()).filter(|entry| seen.insert(*entry)).collect::<Vec<_>>().join(":")
    }

    /// Whether the host's `path` (without symbolic links) is the same thing inside.
    pub fn shows(&self, path: &Path) -> bool {
        let covered = |cover: &Path| path.starts_with(cover);
        if self.hidden.iter().any(|hidden| covered(hidden)) {
            return false;
        }
        self.toolchains.iter().any(|shown| shown.source == shown.target && covered(&shown.source))
            || !self.private.iter().any(|private| covered(&private.path))
    }
}

/// The home of the engine's user, and every home that the engine's PATH leads into (with `sudo`, HOME is
/// root's while PATH may still name the user's).
fn homes(home: Option<&Path>, path: &str) -> BTreeSet<PathBuf> {
    let of_path = path.split(':').map(Path::new).filter_map(|entry| {
        let mut parts = entry.components().skip(1);
        match parts.next()?.as_os_str().to_str()? {
            "root" => Some(PathBuf::from("/root")),
            "home" => Some(Path::new("/home").join(parts.next()?)),
            _ => None,
        }
    });
    home.map(Path::to_owned)
        .into_iter()
        .chain(of_path)
        .filter_map(|home| home.canonicalize().ok())
        .filter(|home| home.components().count() > 1)
        .collect()
}

fn private(homes: &BTreeSet<PathBuf>) -> Vec<PrivateDirectory> {
    let mut private: Vec<PrivateDirectory> =
        PRIVATE.iter().map(|(path, mode)| PrivateDirectory { path: real(Path::new(path)), mode: *mode }).collect();
    for home in homes {
        if !private.iter().any(|known| home.starts_with(&known.path)) {
            private.push(PrivateDirectory { path: home.clone(), mode: 0o700 });
        }
    }
    private
}

/// Each toolchain is shown where it is, and under the sandbox's own home, where its tools look for it.
fn toolchains(homes: &BTreeSet<PathBuf>) -> Vec<SharedDirectory> {
    let mut shown = Vec::new();
    for home in homes {
        for toolchain in TOOLCHAINS {
            let Ok(source) = home.join(toolchain).canonicalize() else {
                continue;
            };
            if !source.is_dir() {
                continue;
            }
            for target in [home.join(toolchain), Path::new(HOME).join(toolchain)] {
                let entry = SharedDirectory { source: source.clone(), target };
                if !shown.iter().any(|known: &SharedDirectory| known.target == entry.target) {
                    shown.push(entry);
                }
            }
        }
    }
    shown
}

/// The mount points that hold programs.
fn system_mounts(mounts: Vec<Mount>) -> Vec<PathBuf> {
    let in_system = |path: &PathBuf| SYSTEM.iter().any(|system| path.starts_with(system));
    let points: BTreeSet<PathBuf> = mounts.into_iter().map(|mount| mount.point).filter(in_system).collect();
    points.into_iter().filter(|point| point.is_dir()).collect()
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn kernels_are_shown_wherever_they_are() {
        let directory = tempfile::tempdir_in("/var").expect("a directory outside of /tmp");
        let (home, kernels) = (directory.path().join("home"), directory.path().join("home/.cache/kernels"));
        fs::create_dir_all(&kernels).unwrap();
        let mut view = HostView::inspect(Some(&home), "/usr/bin", &[]);
        assert!(!view.shows(&kernels), "what is in a home is not shown");
        view.share_kernels(&kernels);
        assert!(view.shows(&kernels) && !view.shows(&home.join(".cache")));
        assert_eq!(view.jupyter_path, Some(kernels.join("share/jupyter")));
        let known = view.toolchains.len();
        view.share_kernels(Path::new("/usr"));
        assert_eq!(view.toolchains.len(), known, "what is shown anyway is not mounted");
    }

    #[test]
    fn path_keeps_the_entries_that_exist_inside() {
        let directory = tempfile::tempdir_in("/var").expect("a directory outside of /tmp");
        let home = directory.path().join("home");
        fs::create_dir_all(home.join(".cargo/bin")).unwrap();
        fs::create_dir_all(home.join("secret/bin")).unwrap();
        fs::create_dir_all(directory.path().join("hidden")).unwrap();
        let entry = |path: &str| directory.path().join(path).display().to_string();
        let path = [
            entry("home/.cargo/bin"),
            entry("home/secret/bin"),
            entry("hidden"),
            entry("missing"),
            "relative".to_owned(),
            "/usr/bin".to_owned(),
            "/usr/bin".to_owned(),
        ]
        .join(":");
        let view = HostView::inspect(Some(&home), &path, &[directory.path().join("hidden")]);
        assert_eq!(
            view.path,
            format!("{}:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin", entry("home/.cargo/bin"))
        );
        assert!(view.private.iter().any(|private| private.path == home));
        let under_own_home = Path::new(HOME).join(".cargo/bin");
        assert!(view.toolchains.iter().any(|shown| shown.target == under_own_home));
    }

    #[test]
    fn a_home_of_the_root_directory_hides_nothing() {
        let view = HostView::inspect(Some(Path::new("/")), "/usr/bin", &[]);
        assert!(!view.private.iter().any(|private| private.path == Path::new("/")));
    }
}
