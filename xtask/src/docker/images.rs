//! The images of this repository's Dockerfiles.

use super::client::Build;
use super::{Bases, Docker};
use crate::artifacts;
use crate::progress::Step;
use anyhow::Result;
use std::path::Path;

/// What the integration cases run beside what the Dockerfile installs, by Debian's names.
const CASES_PACKAGES: &str = "diffutils gcc less libc6-dev make ncurses-bin vim";

/// The argument of the Dockerfiles that has the agent compiled in a fraction of the time: no linking takes minutes. For images that are
/// tested or run locally.
pub(super) const QUICK_AGENT: (&str, &str) = ("AGENT_PROFILE", "image");

/// An image that is built here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Image {
    /// The default kind as it ships.
    Shipped,
    /// The default kind, with what the cases run.
    Default,
    /// The kind `python`.
    Python,
    /// The agent of the default kind on a base without glibc.
    Musl,
}

impl Image {
    /// Its name in the daemon.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Shipped => "cabana-bench/sbx",
            Self::Default => "cabana-test/sbx",
            Self::Python => "cabana-test/python",
            Self::Musl => "cabana-test/musl",
        }
    }

    /// Builds it from the repository. The one on musl needs the default one.
    pub(crate) fn build(self, docker: &Docker, bases: &Bases, root: &Path, step: &Step) -> Result<()> {
        let mut arguments = bases.arguments();
        arguments.extend((self != Self::Shipped).then(|| (QUICK_AGENT.0, QUICK_AGENT.1.to_owned())));
        let (dockerfile, context, log) = match self {
            Self::Shipped => (root.join("Dockerfile"), root.to_owned(), "image-shipped"),
            Self::Default => {
                arguments.push(("EXTRA_PACKAGES", CASES_PACKAGES.to_owned()));
                (root.join("Dockerfile"), root.to_owned(), "image-sbx")
            }
            Self::Python => (root.join("sandboxes/python.Dockerfile"), root.to_owned(), "image-python"),
            Self::Musl => {
                arguments.push(("AGENT_IMAGE", Self::Default.tag().to_owned()));
                (root.join("tests/images/musl.Dockerfile"), root.join("tests/images"), "image-musl")
            }
        };
        let build = Build { tag: self.tag(), dockerfile: &dockerfile, context: &context, arguments };
        docker.build(&build, &artifacts::log(root, log), step)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_build_context_has_the_manifest_of_every_workspace_member() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
        let ignored = fs::read_to_string(root.join(".dockerignore")).unwrap();
        for member in manifest["workspace"]["members"].as_array().unwrap() {
            let member = member.as_str().unwrap();
            let named = |line: &str| line == format!("!{member}") || line == format!("!{member}/Cargo.toml");
            assert!(ignored.lines().any(named), "{member}: cargo reads its manifest when the image is built");
        }
    }
}
