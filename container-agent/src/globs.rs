//! Globs, as callers write them.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::path::Path;

use cabana_protocol::Error;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Most globs in one list.
const MAX_GLOBS: usize = 256;

/// Longest glob, in bytes; what a longer one costs to compile is no longer small.
const MAX_GLOB_BYTES: usize = 4_096;

/// A list of globs. One without a slash is matched with the name at the end of a path, one with a slash with the whole path.
#[derive(Debug)]
pub(super) struct Globs(GlobSet);

impl Globs {
    /// Fails with `invalid_request`.
    pub(super) fn new(globs: &[impl AsRef<str>]) -> Result<Self, Error> {
        if globs.len() > MAX_GLOBS || globs.iter().any(|glob| !(1..=MAX_GLOB_BYTES).contains(&glob.as_ref().len())) {
            return Err(Error::invalid_request(format!("globs: at most {MAX_GLOBS}, each of 1 to {MAX_GLOB_BYTES} bytes"))
                .because("invalid_glob"));
        }
        let wrong = |error: globset::Error| Error::invalid_request(format!("malformed glob: {error}")).because("invalid_glob");
        let mut set = GlobSetBuilder::new();
        for glob in globs.iter().map(AsRef::as_ref) {
            let anywhere = format!("**/{glob}");
            let whole = if glob.contains('/') { glob.strip_prefix('/').unwrap_or(glob) } else { &anywhere };
            set.add(GlobBuilder::new(whole).literal_separator(true).build().map_err(wrong)?);
        }
        set.build().map(Self).map_err(wrong)
    }

    /// Whether one of them matches this path, which is relative to where the caller looks.
    pub(super) fn matches(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn names_and_paths_are_matched() {
        for (glob, path, matches) in [
            ("*.rs", b"src/main.rs".as_slice(), true),
            ("*.rs", b"main.rsx", false),
            ("src/*.rs", b"src/main.rs", true),
            ("src/*.rs", b"src/deep/main.rs", false),
            ("src/**/*.rs", b"src/main.rs", true),
            ("src/**/*.rs", b"src/deep/er/main.rs", true),
            ("/*.rs", b"main.rs", true),
            ("/*.rs", b"src/main.rs", false),
            ("{a,b}?", b"x/b1", true),
            ("[!a]", b"a", false),
            ("*", b".hidden", true),
            ("*", b"line\nbreak\t", true),
            ("x*", b"x\xff\xfe", true),
            ("**/**/**/**/x", b"a/b/c/x", true),
        ] {
            let path = Path::new(OsStr::from_bytes(path));
            assert_eq!(Globs::new(&[glob]).unwrap().matches(path), matches, "{glob} {path:?}");
        }
    }

    #[test]
    fn malformed_globs_are_refused() {
        for glob in ["", "[", "{a", "a\\", &"a".repeat(MAX_GLOB_BYTES + 1)] {
            assert!(Globs::new(&[glob]).is_err(), "{glob}");
        }
        assert!(Globs::new(&["x"; MAX_GLOBS]).is_ok());
        assert!(Globs::new(&["x"; MAX_GLOBS + 1]).is_err());
    }
}
