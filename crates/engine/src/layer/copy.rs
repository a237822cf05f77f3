//! Copying the upper directory of an overlay, exactly: hard links, holes, extended attributes, device files, whiteouts and opaque directories.
//!
//! Layers can be copied onto each other, oldest first: the outcome is one layer that stands for all of them.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, fgetxattr, flistxattr, fsetxattr, futimens, ioctl_ficlone, lgetxattr, linkat, llistxattr, lsetxattr, mkdirat,
    mknodat, openat, readlinkat, seek, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

/// What overlayfs notes about a directory that hides what is below it, as root and in a user namespace.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// What overlayfs notes about a renamed directory: where its content lies in the layers below.
const REDIRECT: &str = "trusted.overlay.redirect";

/// Other notes of overlayfs are about the mount that made them, and mean nothing in another.
const OVERLAY_NOTES: [&str; 2] = ["trusted.overlay.", "user.overlay."];

/// How much may be copied, and what is left out.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Paths below the root that are left out, with everything below them.
    pub skipped: &'a [&'a str],
    /// Most bytes of file content.
    pub limit_bytes: u64,
}

/// Copies the tree at `source` onto the directory at `target`. Returns the bytes of file content that were copied.
///
/// Fails with `StorageFull` when that exceeds the limit. What was copied until then stays.
pub fn copy(source: BorrowedFd<'_>, target: BorrowedFd<'_>, rules: Rules<'_>) -> io::Result<u64> {
    let source = open_directory(source, c".")?;
    let root = open_directory(target, c".")?;
    let skipped = rules.skipped.iter().map(PathBuf::from).collect();
    let mut copy = Copy { root: root.try_clone()?, skipped, left: rules.limit_bytes, links: HashMap::new() };
    copy.tree(source, root)?;
    Ok(rules.limit_bytes - copy.left)
}

/// Whether a directory of the tree was renamed. Such a layer means something only over the very layers that it was made over.
pub fn has_redirects(source: BorrowedFd<'_>) -> io::Result<bool> {
    let mut open = vec![open_directory(source, c".")?];
    while let Some(directory) = open.pop() {
        for entry in entries(&directory)? {
            if entry.1 == FileType::Directory {
                let inner = open_directory(directory.as_fd(), &entry.0)?;
                if !matches!(fgetxattr(&inner, REDIRECT, &mut [0_u8; 1]), Err(Errno::NODATA | Errno::OPNOTSUPP)) {
                    return Ok(true);
                }
                open.push(inner);
            }
        }
    }
    Ok(false)
}

struct Copy {
    root: OwnedFd,
    skipped: BTreeSet<PathBuf>,
    left: u64,
    /// Where the first name of a file with several names was copied to.
    links: HashMap<(u64, u64), PathBuf>,
}

/// A directory whose entries are being copied.
struct Level {
    source: OwnedFd,
    target: OwnedFd,
    path: PathBuf,
    left: Vec<(CString, FileType)>,
}

impl Copy {
    /// A loop and no recursion: a deep tree does not exhaust the stack. A directory's attributes come last, as its entries change its time.
    fn tree(&mut self, source: OwnedFd, target: OwnedFd) -> io::Result<()> {
        let left = entries(&source)?;
        let mut levels = vec![Level { source, target, path: PathBuf::new(), left }];
        while let Some(level) = levels.last_mut() {
            let Some((name, kind)) = level.left.pop() else {
                if let Some(Level { source, target, .. }) = levels.pop() {
                    attributes(source.as_fd(), target.as_fd(), &rustix::fs::fstat(&source)?)?;
                }
                continue;
            };
            let path = level.path.join(OsStr::from_bytes(name.to_bytes()));
            if self.skipped.contains(&path) {
                continue;
            }
            if kind == FileType::Directory {
                let source = open_directory(level.source.as_fd(), &name)?;
                let target = make_directory(level.target.as_fd(), &name, is_opaque(source.as_fd()))?;
                let left = entries(&source)?;
                levels.push(Level { source, target, path, left });
            } else {
                remove(level.target.as_fd(), &name)?;
                let (source, target) = (level.source.try_clone()?, level.target.try_clone()?);
                self.entry(source.as_fd(), target.as_fd(), &name, kind, path)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        path: PathBuf,
    ) -> io::Result<()> {
        let stat = statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.st_nlink > 1 && !is_whiteout(&stat) {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                return Ok(linkat(&self.root, first, target, name, AtFlags::empty())?);
            }
            self.links.insert(key, path);
        }
        if kind == FileType::RegularFile {
            return self.file(source, target, name, &stat);
        }
        if kind == FileType::Symlink {
            symlinkat(readlinkat(source, name, Vec::new())?, target, name)?;
        } else {
            mknodat(target, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?;
        }
        chownat(target, name, Some(uid(&stat)), Some(gid(&stat)), AtFlags::SYMLINK_NOFOLLOW)?;
        if kind != FileType::Symlink {
            chmodat(target, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
        }
        link_attributes(&named(source, name), &named(target, name))?;
        Ok(utimensat(target, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn file(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
        let source = File::from(openat(source, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = File::from(openat(target, name, flags, Mode::RUSR | Mode::WUSR)?);
        if ioctl_ficlone(&target, &source).is_err() {
            self.content(&source, &target)?;
        }
        attributes(source.as_fd(), target.as_fd(), stat)
    }

    /// Copies what is data and leaves holes as they are.
    fn content(&mut self, source: &File, target: &File) -> io::Result<()> {
        let mut at = 0;
        loop {
            let begin = match seek(source, SeekFrom::Data(at)) {
                Ok(begin) => begin,
                // Nothing but a hole is left.
                Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            let end = seek(source, SeekFrom::Hole(begin))?;
            self.left = self.left.checked_sub(end - begin).ok_or(io::ErrorKind::StorageFull)?;
            seek(source, SeekFrom::Start(begin))?;
            seek(target, SeekFrom::Start(begin))?;
            io::copy(&mut io::Read::take(source, end - begin), &mut &*target)?;
            at = end;
        }
        target.set_len(source.metadata()?.len())
    }
}

/// The entries of a directory, without `.` and `..`.
fn entries(directory: &OwnedFd) -> io::Result<Vec<(CString, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => FileType::from_raw_mode(statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Makes a directory, or opens the one that a layer below has there. An opaque one replaces it.
fn make_directory(parent: BorrowedFd<'_>, name: &CStr, opaque: bool) -> io::Result<OwnedFd> {
    let there = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_directory = there.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    if opaque || !is_directory {
        remove(parent, name)?;
        mkdirat(parent, name, Mode::RWXU)?;
    }
    open_directory(parent, name)
}

/// Removes what a layer below has there, if anything.
fn remove(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => std::fs::remove_dir_all(named(parent, name)),
        Err(error) => Err(error.into()),
    }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0_u8; 1];
    OPAQUE.iter().any(|mark| fgetxattr(directory, *mark, &mut value).is_ok() && value == *b"y")
}

/// Owner, mode, extended attributes and times of a file or directory, in an order in which none undoes another.
fn attributes(source: BorrowedFd<'_>, target: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    fchown(target, Some(uid(stat)), Some(gid(stat)))?;
    fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for name in wanted(&sized(|buffer| flistxattr(source, buffer))?) {
        let value = sized(|buffer| fgetxattr(source, name, buffer))?;
        fsetxattr(target, name, &value, XattrFlags::empty())?;
    }
    Ok(futimens(target, &times(stat))?)
}

/// The same for the extended attributes of what cannot be opened.
fn link_attributes(source: &Path, target: &Path) -> io::Result<()> {
    for name in wanted(&sized(|buffer| llistxattr(source, buffer))?) {
        let value = sized(|buffer| lgetxattr(source, name, buffer))?;
        lsetxattr(target, name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

/// The attributes to copy, of a list of names that end with NUL.
fn wanted(list: &[u8]) -> impl Iterator<Item = &OsStr> {
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(OsStr::from_bytes).filter(|name| {
        let text = name.as_bytes();
        let is_note = OVERLAY_NOTES.iter().any(|prefix| text.starts_with(prefix.as_bytes()));
        !is_note || OPAQUE.iter().any(|mark| text == mark.as_bytes()) || text == REDIRECT.as_bytes()
    })
}

/// Reads a list or value into a small buffer, or into one of the largest size that the kernel allows.
fn sized(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    let size = match read(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer = vec![0; 64 * 1024];
            read(&mut buffer)?
        }
        // The file system has no such attributes.
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    buffer.truncate(size);
    Ok(buffer)
}

/// A path to an entry of an open directory.
fn named(directory: BorrowedFd<'_>, name: &CStr) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(OsStr::from_bytes(name.to_bytes()))
}

fn uid(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn gid(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
