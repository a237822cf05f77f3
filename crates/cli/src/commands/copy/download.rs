//! A file on its way out of a sandbox.

use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Result};
use cabana_client::{
    Error, Sandbox,
    protocol::file::{FilePath, Mode},
};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt,
};

use super::{Progress, retry::persist};

/// Downloads a file under this name.
pub(super) async fn file(sandbox: &Sandbox, from: &FilePath, to: &Path, mode: Mode, progress: &Progress) -> Result<()> {
    // What is no regular file, such as a FIFO or a device, is written to and never replaced.
    if fs::metadata(to).await.is_ok_and(|present| !present.is_file()) {
        return fill(sandbox, from, to, progress).await.with_context(|| format!("download {from} to {}", to.display()));
    }
    let partial = partial(to);
    let outcome = async {
        fill(sandbox, from, &partial, progress).await?;
        fs::set_permissions(&partial, std::fs::Permissions::from_mode(mode.bits() & 0o777)).await?;
        fs::rename(&partial, to).await?;
        Ok::<_, Error>(())
    };
    if let Err(error) = outcome.await {
        // It may never have been made; and a full disk needs the room.
        let _ = fs::remove_file(&partial).await;
        return Err(error).with_context(|| format!("download {from} to {}", to.display()));
    }
    Ok(())
}

/// Downloads into a file, and goes on where a connection broke as long as the content is the same.
async fn fill(sandbox: &Sandbox, from: &FilePath, to: &Path, progress: &Progress) -> Result<(), Error> {
    let mut content = File::options().write(true).create(true).truncate(true).open(to).await?;
    let (mut done, mut etag) = (0, None::<String>);
    persist(async || {
        let before = done;
        let outcome = async {
            let mut download = sandbox.download(from, done, etag.as_deref()).await?;
            if etag.is_none() {
                progress.expect(download.left().unwrap_or(0));
                etag = download.etag().map(str::to_owned);
            }
            while let Some(piece) = download.next().await? {
                content.write_all(&piece).await?;
                done += piece.len() as u64;
                progress.add(piece.len() as u64);
            }
            content.flush().await?;
            Ok(())
        };
        let outcome = outcome.await;
        (outcome, done > before)
    })
    .await
}

/// The name of a file that is not whole.
fn partial(to: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(format!(".cabana-{}.part", process::id()));
    to.with_file_name(name)
}
