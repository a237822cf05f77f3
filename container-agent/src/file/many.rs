//! Many small files in one request, each as the operation on one file does it.

use cabana_protocol::{
    Error,
    file::{
        Content, Encoded, FilePath, MAX_CONTENT_BYTES, MAX_FILES, Metadata, NewFile, Outcome, Outcomes, Read, ReadMany, StatMany,
        Write, WriteMany, Written,
    },
    names::invalid_field,
};
use tokio_util::sync::CancellationToken;

use super::{read, stat, write};
use crate::{
    Agent,
    dispatch::Handle,
    fs::{Roots, content_too_large},
    threads::Length,
};

impl Handle<ReadMany> for Agent {
    async fn handle(&self, request: ReadMany) -> Result<Outcomes<Content>, Error> {
        check("paths", request.paths.len())?;
        super::cancellable(Length::Long, self, move |roots, cancel| {
            let (mut room, encoding) = (MAX_CONTENT_BYTES, request.encoding);
            each(request.paths, cancel, |path| {
                let request = Read { path: path.clone(), offset: None, length: None, lines: None, encoding, session: None };
                // Of a file that does not fit nothing is read.
                let content = match stat::stat(roots, path.clone()) {
                    Ok(found) if found.size_bytes > room => Err(content_too_large("file.read_many", MAX_CONTENT_BYTES)),
                    _ => read::read(roots, &request, cancel),
                }?;
                room = room.saturating_sub(length(&content.content));
                Ok(content)
            })
        })
        .await
    }
}

impl Handle<StatMany> for Agent {
    async fn handle(&self, request: StatMany) -> Result<Outcomes<Metadata>, Error> {
        check("paths", request.paths.len())?;
        let stat_all =
            |roots: &Roots, cancel: &CancellationToken| each(request.paths, cancel, |path| stat::stat(roots, path.clone()));
        super::cancellable(Length::Long, self, stat_all).await
    }
}

impl Handle<WriteMany> for Agent {
    async fn handle(&self, request: WriteMany) -> Result<Outcomes<Written>, Error> {
        check("files", request.files.len())?;
        super::cancellable(Length::Long, self, move |roots, cancel| {
            let mut contents = request.files.iter();
            let paths = request.files.iter().map(|file| file.path.clone()).collect();
            each(paths, cancel, |path| {
                let Some(NewFile { content, mode, .. }) = contents.next() else {
                    return Err(Error::internal("a file is missing"));
                };
                let (content, mode) = (content.clone(), *mode);
                let file =
                    Write { path: path.clone(), content, mode, append: false, offset: None, if_match: None, session: None };
                write::write(roots, &file)
            })
        })
        .await
    }
}

fn check(field: &str, count: usize) -> Result<(), Error> {
    if (1..=MAX_FILES).contains(&count) { Ok(()) } else { Err(invalid_field(field, &format!("1 to {MAX_FILES} files"))) }
}

/// Does this for each path, until the caller goes away.
fn each<T>(
    paths: Vec<FilePath>,
    cancel: &CancellationToken,
    mut work: impl FnMut(&FilePath) -> Result<T, Error>,
) -> Result<Outcomes<T>, Error> {
    let mut items = Vec::with_capacity(paths.len());
    for path in paths {
        if cancel.is_cancelled() {
            return Err(Error::internal("the caller has gone"));
        }
        let outcome = work(&path);
        items.push(Outcome::new(path, outcome));
    }
    Ok(Outcomes { items })
}

fn length(content: &Encoded) -> u64 {
    match content {
        Encoded::Fitting(data) => data.0.len() as u64,
        Encoded::Base64 { base64 } => base64.len() as u64,
    }
}
