//! Replacing what a directory holds by what an archive holds, once all of it has been read and has proved whole.

use std::{
    ffi::{OsStr, OsString},
    io::Read,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use cabana_protocol::{
    Error,
    file::{Extracted, FilePath},
};
use rustix::{
    fs::{Dir, Mode, OFlags, openat, renameat},
    io::Errno,
};

use super::extraction::extract_plain;
use crate::{
    fs::{Roots, errno_error, io_error},
    limits::ArchiveLimits,
};

/// What the name of the directory begins with in which an archive waits to take the place of what is there.
const STAGING: &str = ".cabana-restore-";

/// Has this directory, which is made where it is missing, hold what the archive in `input` holds, and nothing else. Where the archive cannot be
/// extracted whole, the directory stays as it is.
///
/// Fails as [`super::extract`] does, and with `conflict` where something in the directory cannot be moved: then it holds some of both.
pub fn replace(roots: &Roots, path: &FilePath, input: impl Read, limits: ArchiveLimits) -> Result<Extracted, Error> {
    let top = roots.target_to_change(path)?.make_directories()?;
    let name = staging_name().map_err(|error| io_error(path, &error))?;
    for left_over in names(&top).map_err(|errno| errno_error(path, errno))? {
        if left_over.as_bytes().starts_with(STAGING.as_bytes()) {
            remove(&top, &left_over).map_err(|error| io_error(path, &error))?;
        }
    }
    let staging = FilePath::from([path.as_bytes(), b"/", name.as_bytes()].concat());
    let extracted = extract_plain(roots, &staging, input, limits);
    if extracted.is_ok() {
        swap(roots, path, &top, &staging, &name)?;
    }
    if let Err(error) = remove(&top, &name)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("what an archive was extracted to stays: {error}");
    }
    extracted
}

/// Removes what is in the directory, and moves there what is in the other.
fn swap(roots: &Roots, path: &FilePath, top: &OwnedFd, staging: &FilePath, staging_name: &OsStr) -> Result<(), Error> {
    let failed = |errno| errno_error(path, errno);
    let from = roots.target_to_change(staging)?.make_directories()?;
    let _change = roots.lock_changes(top).map_err(failed)?;
    for name in names(top).map_err(failed)? {
        if name != staging_name {
            remove(top, &name).map_err(|error| io_error(path, &error))?;
        }
    }
    names(&from).map_err(failed)?.into_iter().try_for_each(|name| renameat(&from, &name, top, &name).map_err(failed))
}

/// The names in a directory.
fn names(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    // What it is named by may not be open for reading.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(openat(directory, ".", flags, Mode::empty())?)? {
        let name = entry?.file_name().to_bytes().to_owned();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(&name).to_owned());
        }
    }
    Ok(names)
}

/// Removes what has this name in the directory, with all that is in it. Symlinks are not followed.
fn remove(directory: &OwnedFd, name: &OsStr) -> std::io::Result<()> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => std::fs::remove_dir_all(path),
        other => other,
    }
}

fn staging_name() -> std::io::Result<OsString> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    Ok(OsString::from(random.iter().fold(STAGING.to_owned(), |name, byte| format!("{name}{byte:02x}"))))
}
