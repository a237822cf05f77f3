//! Files and directories out of a sandbox.

use std::{
    ffi::OsStr,
    io::{self, Read, Write, stdout},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use cabana_client::{
    ArchiveFormat, Sandbox,
    protocol::file::{FilePath, Kind, Mode, Stat},
};
use tokio::sync::mpsc;

use super::{Progress, download, kind_of};

/// Pieces of an archive that wait to be unpacked.
const PIECES: usize = 16;

/// Copies what has this name into a local directory that exists, or under this name.
pub(super) async fn pull(sandbox: &Sandbox, from: &FilePath, to: &Path, progress: &Progress) -> Result<()> {
    let kind = existing(sandbox, from).await?;
    let to = target(from, to)?;
    match kind {
        Kind::Directory => tree(sandbox, from, to, progress).await,
        _ => {
            let mode = sandbox.call(Stat { path: from.clone(), session: None }).await?;
            // The mode of a symlink says nothing of its file.
            let mode = if mode.kind == Kind::File { mode.mode } else { Mode::from_bits(0o644) };
            download::file(sandbox, from, &to, mode, progress).await
        }
    }
}

/// Writes a file to stdout, or a directory as a tar archive.
pub(super) async fn stdout_of(sandbox: &Sandbox, from: &FilePath) -> Result<()> {
    let mut download = match existing(sandbox, from).await? {
        Kind::Directory => sandbox.archive(from, ArchiveFormat::Tar).await?,
        _ => sandbox.download(from, 0, None).await?,
    };
    // What has been written cannot be taken back, so nothing is tried again.
    while let Some(piece) = download.next().await.with_context(|| format!("download {from}"))? {
        stdout().lock().write_all(&piece).context("write to stdout")?;
    }
    stdout().flush().context("write to stdout")?;
    Ok(())
}

async fn existing(sandbox: &Sandbox, path: &FilePath) -> Result<Kind> {
    match kind_of(sandbox, path).await? {
        Some(kind) => Ok(kind),
        None => bail!("there is no {path} in {}", sandbox.id()),
    }
}

/// A directory that exists gets it under its own name.
fn target(from: &FilePath, to: &Path) -> Result<PathBuf> {
    if !to.is_dir() {
        return Ok(to.to_owned());
    }
    let from = Path::new(OsStr::from_bytes(from.as_bytes()));
    Ok(from.file_name().map_or_else(|| to.to_owned(), |name| to.join(name)))
}

/// Unpacks a directory as it comes.
async fn tree(sandbox: &Sandbox, from: &FilePath, to: PathBuf, progress: &Progress) -> Result<()> {
    let mut download = sandbox.archive(from, ArchiveFormat::Tar).await?;
    let (pieces, received) = mpsc::channel(PIECES);
    let unpacking = tokio::task::spawn_blocking(move || unpack(received, &to));
    let downloaded = async {
        while let Some(piece) = download.next().await? {
            progress.add(piece.len() as u64);
            if pieces.send(Some(piece)).await.is_err() {
                // It has failed, and says why.
                return Ok(());
            }
        }
        // Only now is the archive whole: a connection that breaks does not end it.
        let _ = pieces.send(None).await;
        Ok::<_, cabana_client::Error>(())
    };
    let downloaded = downloaded.await;
    drop(pieces);
    let unpacked = unpacking.await.context("unpack the archive")?;
    downloaded.with_context(|| format!("download {from}"))?;
    unpacked
}

fn unpack(pieces: mpsc::Receiver<Option<Bytes>>, to: &Path) -> Result<()> {
    let about = || format!("unpack into {}", to.display());
    std::fs::create_dir_all(to).with_context(about)?;
    let mut pieces = Pieces { pieces, rest: Bytes::new(), is_whole: false };
    let mut archive = tar::Archive::new(&mut pieces);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_overwrite(true);
    // Members that would lead outside the directory are left out by the crate.
    archive.unpack(to).with_context(about)?;
    io::copy(&mut pieces, &mut io::sink()).with_context(about)?;
    Ok(())
}

/// The pieces of a download as a reader, for a thread of its own.
struct Pieces {
    pieces: mpsc::Receiver<Option<Bytes>>,
    rest: Bytes,
    is_whole: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.is_whole {
            match self.pieces.blocking_recv() {
                Some(Some(piece)) => self.rest = piece,
                Some(None) => self.is_whole = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the download broke off")),
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}
