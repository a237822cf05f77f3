//! What is told and what is not.

use std::path::Path;

use cabana_protocol::{Error, file::Watch};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// What a caller hardly ever wants to hear of, and what makes the kernel watch the most.
const EXCLUDED: [&str; 3] = [".git", "node_modules", ".DS_Store"];

/// Most patterns on one side.
const MAX_PATTERNS: usize = 256;

/// The patterns of a watch.
#[derive(Debug)]
pub(super) struct Patterns {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Patterns {
    /// Those of this request.
    ///
    /// Fails with `invalid_request`.
    pub(super) fn new(request: &Watch) -> Result<Self, Error> {
        let include = (!request.include.is_empty()).then(|| compile(&request.include)).transpose()?;
        let exclude = match &request.exclude {
            Some(exclude) => compile(exclude)?,
            None => compile(&EXCLUDED)?,
        };
        Ok(Self { include, exclude })
    }

    /// Whether this path, and all below it, is passed over.
    pub(super) fn excludes(&self, path: &Path) -> bool {
        self.exclude.is_match(path)
    }

    /// Whether a change of this path is told.
    pub(super) fn tells(&self, path: &Path) -> bool {
        !self.excludes(path) && self.include.as_ref().is_none_or(|include| include.is_match(path))
    }
}

fn compile(patterns: &[impl AsRef<str>]) -> Result<GlobSet, Error> {
    if patterns.len() > MAX_PATTERNS {
        return Err(Error::invalid_request(format!("at most {MAX_PATTERNS} patterns")));
    }
    let wrong = |error: globset::Error| Error::invalid_request(format!("not a glob: {error}"));
    let mut set = GlobSetBuilder::new();
    for pattern in patterns.iter().map(AsRef::as_ref) {
        let anywhere = format!("**/{pattern}");
        let pattern = if pattern.contains('/') { pattern } else { &anywhere };
        set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(wrong)?);
    }
    set.build().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(include: &[&str], exclude: Option<&[&str]>) -> Result<Patterns, Error> {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
        let (include, exclude) = (owned(include), exclude.map(owned));
        Patterns::new(&Watch { path: ".".into(), recursive: None, include, exclude, limit: None, timeout_ms: None })
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
        ] {
            assert_eq!(patterns(include, exclude).unwrap().tells(Path::new(path)), told, "{include:?} {exclude:?} {path}");
        }
    }

    #[test]
    fn what_is_no_glob_is_refused() {
        assert!(patterns(&["a["], None).is_err());
        assert!(patterns(&[], Some(&["x"; MAX_PATTERNS + 1])).is_err());
    }
}
