//! Extracting an archive.
//!
//! Each member is put in place by itself, whole and in one step, below the directory that the archive is extracted into: the kernel
//! resolves its path beneath that directory, whatever the archive or somebody else puts there meanwhile. The first member that cannot
//! be extracted ends it; those before it stay.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    mem,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use cabana_protocol::{
    Code, Error,
    file::{Extracted, FilePath},
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens, utimensat},
    io::{Errno, fcntl_dupfd_cloexec},
};
use serde_json::json;

use super::{
    error::unreadable,
    format::decoder,
    members::{Kind, Member, Members},
    meter::{CountingReader, LimitedReader},
    name::{self, Refusal},
};
use crate::{
    file::check_space,
    fs::{
        Roots, Target, Temporary, conflict, errno_error, file_type, io_error, look, permissions, rename_error, replace_with_link,
        replace_with_symlink,
    },
    limits::ArchiveLimits,
};

/// Bytes of a file that are written at a time.
const WRITE_BYTES: usize = 256 << 10;

/// How often a hard link is tried again to a file that somebody else replaces meanwhile.
const LINK_ATTEMPTS: usize = 64;

/// The permission bits that an archive may give: set-user-ID and the like are for those in the sandbox to give.
const PERMISSIONS: u32 = 0o777;

/// An archive that is being extracted.
struct Extraction<'a> {
    roots: &'a Roots,
    /// Where to.
    top: OwnedFd,
    limits: ArchiveLimits,
    directories: Directories,
    extracted: Extracted,
    buffer: Vec<u8>,
}

/// Extracts the archive that `input` holds into this directory, which is made where it is missing.
///
/// Fails with `forbidden` (a member leads outside), `unprocessable` (damaged, or a member of a kind that is not extracted),
/// `conflict` (something is in a member's way), `payload_too_large`, `storage_full`. The error's details say what was extracted.
pub fn extract(roots: &Roots, into: &FilePath, input: impl Read, limits: ArchiveLimits) -> Result<Extracted, Error> {
    let input = CountingReader::new(input);
    let received = input.count();
    let decoded = decoder(input).map_err(unreadable)?;
    extract_members(roots, into, Members::new(LimitedReader::new(decoded, limits, received)), limits)
}

/// Extracts a tar archive that is not compressed, whatever it begins with, as [`extract`] does.
pub(super) fn extract_plain(roots: &Roots, into: &FilePath, input: impl Read, limits: ArchiveLimits) -> Result<Extracted, Error> {
    let input = CountingReader::new(input);
    let received = input.count();
    extract_members(roots, into, Members::new(LimitedReader::new(input, limits, received)), limits)
}

fn extract_members<R: Read>(
    roots: &Roots,
    into: &FilePath,
    mut members: Members<R>,
    limits: ArchiveLimits,
) -> Result<Extracted, Error> {
    let first = members.next()?;
    let top = roots.target_to_change(into)?.make_directories()?;
    let mut extraction = Extraction {
        roots,
        top,
        limits,
        directories: Directories::default(),
        extracted: Extracted { entries: 0, size_bytes: 0, note: None },
        buffer: vec![0; WRITE_BYTES],
    };
    let done = extraction.all(first, members);
    let settled = extraction.finish_directories();
    let facts = json!({ "entries": extraction.extracted.entries, "size_bytes": extraction.extracted.size_bytes });
    done.and(settled).map(|()| extraction.extracted).map_err(|error| error.with_details(facts))
}

impl Extraction<'_> {
    /// Extracts this member and those that follow, and reads on to the input's end, where compression has its checksum.
    fn all<R: Read>(&mut self, first: Option<Member>, mut members: Members<R>) -> Result<(), Error> {
        let mut next = first;
        while let Some(member) = next {
            if self.extracted.entries == self.limits.entries {
                let message = format!("the archive has more than {} entries", self.limits.entries);
                return Err(
                    Error::new(Code::PayloadTooLarge, message).with_details(json!({ "limit_entries": self.limits.entries }))
                );
            }
            let name = FilePath::from(member.name.clone());
            self.one(&name, &member, &mut members).map_err(|error| error.with_details(json!({ "entry": name })))?;
            self.extracted.entries += 1;
            next = members.next()?;
        }
        if members.is_unmarked() {
            self.extracted.note = Some("the archive has no end marker; it may be truncated".to_owned());
        }
        io::copy(&mut members.into_input(), &mut io::sink()).map_err(unreadable)?;
        Ok(())
    }

    fn one<R: Read>(&mut self, name: &FilePath, member: &Member, members: &mut Members<R>) -> Result<(), Error> {
        let path = below(name, &member.name)?;
        if path.as_os_str().is_empty() {
            // What the directory itself is like is not the archive's to say.
            return if member.kind == Kind::Directory {
                Ok(())
            } else {
                Err(conflict(name, "is_a_directory", "is the directory that the archive is extracted into"))
            };
        }
        let target = self.target(name, &path)?;
        match &member.kind {
            Kind::File(size) => self.file(name, &target, member, *size, members),
            Kind::Directory => self.directory(&target, member, path),
            Kind::Symlink(to) => self.symlink(name, &target, to, member.modified),
            Kind::HardLink(to) => self.hard_link(name, &target, to),
        }
    }

    fn target<'a>(&self, name: &'a FilePath, path: &Path) -> Result<Target<'a>, Error> {
        let top = fcntl_dupfd_cloexec(&self.top, 0).map_err(|errno| errno_error(name, errno))?;
        Ok(Target::new(name, top, self.roots.confinement(), path))
    }

    fn file<R: Read>(
        &mut self,
        name: &FilePath,
        target: &Target<'_>,
        member: &Member,
        size: u64,
        members: &mut Members<R>,
    ) -> Result<(), Error> {
        let refused = |errno| errno_error(name, errno);
        let entry = target.entry_with_parents()?;
        check_space(name, &entry.parent, size)?;
        let temporary = Temporary::new(fcntl_dupfd_cloexec(&entry.parent, 0).map_err(refused)?).map_err(refused)?;
        self.copy(name, members, temporary.file())?;
        fchmod(temporary.file(), permissions(member.mode & PERMISSIONS)).map_err(refused)?;
        futimens(temporary.file(), &modified(member.modified)).map_err(refused)?;
        let _change = self.roots.lock_changes(&self.top).map_err(refused)?;
        temporary.persist(entry).map_err(|errno| rename_error(name, errno))?;
        self.extracted.size_bytes += size;
        Ok(())
    }

    fn copy<R: Read>(&mut self, name: &FilePath, members: &mut Members<R>, mut file: &File) -> Result<(), Error> {
        loop {
            let mut filled = 0;
            while filled < self.buffer.len() {
                match members.read(&mut self.buffer[filled..]).map_err(unreadable)? {
                    0 => break,
                    count => filled += count,
                }
            }
            if filled == 0 {
                return Ok(());
            }
            file.write_all(&self.buffer[..filled]).map_err(|error| io_error(name, &error))?;
        }
    }

    fn directory(&mut self, target: &Target<'_>, member: &Member, path: PathBuf) -> Result<(), Error> {
        target.make_directories()?;
        if self.directories.add(path, permissions(member.mode & PERMISSIONS), member.modified) {
            Ok(())
        } else {
            self.finish_directories()
        }
    }

    /// Makes a symlink, wherever it leads: nothing is extracted through one that leads outside.
    fn symlink(&self, name: &FilePath, target: &Target<'_>, to: &[u8], time: Timespec) -> Result<(), Error> {
        let refused = |errno| rename_error(name, errno);
        let entry = target.entry_with_parents()?;
        let parent = fcntl_dupfd_cloexec(&entry.parent, 0).map_err(refused)?;
        let own_name = entry.name.clone();
        let _change = self.roots.lock_changes(&self.top).map_err(refused)?;
        replace_with_symlink(to, entry).map_err(refused)?;
        match utimensat(parent, own_name, &modified(time), AtFlags::SYMLINK_NOFOLLOW) {
            // Somebody else has removed it.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(refused(errno)),
        }
    }

    /// Gives the directories that were extracted their modes and times, which filling them changes.
    fn finish_directories(&mut self) -> Result<(), Error> {
        for (path, mode, time) in self.directories.take() {
            let name = FilePath::from(path.as_os_str().as_bytes().to_owned());
            let directory = match self.target(&name, &path)?.open(OFlags::RDONLY | OFlags::DIRECTORY) {
                // Somebody else has removed it.
                Err(error) if matches!(error.code, Code::NotFound | Code::Conflict) => continue,
                directory => directory?,
            };
            let settled = fchmod(&directory, mode).and_then(|()| futimens(&directory, &modified(time)));
            settled.map_err(|errno| errno_error(&name, errno))?;
        }
        Ok(())
    }

    fn hard_link(&self, name: &FilePath, target: &Target<'_>, to: &[u8]) -> Result<(), Error> {
        for _ in 0..LINK_ATTEMPTS {
            let file = self.linked(name, to)?;
            let entry = target.entry_with_parents()?;
            let _change = self.roots.lock_changes(&self.top).map_err(|errno| errno_error(name, errno))?;
            match replace_with_link(&file, entry) {
                // The file has been replaced since it was opened, and has no name any more.
                Err(Errno::NOENT) => {}
                result => return result.map_err(|errno| rename_error(name, errno)),
            }
        }
        Err(errno_error(name, Errno::BUSY))
    }

    /// Opens the regular file that gets another name.
    fn linked(&self, name: &FilePath, to: &[u8]) -> Result<OwnedFd, Error> {
        let to_name = FilePath::from(to.to_owned());
        let file = self.target(&to_name, &below(&to_name, to)?)?.open(OFlags::PATH | OFlags::NOFOLLOW);
        let file = file.map_err(|error| match error.code {
            Code::NotFound => Error::new(Code::Unprocessable, format!("{name}: hard link to {to_name}, which does not exist")),
            _ => error,
        })?;
        let stat = look(&file, c"").map_err(|errno| errno_error(&to_name, errno))?;
        let regular = file_type(&stat) == FileType::RegularFile;
        if regular { Ok(file) } else { Err(conflict(&to_name, "not_a_file", "only regular files can be hard links")) }
    }
}

fn below(name: &FilePath, bytes: &[u8]) -> Result<PathBuf, Error> {
    name::below(bytes).map_err(|refusal| {
        let code = if refusal == Refusal::Impossible { Code::Unprocessable } else { Code::Forbidden };
        Error::new(code, format!("{name}: invalid member name: {refusal}"))
    })
}

/// Sets when the content changed, and leaves when it was last read.
fn modified(time: Timespec) -> Timestamps {
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: time }
}

/// What the directories that wait for their modes and times may take in memory. Beyond that, all get theirs, and those that are
/// filled further afterwards a later time.
const PENDING_BYTES: usize = 4 << 20;

/// What one takes besides its path.
const EACH_BYTES: usize = 128;

/// Directories with the modes and times that they are to have.
#[derive(Debug, Default)]
pub(super) struct Directories {
    pending: BTreeMap<PathBuf, (Mode, Timespec)>,
    bytes: usize,
}

impl Directories {
    /// Adds one; what was said of it before does not count. False when there are too many, and it is time to take them.
    pub(super) fn add(&mut self, path: PathBuf, mode: Mode, modified: Timespec) -> bool {
        self.bytes += path.as_os_str().len() + EACH_BYTES;
        self.pending.insert(path, (mode, modified));
        self.bytes <= PENDING_BYTES
    }

    /// Takes all, those deeper in the tree before those that hold them, which may then close themselves to us.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (PathBuf, Mode, Timespec)> + use<> {
        self.bytes = 0;
        mem::take(&mut self.pending).into_iter().rev().map(|(path, (mode, modified))| (path, mode, modified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(directories: &mut Directories, path: &str, mode: u32) -> bool {
        directories.add(path.into(), Mode::from_raw_mode(mode), Timespec { tv_sec: 0, tv_nsec: 0 })
    }

    #[test]
    fn the_last_word_counts_and_the_deepest_come_first() {
        let mut directories = Directories::default();
        for (path, mode) in [("a", 0o700), ("a/b", 0o500), ("a.b", 0o500), ("a", 0o755)] {
            assert!(add(&mut directories, path, mode));
        }
        let taken: Vec<_> = directories.take().map(|(path, mode, _)| (path, mode.as_raw_mode())).collect();
        assert_eq!(taken, [("a.b".into(), 0o500), ("a/b".into(), 0o500), ("a".into(), 0o755)]);
        assert_eq!(directories.take().count(), 0);
    }

    #[test]
    fn their_memory_is_bounded() {
        let mut directories = Directories::default();
        let long = "d".repeat(1_000);
        let fit = (0..).take_while(|number| add(&mut directories, &format!("{long}{number}"), 0o700)).count();
        assert!(fit < PENDING_BYTES / long.len() && fit > PENDING_BYTES / (2 * long.len()), "{fit}");
    }
}
