//! Fuzzing of archives that are extracted.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is told by a panic")]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use cabana_protocol::file::{ArchiveFormat, FilePath};
use tar::Header;
use tempfile::TempDir;

use super::{extraction::extract, format::Encoder};
use crate::{fs::Roots, limits::ArchiveLimits};

const LIMITS: ArchiveLimits = ArchiveLimits { entries: 100, bytes: 1 << 20, ratio: 100 };

thread_local! {
    static PLACE: Place = Place::make();
}

/// A directory to extract into, with nothing outside but what was there before.
struct Place {
    top: TempDir,
    roots: Roots,
}

/// A byte that says how the rest comes, and an archive: as it is; or with its headers summed up anew, so that what is broken in them is
/// read, and compressed. Whatever it holds stays below the directory that it is extracted into, without the temporary files and the
/// privileges that it may have had.
pub fn archive(bytes: &[u8]) {
    let Some((form, archive)) = bytes.split_first() else { return };
    let archive = match form % 4 {
        0 => archive.to_vec(),
        form => compressed(&summed(archive), ArchiveFormat::ALL[usize::from(form) - 1]),
    };
    PLACE.with(|place| place.extract(&archive));
}

fn compressed(archive: &[u8], format: ArchiveFormat) -> Vec<u8> {
    let mut encoder = Encoder::new(format, Vec::new()).unwrap();
    encoder.write_all(archive).unwrap();
    encoder.finish().unwrap()
}

fn summed(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    for block in archive.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
    archive
}

impl Place {
    fn make() -> Self {
        let top = tempfile::tempdir().unwrap();
        let roots = Roots::at(&top.path().join("root"));
        fs::create_dir(top.path().join("root/outside")).unwrap();
        Self { top, roots }
    }

    fn extract(&self, archive: &[u8]) {
        let target = self.top.path().join("root/target");
        let extracted = extract(&self.roots, &FilePath::from("target"), archive, LIMITS);
        let left = tree(self.top.path());
        let outside: Vec<_> = left.iter().map(|(path, _)| path).filter(|path| !path.starts_with(&target)).collect();
        assert_eq!(outside.len(), 2, "{outside:?}");
        let inside: Vec<_> = left.iter().filter(|(path, _)| path.starts_with(&target)).collect();
        let named = archive.windows(7).any(|part| part == b".cabana");
        assert!(named || inside.iter().all(|(path, _)| !path.to_string_lossy().contains(".cabana")), "{inside:?}");
        assert!(inside.iter().all(|(_, metadata)| metadata.permissions().mode() & 0o7000 == 0), "{inside:?}");
        if let Ok(extracted) = extracted {
            assert!(extracted.entries <= LIMITS.entries && extracted.size_bytes <= LIMITS.bytes);
        }
        let _ = fs::remove_dir_all(target);
    }
}

/// Everything in this directory, followed through no symlink.
fn tree(directory: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    // An archive may close its directories to all but root.
    let entries = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    let all = entries.flat_map(|path| {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let below = if metadata.is_dir() { tree(&path) } else { Vec::new() };
        [(path, metadata)].into_iter().chain(below)
    });
    all.collect()
}
