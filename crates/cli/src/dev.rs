//! The service that `cargo xtask dev` runs on this machine.
//!
//! Each run announces itself by a file `<process id>.json` in `dev` of the user's cache directory, which only its owner can read, and removes
//! it at its end.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// A service on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct DevService {
    /// Where it answers.
    pub(crate) url: String,
    /// Its key.
    pub(crate) api_key: String,
    /// The process that runs it.
    process: u32,
    /// The checkout that it was started in.
    root: PathBuf,
    /// When it was ready, in milliseconds since 1970.
    ready_at_ms: u64,
}

impl DevService {
    /// The service of the checkout that the working directory is in; else the one that was started last.
    pub(crate) fn find() -> Option<Self> {
        let here = env::current_dir().unwrap_or_default();
        Self::choose(announced(&directory()?), &here, |process| Path::new("/proc").join(process.to_string()).exists())
    }

    fn choose(announced: Vec<Self>, here: &Path, is_alive: impl Fn(u32) -> bool) -> Option<Self> {
        let alive = announced.into_iter().filter(|service| is_alive(service.process));
        alive.max_by_key(|service| (here.starts_with(&service.root), service.ready_at_ms))
    }
}

/// `$XDG_CACHE_HOME/cabana/dev` or `~/.cache/cabana/dev`.
fn directory() -> Option<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    Some(base.or_else(|| Some(env::home_dir()?.join(".cache")))?.join("cabana/dev"))
}

/// A file that is not whole is none: its run removes it, or the next one does.
fn announced(directory: &Path) -> Vec<DevService> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{DevService, announced};
    use std::{fs, path::Path};

    fn service(process: u32, root: &str, ready_at_ms: u64) -> DevService {
        DevService {
            url: format!("http://127.0.0.1:{process}"),
            api_key: "k".to_owned(),
            process,
            root: root.into(),
            ready_at_ms,
        }
    }

    #[test]
    fn the_service_of_this_checkout_comes_first_and_then_the_newest() {
        let services = || vec![service(1, "/a", 10), service(2, "/b", 20), service(3, "/c", 30)];
        let choose = |here: &str, dead: u32| {
            DevService::choose(services(), Path::new(here), |process| process != dead).map(|service| service.url)
        };
        assert_eq!(choose("/a/crates/cli", 0).as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(choose("/elsewhere", 0).as_deref(), Some("http://127.0.0.1:3"));
        assert_eq!(choose("/elsewhere", 3).as_deref(), Some("http://127.0.0.1:2"), "one that has crashed is passed over");
        assert_eq!(DevService::choose(Vec::new(), Path::new("/"), |_| true), None);
    }

    #[test]
    fn files_that_announce_nothing_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"url":"http://127.0.0.1:1","api_key":"k","process":1,"root":"/a","ready_at_ms":10}"#;
        fs::write(directory.path().join("1.json"), text).unwrap();
        fs::write(directory.path().join("2.json"), "{").unwrap();
        assert_eq!(announced(directory.path()), [service(1, "/a", 10)]);
        assert_eq!(announced(&directory.path().join("none")), []);
    }
}
