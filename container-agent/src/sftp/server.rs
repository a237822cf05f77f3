//! The requests.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{
    attributes::{Attributes, long_name},
    extensions::{self, EXTENSIONS},
    handles::{Handles, Open},
    packet::{Builder, Fields},
};

const VERSION: u32 = 3;

/// Most bytes of one read.
pub(super) const READ_BYTES: usize = 255 << 10;

/// Names in one answer of a directory.
const NAMES: usize = 128;

/// Types of packets.
mod kind {
    pub(super) const VERSION: u8 = 2;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRIBUTES: u8 = 105;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

/// Bits of `pflags`.
mod flag {
    pub(super) const READ: u32 = 1;
    pub(super) const WRITE: u32 = 2;
    pub(super) const APPEND: u32 = 4;
    pub(super) const CREATE: u32 = 8;
    pub(super) const TRUNCATE: u32 = 16;
    pub(super) const EXCLUSIVE: u32 = 32;
}

/// Why a request failed: a status of the protocol.
#[derive(Debug)]
pub(super) struct Failure {
    code: u32,
    message: String,
}

impl Failure {
    pub(super) const BAD_MESSAGE: Self = Self::new(5);
    pub(super) const NO_SUCH_HANDLE: Self = Self::new(4);
    pub(super) const TOO_MANY_OPEN: Self = Self::new(4);
    pub(super) const UNSUPPORTED: Self = Self::new(8);
    const END: Self = Self::new(1);

    const fn new(code: u32) -> Self {
        Self { code, message: String::new() }
    }

    fn text(&self) -> &str {
        match self.code {
            _ if !self.message.is_empty() => &self.message,
            0 => "Success",
            1 => "End of file",
            5 => "Bad message",
            8 => "Operation unsupported",
            _ => "No such handle, or too many are open",
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => 2,
            ErrorKind::PermissionDenied => 3,
            ErrorKind::Unsupported => 8,
            _ => 4,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// What a request is answered by.
pub(super) enum Reply {
    Done,
    Handle([u8; 4]),
    Data(Vec<u8>),
    Names(Vec<(Vec<u8>, Vec<u8>, Attributes)>),
    Attributes(Attributes),
    /// Fields of an extension's own.
    Extended(Vec<u64>),
}

impl Reply {
    /// One name, as `realpath` and `readlink` are answered.
    pub(super) fn name(path: &Path) -> Self {
        let bytes = path.as_os_str().as_bytes().to_vec();
        Self::Names(vec![(bytes.clone(), bytes, Attributes::default())])
    }
}

/// The state of a connection.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) handles: Handles,
}

impl Server {
    /// Carries out a request, and writes its answer.
    pub(super) fn answer(&mut self, packet: &[u8], output: &mut impl Write) -> io::Result<()> {
        let (kind, mut fields) = match packet.split_first() {
            Some((kind, rest)) => (*kind, Fields(rest)),
            None => return Ok(()),
        };
        if kind == 1 {
            let version = Builder::new(kind::VERSION).u32(VERSION);
            let version = EXTENSIONS
                .iter()
                .fold(version, |packet, (name, version)| packet.bytes(name.as_bytes()).bytes(version.as_bytes()));
            return output.write_all(&version.finish());
        }
        // A request without an id cannot be answered.
        let id = fields.u32().map_err(|_| io::Error::new(ErrorKind::InvalidData, "a request without an id"))?;
        let reply = self.carry_out(kind, &mut fields);
        output.write_all(&encode(id, reply))
    }

    fn carry_out(&mut self, kind: u8, fields: &mut Fields<'_>) -> Result<Reply, Failure> {
        match kind {
            3 => self.open(fields),
            4 => self.handles.close(fields.bytes()?).map(|()| Reply::Done),
            5 => self.read(fields),
            6 => {
                let (handle, offset, bytes) = (fields.bytes()?, fields.u64()?, fields.bytes()?);
                self.handles.file(handle)?.write_all_at(bytes, offset)?;
                Ok(Reply::Done)
            }
            7 => Ok(Reply::Attributes((&fs::symlink_metadata(fields.path()?)?).into())),
            8 => Ok(Reply::Attributes((&self.handles.file(fields.bytes()?)?.metadata()?).into())),
            9 => {
                let path = fields.path()?;
                Attributes::read(fields)?.apply_to(path, AtFlags::empty()).map(|()| Reply::Done)
            }
            10 => {
                let handle = fields.bytes()?;
                Attributes::read(fields)?.apply(self.handles.file(handle)?).map(|()| Reply::Done)
            }
            11 => {
                let path = fields.path()?;
                let entries = fs::read_dir(path)?;
                self.handles.insert(Open::Directory(path.to_owned(), entries)).map(Reply::Handle)
            }
            12 => self.read_directory(fields.bytes()?),
            13 => {
                fs::remove_file(fields.path()?)?;
                Ok(Reply::Done)
            }
            14 => {
                let path = fields.path()?;
                DirBuilder::new().mode(Attributes::read(fields)?.mode(0o777)).create(path)?;
                Ok(Reply::Done)
            }
            15 => {
                fs::remove_dir(fields.path()?)?;
                Ok(Reply::Done)
            }
            16 => Ok(Reply::name(&real_path(fields.path()?)?)),
            17 => Ok(Reply::Attributes((&fs::metadata(fields.path()?)?).into())),
            18 => rename(fields.path()?, fields.path()?).map(|()| Reply::Done),
            19 => Ok(Reply::name(&fs::read_link(fields.path()?)?)),
            20 => {
                // OpenSSH sends the target first, against the draft, and clients follow it.
                let (target, path) = (fields.path()?, fields.path()?);
                symlink(target, path)?;
                Ok(Reply::Done)
            }
            200 => extensions::carry_out(self, fields),
            _ => Err(Failure::UNSUPPORTED),
        }
    }

    fn open(&mut self, fields: &mut Fields<'_>) -> Result<Reply, Failure> {
        let (path, flags) = (fields.path()?, fields.u32()?);
        let attributes = Attributes::read(fields)?;
        let has = |flag| flags & flag != 0;
        let mut options = OpenOptions::new();
        options.read(has(flag::READ)).mode(attributes.mode(0o666));
        options.write(has(flag::WRITE) && !has(flag::APPEND)).append(has(flag::APPEND));
        options.truncate(has(flag::TRUNCATE)).create(has(flag::CREATE)).create_new(has(flag::CREATE) && has(flag::EXCLUSIVE));
        let file = options.open(path)?;
        // A pipe would be read without end, and a directory has requests of its own.
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(Errno::ISDIR).into());
        }
        self.handles.insert(Open::File(file)).map(Reply::Handle)
    }

    fn read(&mut self, fields: &mut Fields<'_>) -> Result<Reply, Failure> {
        let (handle, offset, length) = (fields.bytes()?, fields.u64()?, fields.u32()?);
        let file = self.handles.file(handle)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(READ_BYTES).min(READ_BYTES)];
        let mut read = 0;
        while read < bytes.len() {
            match file.read_at(&mut bytes[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if read > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(read);
        if read == 0 && length > 0 { Err(Failure::END) } else { Ok(Reply::Data(bytes)) }
    }

    fn read_directory(&mut self, handle: &[u8]) -> Result<Reply, Failure> {
        let (path, entries) = self.handles.directory(handle)?;
        let mut names = Vec::new();
        for entry in entries.by_ref().take(NAMES) {
            let name = entry?.file_name();
            // What has been removed meanwhile is left out.
            if let Ok(metadata) = fs::symlink_metadata(path.join(&name)) {
                names.push((name.as_bytes().to_vec(), long_name(name.as_bytes(), &metadata), (&metadata).into()));
            }
        }
        if names.is_empty() { Err(Failure::END) } else { Ok(Reply::Names(names)) }
    }
}

/// The path without symlinks and dots. Its last name need not exist.
pub(super) fn real_path(path: &Path) -> Result<PathBuf, Failure> {
    match (fs::canonicalize(path), path.file_name()) {
        (Err(error), Some(name)) if error.kind() == ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(fs::canonicalize(parent)?.join(name))
        }
        (found, _) => Ok(found?),
    }
}

/// Renames, and replaces nothing: version 3 says so. OpenSSH's own extension replaces.
fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot say so is asked first.
        Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(to).is_err() => Ok(fs::rename(from, to)?),
        Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST.into()),
        renamed => Ok(renamed?),
    }
}

/// Copies a piece of one file into another; up to the end, where no length is given.
pub(super) fn copy(from: &File, mut at: u64, length: u64, to: &File, mut to_at: u64) -> Result<(), Failure> {
    let (mut left, mut buffer) = (if length == 0 { u64::MAX } else { length }, vec![0; READ_BYTES]);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
        let read = from.read_at(&mut buffer[..wanted], at)?;
        if read == 0 {
            break;
        }
        to.write_all_at(&buffer[..read], to_at)?;
        (at, to_at, left) = (at + read as u64, to_at + read as u64, left - read as u64);
    }
    Ok(())
}

fn encode(id: u32, reply: Result<Reply, Failure>) -> Vec<u8> {
    let status = |failure: &Failure| {
        Builder::new(kind::STATUS).u32(id).u32(failure.code).bytes(failure.text().as_bytes()).bytes(b"en").finish()
    };
    match reply {
        Ok(Reply::Done) => status(&Failure::new(0)),
        Ok(Reply::Handle(handle)) => Builder::new(kind::HANDLE).u32(id).bytes(&handle).finish(),
        Ok(Reply::Data(bytes)) => Builder::new(kind::DATA).u32(id).bytes(&bytes).finish(),
        Ok(Reply::Attributes(attributes)) => attributes.write(Builder::new(kind::ATTRIBUTES).u32(id)).finish(),
        Ok(Reply::Names(names)) => {
            let packet = Builder::new(kind::NAME).u32(id).u32(u32::try_from(names.len()).unwrap_or(0));
            let add = |packet: Builder, (name, long, attributes): (Vec<u8>, Vec<u8>, Attributes)| {
                attributes.write(packet.bytes(&name).bytes(&long))
            };
            names.into_iter().fold(packet, add).finish()
        }
        Ok(Reply::Extended(fields)) => fields.into_iter().fold(Builder::new(kind::EXTENDED_REPLY).u32(id), Builder::u64).finish(),
        Err(failure) => status(&failure),
    }
}
