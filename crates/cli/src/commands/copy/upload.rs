//! A file on its way into a sandbox.

use std::{
    io::{self, SeekFrom},
    path::Path,
    process,
};

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use cabana_client::{
    Body, Error, Sandbox, Upload,
    protocol::{
        Code,
        file::{Chmod, FilePath, Kind, Mode, Move, Remove, Stat},
    },
};
use futures_util::{Stream, stream};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt, AsyncSeekExt},
};

use super::{Progress, kind_of, retry::persist};

/// What is read at once.
const PIECE: usize = 256 << 10;
/// A part of a large file: Cloudflare takes at most 100 MB in one request.
const PART: u64 = 64 << 20;

/// Uploads stdin, whose length is not known, in one request.
pub(super) async fn stdin(sandbox: &Sandbox, to: &FilePath, progress: &Progress) -> Result<()> {
    if kind_of(sandbox, to).await? == Some(Kind::Directory) {
        bail!("{to} is a directory: name the file that stdin goes to");
    }
    let body = Body::stream(pieces(tokio::io::stdin(), u64::MAX, progress.clone()));
    sandbox.upload(to, body, Upload::default()).await.with_context(|| format!("upload {to}"))?;
    Ok(())
}

/// Uploads a file under this name.
pub(super) async fn file(sandbox: &Sandbox, from: &Path, to: &FilePath, mode: Mode, progress: &Progress) -> Result<()> {
    let length = tokio::fs::metadata(from).await.with_context(|| format!("read {}", from.display()))?.len();
    let uploaded = if length <= PART {
        whole(sandbox, from, to, mode, progress).await
    } else {
        in_parts(sandbox, from, to, mode, length, progress).await
    };
    uploaded.with_context(|| format!("upload {} to {to}", from.display()))
}

async fn whole(sandbox: &Sandbox, from: &Path, to: &FilePath, mode: Mode, progress: &Progress) -> Result<(), Error> {
    persist(async || {
        let outcome = async {
            let content = File::open(from).await?;
            let length = content.metadata().await?.len();
            let content = Body::sized(pieces(content, length, progress.clone()), length);
            sandbox.upload(to, content, Upload { mode: Some(mode), ..Upload::default() }).await
        };
        (outcome.await.map(drop), false)
    })
    .await
}

/// Under a name of its own first, so that nobody takes a part for the whole.
async fn in_parts(
    sandbox: &Sandbox,
    from: &Path,
    to: &FilePath,
    mode: Mode,
    length: u64,
    progress: &Progress,
) -> Result<(), Error> {
    let partial: FilePath = [to.as_bytes(), format!(".cabana-{}.part", process::id()).as_bytes()].concat().into();
    let outcome = async {
        let mut done = 0;
        while done < length {
            let end = (done + PART).min(length);
            let began_at = done;
            done = persist(async || {
                let outcome = part(sandbox, from, &partial, (done, end, length), progress).await;
                let Err(lost @ Error::ConnectionLost { .. }) = outcome else { return (outcome.map(|()| end), false) };
                // What has arrived stays.
                let Ok(size) = size_of(sandbox, &partial).await else { return (Err(lost), false) };
                let got_on = size > done;
                done = size.clamp(began_at, end);
                if done == end { (Ok(end), true) } else { (Err(lost), got_on) }
            })
            .await?;
        }
        sandbox.call(Chmod { path: partial.clone(), mode, session: None }).await?;
        sandbox.call(Move { from: partial.clone(), to: to.clone(), session: None }).await
    };
    match outcome.await {
        Ok(_) => Ok(()),
        Err(error) => {
            // A full disk needs the room.
            let _ = sandbox.call(Remove { path: partial.clone(), recursive: false, session: None }).await;
            Err(error)
        }
    }
}

async fn part(
    sandbox: &Sandbox,
    from: &Path,
    to: &FilePath,
    (first, end, length): (u64, u64, u64),
    progress: &Progress,
) -> Result<(), Error> {
    let mut content = File::open(from).await?;
    content.seek(SeekFrom::Start(first)).await?;
    let content = Body::sized(pieces(content, end - first, progress.clone()), end - first);
    sandbox.upload(to, content, Upload { part: Some((first, end, length)), ..Upload::default() }).await.map(drop)
}

async fn size_of(sandbox: &Sandbox, path: &FilePath) -> Result<u64, Error> {
    match sandbox.call(Stat { path: path.clone(), session: None }).await {
        Ok(metadata) => Ok(metadata.size_bytes),
        Err(error) if error.code() == Some(Code::NotFound) => Ok(0),
        Err(error) => Err(error),
    }
}

/// At most so many bytes of a file, as they are read.
fn pieces(
    content: impl AsyncRead + Unpin + Send + 'static,
    limit: u64,
    progress: Progress,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold((content.take(limit), progress), async |(mut content, progress)| {
        let mut piece = BytesMut::with_capacity(PIECE);
        content.read_buf(&mut piece).await?;
        progress.add(piece.len() as u64);
        Ok((!piece.is_empty()).then(|| (piece.freeze(), (content, progress))))
    })
}
