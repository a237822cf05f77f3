//! Files that a client places in a container (`PUT /containers/{id}/archive`).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, fchmod, mkdirat, openat, openat2, unlinkat};
use rustix::io::Errno;

use serde::{Deserialize, Serialize};
use tar::{Archive, EntryType};

/// A regular file. Its directories are made where they are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadedFile {
    /// Its absolute path inside, without `..`.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub content: Vec<u8>,
}

/// Reads the files of an uncompressed tar archive that is to be unpacked in a directory. Directories are passed over, because files make their
/// own.
///
/// Fails for malformed archives, for members of other kinds, and for paths that lead out of the directory.
pub fn read(directory: &str, archive: &[u8]) -> Result<Vec<UploadedFile>, String> {
    let directory = absolute(Path::new(directory)).ok_or_else(|| format!("{directory:?} is not an absolute path"))?;
    let mut files = Vec::new();
    let malformed = |error: std::io::Error| format!("malformed archive: {error}");
    for entry in Archive::new(archive).entries().map_err(malformed)? {
        let mut entry = entry.map_err(malformed)?;
        let member = entry.path().map_err(malformed)?.into_owned();
        match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular => {}
            kind => return Err(format!("{}: the engine places no {kind:?}", member.display())),
        }
        let relative = member.strip_prefix("/").unwrap_or(&member);
        let path =
            absolute(&directory.join(relative)).ok_or_else(|| format!("{} leads out of the directory", member.display()))?;
        let mode = entry.header().mode().map_err(malformed)? & 0o777;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(malformed)?;
        files.push(UploadedFile { path, mode, content });
    }
    Ok(files)
}

/// Writes files below a root that programs of the container may be changing: no link leads out of it (`RESOLVE_IN_ROOT` of openat2(2)).
pub fn write(root: BorrowedFd<'_>, files: &[UploadedFile]) -> io::Result<()> {
    for UploadedFile { path, mode, content } in files {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = make_directories(root, directory)?;
        // Removed first: a link would be written through, and an earlier file would keep its mode.
        match unlinkat(&directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&directory, name, flags, Mode::from_raw_mode(*mode))?;
        fchmod(&file, Mode::from_raw_mode(*mode))?;
        File::from(file).write_all(content)?;
    }
    Ok(())
}

/// Opens a directory below the root, and makes what is missing of its path.
fn make_directories(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    };
    match (open(path), path.parent(), path.file_name()) {
        (Err(Errno::NOENT), Some(parent), Some(name)) => {
            match mkdirat(make_directories(root, parent)?, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            Ok(open(path)?)
        }
        (opened, ..) => Ok(opened?),
    }
}

/// The path without `.` components. `None` if it is relative or has `..`.
fn absolute(path: &Path) -> Option<PathBuf> {
    let is_plain = |component| matches!(component, Component::RootDir | Component::CurDir | Component::Normal(_));
    (path.is_absolute() && path.components().all(is_plain)).then(|| path.components().collect())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn archive(path: &str, kind: EntryType) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        // Set as bytes: the builder refuses `..` by itself.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o100_644);
        header.set_size(if kind == EntryType::Regular { 2 } else { 0 });
        header.set_cksum();
        builder.append(&header, if kind == EntryType::Regular { &b"hi"[..] } else { &[] }).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_are_placed_below_the_directory() {
        for (path, expected) in [("a/b.crt", "/etc/a/b.crt"), ("./x", "/etc/x"), ("/x", "/etc/x")] {
            let files = read("/etc", &archive(path, EntryType::Regular)).unwrap();
            let expected = UploadedFile { path: expected.into(), mode: 0o644, content: b"hi".to_vec() };
            assert_eq!(files, [expected], "{path}");
        }
        assert_eq!(read("/etc", &archive("d/", EntryType::Directory)).unwrap(), []);
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = |target: &Path, path: &str| std::os::unix::fs::symlink(target, root.path().join(path)).unwrap();
        let file = |path: &str| UploadedFile { path: path.into(), mode: 0o640, content: b"hi".to_vec() };
        let opened = File::open(root.path()).unwrap();
        link(outside.path(), "etc");
        link(&outside.path().join("file"), "link");
        link(Path::new("/inner"), "within");
        std::fs::create_dir(root.path().join("inner")).unwrap();
        assert!(write(opened.as_fd(), &[file("/etc/a/b")]).is_err());
        write(opened.as_fd(), &[file("/link"), file("/within/a/b"), file("/new/c")]).unwrap();
        write(opened.as_fd(), &[file("/new/c")]).unwrap();
        for path in ["link", "inner/a/b", "new/c"] {
            assert_eq!(std::fs::read(root.path().join(path)).unwrap(), b"hi", "{path}");
        }
        assert_eq!(std::fs::metadata(root.path().join("new/c")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn other_members_and_paths_outside_are_refused() {
        for (directory, path, kind) in [
            ("/etc", "../x", EntryType::Regular),
            ("/etc", "a/../../x", EntryType::Regular),
            ("/etc", "x", EntryType::Symlink),
            ("/etc", "x", EntryType::Link),
            ("/etc", "x", EntryType::Char),
            ("etc", "x", EntryType::Regular),
            ("/etc/..", "x", EntryType::Regular),
        ] {
            assert!(read(directory, &archive(path, kind)).is_err(), "{directory} {path} {kind:?}");
        }
        assert!(read("/etc", &[b'x'; 700]).is_err());
        assert!(read("/etc", &archive("x", EntryType::Regular)[..513]).is_err());
    }
}
