//! New content on its way to replacing a file: it grows under a name of its own and takes the real name when it is whole.

use std::{ffi::OsString, fs::File, io};

use rustix::{
    fs::{AtFlags, Mode, OFlags, fchmod, openat, renameat, unlinkat},
    io::Errno,
};

use super::root::Entry;

/// A file that nobody else knows yet; gone when it is dropped, unless it was put in place.
#[derive(Debug)]
pub(super) struct Temporary {
    entry: Entry,
    name: OsString,
    file: File,
    placed: bool,
}

impl Temporary {
    /// Makes an empty file beside the one that it is to replace.
    pub(super) fn new(entry: Entry) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = OsString::from(format!(".cabana-{:016x}.tmp", u64::from_ne_bytes(random)));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&entry.parent, &name, flags, Mode::from_raw_mode(0o600))?.into();
        Ok(Self { entry, name, file, placed: false })
    }

    /// What it will replace.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The file, for writing.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts it in place of whatever has the real name, in one step.
    pub(super) fn place(mut self, mode: u32) -> Result<File, Errno> {
        fchmod(&self.file, Mode::from_raw_mode(mode))?;
        renameat(&self.entry.parent, &self.name, &self.entry.parent, &self.entry.name)?;
        self.placed = true;
        self.file.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed {
            // Nothing more can be done about a file that cannot be removed.
            let _ = unlinkat(&self.entry.parent, &self.name, AtFlags::empty());
        }
    }
}
