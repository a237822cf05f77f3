//! `file.patch`: a unified diff, or a series of them, all of it or nothing.

mod apply;
mod commit;
mod diff;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod tree;

use cabana_protocol::{
    Code, Error,
    file::{FilePath, Patch, PatchAction, Patched, PatchedFile},
};
use serde_json::json;

use crate::fs::Roots;
use commit::Staged;
use tree::Tree;

/// Files that one diff changes at most; each holds a descriptor open until all are put in place.
const MAX_FILES: usize = 256;

/// Changes that one diff has at most, several of which may be of one file.
const MAX_CHANGES: usize = 16 * MAX_FILES;

pub(super) fn patch(roots: &Roots, request: &Patch) -> Result<Patched, Error> {
    let mut text = request.patch.0.to_vec();
    // A last line that was trimmed means no other line.
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let strip = request.strip.map(|strip| strip as usize);
    let (tree, mut files) = apply_diff(roots, &request.path, &text, strip)?;
    if !request.dry_run {
        let etags = Staged::new(roots, &request.path, tree)?.commit(roots, &request.path)?;
        for file in files.iter_mut().filter(|file| file.action != PatchAction::Deleted) {
            file.etag = etags.get(&file.path).cloned();
        }
    }
    Ok(Patched { files })
}

/// Makes what the diff says, out of sight.
fn apply_diff<'a>(
    roots: &'a Roots,
    top: &'a FilePath,
    text: &[u8],
    strip: Option<usize>,
) -> Result<(Tree<'a>, Vec<PatchedFile>), Error> {
    let changes = diff::read(text, strip).map_err(|error| unprocessable(top, &error.to_string()))?;
    if changes.len() > MAX_CHANGES {
        return Err(unprocessable(top, &format!("a diff has at most {MAX_CHANGES} changes")));
    }
    let mut tree = Tree::new(roots, top);
    let mut files = Vec::new();
    for commit in changes.chunk_by(|one, next| one.commit == next.commit) {
        files.extend(tree.commit(commit)?);
    }
    Ok((tree, files))
}

fn unprocessable(path: &FilePath, why: &str) -> Error {
    Error::new(Code::Unprocessable, format!("{path}: {why}")).with_details(json!({ "path": path }))
}
