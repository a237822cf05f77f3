//! The versions that Cargo.lock fixes: the tools must match them exactly.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The locked versions of the libraries that have a command-line half.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Of `worker`, and so of worker-build.
    pub(crate) worker: String,
    /// Of `wasm-bindgen`, and so of wasm-bindgen-cli: it refuses the output of any other.
    pub(crate) wasm_bindgen: String,
}

impl Versions {
    /// Reads them from a Cargo.lock.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let of = |name| version(&text, name).with_context(|| format!("{} does not list {name}", path.display()));
        Ok(Self { worker: of("worker")?, wasm_bindgen: of("wasm-bindgen")? })
    }
}

/// The version of the package called `name`, the first if there are several.
fn version(lock: &str, name: &str) -> Option<String> {
    let heading = format!("name = \"{name}\"");
    let mut lines = lock.lines().skip_while(|line| line.trim() != heading);
    let version = lines.nth(1)?.trim().strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::version;

    const LOCK: &str = r#"
version = 4

[[package]]
name = "wasm-bindgen"
version = "0.2.130"
source = "registry"
dependencies = [
 "wasm-bindgen-macro",
]

[[package]]
name = "wasm-bindgen-macro"
version = "0.2.131"
"#;

    #[test]
    fn the_version_is_that_of_the_exact_name() {
        assert_eq!(version(LOCK, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(version(LOCK, "wasm-bindgen-macro").as_deref(), Some("0.2.131"));
        assert_eq!(version(LOCK, "wasm"), None);
    }
}
