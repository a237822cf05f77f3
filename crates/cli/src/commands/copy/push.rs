//! Files and directories into a sandbox.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use cabana_client::{
    Body, Sandbox,
    protocol::file::{FilePath, Kind, Mode},
};
use tokio::sync::mpsc;

use super::{Progress, join, kind_of, name_of, retry::persist, upload};

/// What an archive of small files holds: in memory, so that it can be sent again.
const BATCH: usize = 8 << 20;
/// A larger file is uploaded by itself, in parts if need be.
const SMALL: u64 = 4 << 20;

/// Something that is copied.
enum Piece {
    /// A tar archive of small files, directories and links.
    Archive(Vec<u8>),
    /// A file by itself: where it is, and its path below the target.
    File(PathBuf, PathBuf, Mode),
}

/// Copies what has this local name into a directory of the sandbox that exists, or under this name.
pub(super) async fn push(sandbox: &Sandbox, from: &Path, to: &FilePath, progress: &Progress) -> Result<()> {
    let metadata = fs::metadata(from).with_context(|| format!("read {}", from.display()))?;
    let is_directory = kind_of(sandbox, to).await? == Some(Kind::Directory);
    let to = match name_of(from).filter(|_| is_directory) {
        Some(name) => join(to, name),
        None => to.clone(),
    };
    if metadata.is_dir() {
        return tree(sandbox, from, &to, progress).await;
    }
    progress.expect(metadata.len());
    upload::file(sandbox, from, &to, mode_of(&metadata), progress).await
}

/// Small files travel together, large ones by themselves.
async fn tree(sandbox: &Sandbox, from: &Path, to: &FilePath, progress: &Progress) -> Result<()> {
    // One archive is made while another one is sent.
    let (pieces, mut made) = mpsc::channel(1);
    let root = from.to_owned();
    let walking = tokio::task::spawn_blocking(move || walk(&root, &pieces));
    while let Some(piece) = made.recv().await {
        match piece {
            Piece::Archive(archive) => {
                let (archive, length) = (Bytes::from(archive), progress.clone());
                let extract = async || (sandbox.extract(to, Body::from(archive.clone())).await, false);
                persist(extract).await.with_context(|| format!("copy into {to}"))?;
                length.add(archive.len() as u64);
            }
            Piece::File(local, below, mode) => {
                let to = join(to, below.as_os_str().as_bytes());
                upload::file(sandbox, &local, &to, mode, progress).await?;
            }
        }
    }
    walking.await.context("read the directory")?
}

/// Reads a tree and hands it over, piece by piece. Directories come before what is in them.
fn walk(root: &Path, pieces: &mpsc::Sender<Piece>) -> Result<()> {
    let mut archive = new_archive();
    // The target itself exists afterwards, even if nothing is in it.
    archive.append_dir(".", root).with_context(|| format!("read {}", root.display()))?;
    let mut left = vec![PathBuf::new()];
    while let Some(directory) = left.pop() {
        let about = || format!("read {}", root.join(&directory).display());
        let mut entries =
            fs::read_dir(root.join(&directory)).with_context(about)?.collect::<io::Result<Vec<_>>>().with_context(about)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, below) = (entry.path(), directory.join(entry.file_name()));
            let about = || format!("read {}", path.display());
            let metadata = fs::symlink_metadata(&path).with_context(about)?;
            if metadata.is_file() && metadata.len() > SMALL {
                if pieces.blocking_send(Piece::File(path, below, mode_of(&metadata))).is_err() {
                    return Ok(());
                }
                continue;
            }
            if metadata.is_dir() {
                archive.append_dir(&below, &path).with_context(about)?;
                left.push(below);
            } else if metadata.is_file() || metadata.is_symlink() {
                archive.append_path_with_name(&path, &below).with_context(about)?;
            } else {
                eprintln!("cabana: {} is neither a file, a directory nor a link: left out", path.display());
            }
            if archive.get_ref().len() >= BATCH {
                let full = std::mem::replace(&mut archive, new_archive());
                if pieces.blocking_send(Piece::Archive(full.into_inner().context("make an archive")?)).is_err() {
                    return Ok(());
                }
            }
        }
    }
    // The one who takes it has failed, and says why.
    let _ = pieces.blocking_send(Piece::Archive(archive.into_inner().context("make an archive")?));
    Ok(())
}

fn new_archive() -> tar::Builder<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::with_capacity(BATCH + (BATCH >> 1)));
    archive.follow_symlinks(false);
    archive
}

fn mode_of(metadata: &Metadata) -> Mode {
    Mode::from_bits(metadata.permissions().mode() & 0o777)
}

#[cfg(test)]
mod tests {
    use super::{Piece, SMALL, walk};
    use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::PathBuf};
    use tokio::sync::mpsc;

    #[test]
    fn small_files_travel_together_and_large_ones_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/empty")).unwrap();
        fs::write(root.path().join("a/small"), "1").unwrap();
        fs::write(root.path().join("large"), vec![0; usize::try_from(SMALL).unwrap() + 1]).unwrap();
        symlink("nowhere", root.path().join("link")).unwrap();
        let (pieces, mut made) = mpsc::channel(100);
        walk(root.path(), &pieces).unwrap();
        drop(pieces);
        let (mut entries, mut alone) = (BTreeMap::new(), Vec::new());
        while let Some(piece) = made.blocking_recv() {
            match piece {
                Piece::File(_, below, _) => alone.push(below),
                Piece::Archive(archive) => {
                    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
                        let entry = entry.unwrap();
                        entries.insert(entry.path().unwrap().into_owned(), entry.header().entry_type());
                    }
                }
            }
        }
        assert_eq!(alone, [PathBuf::from("large")]);
        let names: Vec<_> = entries.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(names, [".", "a", "a/empty", "a/small", "link"]);
        assert!(entries[&PathBuf::from("link")].is_symlink());
    }
}
