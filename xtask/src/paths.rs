//! Where things are: the repository, the user's cache, and what lies in them.

use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The repository's root: found at run time, so that a moved checkout or a shared target directory works.
pub(crate) fn repository() -> Result<PathBuf> {
    if let Some(package) = env::var_os("CARGO_MANIFEST_DIR")
        && let Some(root) = Path::new(&package).parent()
        && root.join("wrangler.jsonc").is_file()
    {
        return Ok(root.to_owned());
    }
    let here = env::current_dir().context("find the working directory")?;
    here.ancestors()
        .find(|directory| directory.join("wrangler.jsonc").is_file())
        .map(Path::to_owned)
        .context("not inside the repository (no wrangler.jsonc here or above): change into it and start again")
}

/// The directory of built tools, shared by every checkout: `$XDG_CACHE_HOME/cabana` or `~/.cache/cabana`. Created when missing.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => env::home_dir().context("neither XDG_CACHE_HOME nor HOME is set")?.join(".cache"),
    };
    let cache = base.join("cabana");
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    Ok(cache)
}

/// The first file called `name` on the search path.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}

/// The search path with `first` put before everything else.
pub(crate) fn search_path(first: &Path) -> Result<std::ffi::OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(first.to_owned()).chain(env::split_paths(&rest)))
        .with_context(|| format!("{} cannot be part of PATH", first.display()))
}
