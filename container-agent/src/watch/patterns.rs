//! What is told and what is not.

use std::path::Path;

use cabana_protocol::{Error, file::Watch};

use crate::{fs::is_temporary_name, globs::Globs};

/// What a caller hardly ever wants to hear of, and what makes the kernel watch the most.
const EXCLUDED: [&str; 3] = [".git", "node_modules", ".DS_Store"];

/// The patterns of a watch.
#[derive(Debug)]
pub(super) struct Patterns {
    include: Option<Globs>,
    exclude: Globs,
}

impl Patterns {
    /// Those of this request.
    ///
    /// Fails with `invalid_request`.
    pub(super) fn new(request: &Watch) -> Result<Self, Error> {
        let include = (!request.include.is_empty()).then(|| Globs::new(&request.include)).transpose()?;
        let exclude = match &request.exclude {
            Some(exclude) => Globs::new(exclude)?,
            None => Globs::new(&EXCLUDED)?,
        };
        Ok(Self { include, exclude })
    }

    /// Whether this path, and all below it, is passed over: what the caller excludes, and what the agent has not put in place yet.
    pub(super) fn excludes(&self, path: &Path) -> bool {
        path.iter().any(is_temporary_name) || self.exclude.matches(path)
    }

    /// Whether a change of this path is told.
    pub(super) fn reports(&self, path: &Path) -> bool {
        !self.excludes(path) && self.include.as_ref().is_none_or(|include| include.matches(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(include: &[&str], exclude: Option<&[&str]>) -> Result<Patterns, Error> {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
        let (include, exclude) = (owned(include), exclude.map(owned));
        Patterns::new(&Watch {
            path: ".".into(),
            recursive: None,
            include,
            exclude,
            limit: None,
            timeout_ms: None,
            session: None,
        })
    }

    #[test]
    fn a_name_matches_anywhere_and_a_path_where_it_says() {
        for (include, exclude, path, told) in [
            (&[][..], None, "src/main.rs", true),
            (&[], None, ".git", false),
            (&[], None, "web/node_modules", false),
            (&[], Some(&[][..]), ".git", true),
            (&["*.rs"], None, "src/main.rs", true),
            (&["*.rs"], None, "src/main.c", false),
            (&["src/*.rs"], None, "src/main.rs", true),
            (&["src/*.rs"], None, "src/bin/main.rs", false),
            (&["src/**"], None, "src/bin/main.rs", true),
            (&["*.{rs,toml}"], Some(&["Cargo.*"]), "Cargo.toml", false),
            (&[], Some(&[]), ".cabana-0123456789abcdef.tmp", false),
            (&[], Some(&[]), "a/.cabana-0123456789abcdef.tmp/b", false),
        ] {
            assert_eq!(patterns(include, exclude).unwrap().reports(Path::new(path)), told, "{include:?} {exclude:?} {path}");
        }
    }
}
