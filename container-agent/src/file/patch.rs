//! `file.patch`: a unified diff, all of it or nothing.
//!
//! First everything is read and made beside the files, then everything is put in place. What can fail, such as a full disk, fails
//! before any file has changed; what fails nevertheless is taken back.

mod apply;
mod diff;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod undo;

use std::{
    collections::HashSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path},
};

use cabana_protocol::{
    Code, Error,
    file::{FilePath, MAX_CONTENT_BYTES, Mode, Patch, PatchAction, Patched, PatchedFile},
};
use serde_json::json;

use super::{
    beneath::below,
    conditions::{Conditions, Tags},
    content::open,
    edit::whole,
    failure::{failure, too_large, wrong_kind},
    metadata::look,
    permissions::without_privileges,
    root::Roots,
    upload::Upload,
};
use apply::{Applied, Misfit, apply};
use diff::{Change, FileDiff};
use undo::{Removal, Undo};

/// Files that one diff changes at most; each holds a descriptor open until all are put in place.
const MAX_FILES: usize = 256;

/// What the changed files may hold, all together.
const MAX_BYTES: u64 = 64 << 20;

/// What is to be done for one file of the diff.
#[derive(Debug)]
struct Step {
    told: PatchedFile,
    upload: Option<Upload>,
    removal: Option<Removal>,
}

/// What a diff makes of a file.
struct Made {
    content: Vec<u8>,
    offset: usize,
    mode: Option<Mode>,
    /// Names the version that it is made of.
    etag: Option<String>,
}

pub(super) fn patch(roots: &Roots, request: &Patch) -> Result<Patched, Error> {
    let mut text = request.patch.0.to_vec();
    // A last line that was trimmed means no other line.
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let strip = request.strip.map(|strip| strip as usize);
    let files = diff::read(&text, strip).map_err(|error| unprocessable(&request.path, &error.to_string()))?;
    if files.len() > MAX_FILES {
        return Err(unprocessable(&request.path, &format!("a diff changes at most {MAX_FILES} files")));
    }
    check_names(&request.path, &files)?;
    let mut room = MAX_BYTES;
    let steps = files.iter().map(|file| prepare(roots, request, file, &mut room)).collect::<Result<Vec<_>, _>>()?;
    if request.dry_run {
        return Ok(Patched { files: steps.into_iter().map(|step| step.told).collect() });
    }
    carry_out(roots, steps)
}

fn unprocessable(path: &FilePath, why: &str) -> Error {
    Error::new(Code::Unprocessable, format!("{path}: {why}")).with_details(json!({ "path": path }))
}

/// Fails unless every file is below the directory and changed once.
fn check_names(top: &FilePath, files: &[FileDiff<'_>]) -> Result<(), Error> {
    let mut changed = HashSet::new();
    for file in files {
        let (path, from) = match &file.change {
            Change::Create { path } | Change::Modify { path } | Change::Delete { path } => (path, None),
            Change::Rename { from, to } | Change::Copy { from, to } => (to, Some(from)),
        };
        for name in from.into_iter().chain([path]) {
            let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            let name = Path::new(OsStr::from_bytes(name));
            if name.file_name().is_none() || !name.components().all(inside) {
                return Err(unprocessable(top, &format!("{} is not the name of a file below it", name.display())));
            }
        }
        let gone = from.filter(|_| matches!(file.change, Change::Rename { .. }));
        for name in gone.into_iter().chain([path]) {
            if !changed.insert(name) {
                return Err(unprocessable(top, &format!("{} is changed twice", String::from_utf8_lossy(name))));
            }
        }
    }
    Ok(())
}

/// Reads what is to be changed, makes what is to be there instead, and leaves it beside. Nothing of this can be seen.
fn prepare(roots: &Roots, request: &Patch, file: &FileDiff<'_>, room: &mut u64) -> Result<Step, Error> {
    let name = |name: &[u8]| below(&request.path, Path::new(OsStr::from_bytes(name)));
    let (action, path, from) = match &file.change {
        Change::Create { path } => (PatchAction::Created, name(path), None),
        Change::Modify { path } => (PatchAction::Modified, name(path), None),
        Change::Delete { path } => (PatchAction::Deleted, name(path), None),
        Change::Rename { from, to } => (PatchAction::Renamed, name(to), Some(name(from))),
        Change::Copy { from, to } => (PatchAction::Copied, name(to), Some(name(from))),
    };
    let made = make(roots, file, from.as_ref().unwrap_or(&path), action)?;
    *room = room.checked_sub(made.content.len() as u64).ok_or_else(|| too_large("file.patch", MAX_BYTES))?;
    let told = PatchedFile {
        path: path.clone(),
        action,
        from: from.clone(),
        hunks: file.hunks.len() as u64,
        offset_lines: made.offset as u64,
        etag: None,
    };
    let removal = match (action, &made.etag) {
        (PatchAction::Deleted, Some(etag)) => Some(Removal::new(path.clone(), etag.clone())),
        (PatchAction::Renamed, Some(etag)) => from.map(|from| Removal::new(from, etag.clone())),
        _ => None,
    };
    if action == PatchAction::Deleted {
        if !made.content.is_empty() {
            return Err(unprocessable(&path, "the diff deletes it, but it holds more than the diff says"));
        }
        return Ok(Step { told, upload: None, removal });
    }
    let upload = stage(roots, path, action, made, request.dry_run)?;
    Ok(Step { told, upload, removal })
}

fn make(roots: &Roots, file: &FileDiff<'_>, source: &FilePath, action: PatchAction) -> Result<Made, Error> {
    let asked = file.executable.map(|executable| Mode::from_bits(if executable { 0o755 } else { 0o644 }));
    let (old, mode, etag) = match action {
        PatchAction::Created => (Vec::new(), asked, None),
        _ => {
            let opened = open(roots, source)?;
            let stat = look(&opened.file, c"").map_err(|errno| failure(source, errno))?;
            let kept = Mode::from_bits(without_privileges(&stat).as_raw_mode());
            (whole(source, &opened)?, asked.or(Some(kept)), Some(opened.etag))
        }
    };
    let Applied { content, offset } = apply(&old, &file.hunks).map_err(|misfit| misfits(source, &misfit))?;
    if content.len() as u64 > MAX_CONTENT_BYTES {
        return Err(too_large("a patched file", MAX_CONTENT_BYTES));
    }
    Ok(Made { content, offset, mode, etag })
}

fn misfits(path: &FilePath, misfit: &Misfit) -> Error {
    let Misfit { hunk, nearest } = misfit;
    let near = nearest.as_ref().map_or_else(String::new, |nearest| nearest.message());
    let error = Error::new(Code::Unprocessable, format!("{path}: hunk {hunk} does not apply{near}"));
    let error = error.with_details(json!({ "path": path, "hunk": hunk }));
    nearest.iter().fold(error, |error, nearest| error.with_details(nearest.details()))
}

/// Writes what was made beside where it belongs; in a dry run, only checks that it could be.
fn stage(roots: &Roots, path: FilePath, action: PatchAction, made: Made, dry_run: bool) -> Result<Option<Upload>, Error> {
    let conditions = match made.etag.filter(|_| action == PatchAction::Modified) {
        Some(etag) => Conditions { if_match: Some(Tags::Listed(vec![etag])), if_none_match: None },
        None => Conditions { if_match: None, if_none_match: Some(Tags::Any) },
    };
    let mut upload = Upload::begin(roots, path.clone(), made.mode, conditions, None).map_err(|error| in_the_way(&path, error))?;
    if dry_run {
        return Ok(None);
    }
    upload.write(roots, &made.content)?;
    Ok(Some(upload))
}

/// A condition that does not hold is none of the caller's.
fn in_the_way(path: &FilePath, error: Error) -> Error {
    match error.code {
        Code::PreconditionFailed => wrong_kind(path, "it exists, or was changed meanwhile"),
        _ => error,
    }
}

/// Puts everything in place, or takes back what was.
fn carry_out(roots: &Roots, steps: Vec<Step>) -> Result<Patched, Error> {
    let _change = roots.change();
    let mut undo = Undo::default();
    let files: Result<Vec<_>, _> = steps.into_iter().map(|step| carry_out_one(roots, step, &mut undo)).collect();
    match files {
        Ok(files) => Ok(Patched { files }),
        Err(error) => {
            undo.take_back();
            Err(error)
        }
    }
}

fn carry_out_one(roots: &Roots, step: Step, undo: &mut Undo) -> Result<PatchedFile, Error> {
    let Step { mut told, upload, removal } = step;
    if let Some(upload) = upload {
        let written = undo.place(roots, &told.path, upload).map_err(|error| in_the_way(&told.path, error))?;
        told.etag = Some(written.etag);
    }
    if let Some(removal) = removal {
        undo.remove(roots, removal)?;
    }
    Ok(told)
}
