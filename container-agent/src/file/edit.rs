//! `file.edit`: texts in place of others.

mod replace;

use cabana_protocol::{
    Code, Error,
    file::{Edit, Edited, FilePath, MAX_CONTENT_BYTES, Written},
    names::invalid_field,
};
use serde_json::json;

use super::{
    conditions::{Conditions, Tags},
    read::{Opened, open, read_at},
    write::Upload,
};
use crate::fs::{Roots, conflict, content_too_large, io_error};
use replace::{Refusal, replace};

/// Edits of one request at most.
const MAX_EDITS: usize = 1_000;

/// How often edits are applied anew because something else wrote the file meanwhile.
const ATTEMPTS: usize = 16;

pub(super) fn edit(roots: &Roots, request: &Edit) -> Result<Edited, Error> {
    let Edit { path, edits, if_match, .. } = request;
    if !(1..=MAX_EDITS).contains(&edits.len()) {
        return Err(invalid_field("edits", &format!("1 to {MAX_EDITS} edits")));
    }
    let conditions = Conditions { if_match: if_match.as_deref().map(str::parse).transpose()?, if_none_match: None };
    for _ in 0..ATTEMPTS {
        let opened = open(roots, path)?;
        conditions.check(path, Some(&opened.etag))?;
        let content = whole(path, &opened)?;
        let (content, replacements) = replace(content, edits).map_err(|refusal| refused(path, edits.len(), refusal))?;
        match put(roots, path, opened.etag, content) {
            Err(error) if error.code == Code::PreconditionFailed => {}
            written => {
                let Written { size_bytes, etag, .. } = written?;
                return Ok(Edited { replacements, size_bytes, etag });
            }
        }
    }
    Err(conflict(path, "changing", "was changed by others during every attempt to edit it"))
}

/// All that a file holds.
pub(super) fn whole(path: &FilePath, opened: &Opened) -> Result<Vec<u8>, Error> {
    if opened.size_bytes > MAX_CONTENT_BYTES {
        return Err(content_too_large("an edited file", MAX_CONTENT_BYTES));
    }
    let content = read_at(&opened.file, 0, opened.size_bytes).map_err(|error| io_error(path, &error))?;
    Ok(content.into())
}

/// Replaces this version of a file.
fn put(roots: &Roots, path: &FilePath, etag: String, content: Vec<u8>) -> Result<Written, Error> {
    let conditions = Conditions { if_match: Some(Tags::Listed(vec![etag])), if_none_match: None };
    let mut upload = Upload::begin(roots, path.clone(), None, conditions, None)?;
    upload.write(roots, &content)?;
    upload.commit(roots)
}

fn refused(path: &FilePath, count: usize, refusal: Refusal) -> Error {
    let of = |edit: usize| format!("{path}: edit {} of {count}", edit + 1);
    match refusal {
        Refusal::Empty { edit } => {
            Error::invalid_request(format!("{}: `old` is empty", of(edit))).of_field(&format!("edits[{edit}].old"))
        }
        Refusal::Same { edit } => {
            Error::invalid_request(format!("{}: `old` and `new` are the same", of(edit))).of_field(&format!("edits[{edit}].new"))
        }
        Refusal::TooLarge => content_too_large("an edited file", MAX_CONTENT_BYTES),
        Refusal::Ambiguous { edit, lines } => {
            let shown: Vec<_> = lines.iter().map(usize::to_string).collect();
            let message = format!(
                "{}: `old` occurs more than once, at lines {}; add surrounding text, or set `all`",
                of(edit),
                shown.join(", ")
            );
            Error::new(Code::Unprocessable, message).with_details(json!({ "path": path, "edit": edit, "lines": lines }))
        }
        Refusal::Missing { edit, nearest } => {
            let near = nearest.as_ref().map_or_else(String::new, |nearest| nearest.message());
            let error = Error::new(Code::Unprocessable, format!("{}: old does not occur in the file{near}", of(edit)));
            let error = error.with_details(json!({ "path": path, "edit": edit }));
            nearest.iter().fold(error, |error, nearest| error.with_details(nearest.details()))
        }
    }
}
