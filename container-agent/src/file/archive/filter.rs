//! Which members an archive gets.

use std::path::Path;

use cabana_protocol::Error;

use crate::file::globs::Globs;

/// Which members an archive gets, by their names in it: those that one of some globs matches, and none of others.
#[derive(Debug)]
pub struct Filter {
    include: Option<Globs>,
    exclude: Globs,
}

impl Filter {
    /// Without any to include, all are, but for those to exclude.
    ///
    /// Fails with `invalid_request`.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, Error> {
        let include = if include.is_empty() { None } else { Some(Globs::new(include)?) };
        Ok(Self { include, exclude: Globs::new(exclude)? })
    }

    /// Whether a member is left out, with all that is in it.
    pub(super) fn excludes(&self, name: &Path) -> bool {
        self.exclude.matches(name)
    }

    /// Whether a member is put in, unless it is excluded.
    pub(super) fn includes(&self, name: &Path) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.matches(name))
    }
}
