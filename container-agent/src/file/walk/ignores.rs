//! What ignore files say, level by level: .ignore and .rgignore before .gitignore before .git/info/exclude, the deeper before the
//! higher, the later line before the earlier. Git's files count within a repository only, and no file of the machine's or the user's.

use std::{
    fs::{self, File},
    io::Read,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use rustix::fs::FileType;

use crate::fs::{Dir, file_type, look, open_file};

/// Largest ignore file; a larger one is taken for a mistake, and ignored itself.
const MAX_BYTES: u64 = 128 << 10;

/// What holds in a directory.
#[derive(Debug)]
pub(crate) struct IgnoreRules {
    above: Option<Arc<IgnoreRules>>,
    /// Where the walk starts, below the sandbox's root: patterns of the directories above are matched with whole paths.
    start: Arc<Path>,
    /// .ignore and .rgignore.
    plain: Gitignore,
    /// .gitignore.
    git: Gitignore,
    /// .git/info/exclude.
    exclude: Gitignore,
    /// A repository's top.
    repository: bool,
}

impl IgnoreRules {
    /// Where nothing is ignored.
    pub(crate) fn top(start: PathBuf) -> Self {
        let [plain, git, exclude] = std::array::from_fn(|_| Gitignore::empty());
        Self { above: None, start: start.into(), plain, git, exclude, repository: false }
    }

    /// What holds for a directory because of those above it, as far as the root.
    pub(super) fn above(root: &Dir, base: &Dir) -> Self {
        let start = below(root, base).unwrap_or_default();
        let mut level = Arc::new(Self::top(PathBuf::new()));
        let above: Vec<_> = start.ancestors().skip(1).collect();
        for path in above.into_iter().rev() {
            // Where it was moved meanwhile, its new place says nothing.
            let Ok(directory) = root.open_directory(path) else { continue };
            level = Self::of(&directory, path, &level);
        }
        Self { above: Some(level), ..Self::top(start) }
    }

    /// What holds in this directory, whose path continues the one of the level above.
    pub(crate) fn of(directory: &OwnedFd, path: &Path, above: &Arc<Self>) -> Arc<Self> {
        let repository = look(directory, c".git").is_ok();
        let root = above.start.join(path);
        let plain = rules(directory, &root, &[".ignore", ".rgignore"]);
        let git = rules(directory, &root, &[".gitignore"]);
        let exclude = if repository { rules(directory, &root, &[".git/info/exclude"]) } else { None };
        if plain.is_none() && git.is_none() && !repository {
            return Arc::clone(above);
        }
        let [plain, git, exclude] = [plain, git, exclude].map(|rules| rules.unwrap_or_else(Gitignore::empty));
        Arc::new(Self { above: Some(Arc::clone(above)), start: Arc::clone(&above.start), plain, git, exclude, repository })
    }

    /// Whether ignore files say that a path is left out, or that it is not; most say nothing of it.
    pub(crate) fn ignores(&self, path: &Path, is_directory: bool) -> Option<bool> {
        let path = self.start.join(path);
        let said = |rules: &Gitignore| match rules.matched(&path, is_directory) {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        };
        let levels = || std::iter::successors(Some(self), |level| level.above.as_deref());
        levels().find_map(|level| said(&level.plain)).or_else(|| {
            let inside = levels().position(|level| level.repository)? + 1;
            levels()
                .take(inside)
                .find_map(|level| said(&level.git))
                .or_else(|| levels().take(inside).find_map(|level| said(&level.exclude)))
        })
    }
}

/// Where a directory is below the root. What is ignored hangs on it, and nothing else.
fn below(root: &Dir, base: &Dir) -> Option<PathBuf> {
    let path = |base: &Dir| fs::read_link(format!("/proc/self/fd/{}", base.as_fd().as_raw_fd())).ok();
    Some(path(base)?.strip_prefix(path(root)?).ok()?.to_owned())
}

/// What these files say; nothing where there are none. Lines that cannot be understood say nothing, as in git.
fn rules(directory: &OwnedFd, root: &Path, names: &[&str]) -> Option<Gitignore> {
    let texts: Vec<_> = names.iter().filter_map(|name| text(directory, name)).collect();
    if texts.is_empty() {
        return None;
    }
    let mut builder = GitignoreBuilder::new(root);
    for line in texts.iter().flat_map(|text| text.trim_start_matches('\u{feff}').lines()) {
        let _ = builder.add_line(None, line);
    }
    builder.build().ok()
}

/// What an ignore file says: a regular file of this very name, never what a symlink points to, as in git.
fn text(directory: &OwnedFd, name: &str) -> Option<String> {
    let file = open_file(directory, Path::new(name)).ok()?;
    let stat = look(&file, c"").ok()?;
    if file_type(&stat) != FileType::RegularFile || stat.stx_size > MAX_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
