//! Reading a tar archive member by member, whatever its length, in little memory.
//!
//! The crate `tar` knows the headers' formats. What follows headers is read here: the crate holds extended headers of any size, and
//! ends their records at line breaks, which may be part of a record.

use std::{
    io::{self, Read},
    mem,
};

use cabana_protocol::Error;
use rustix::fs::Timespec;
use tar::{EntryType, Header};

use super::{
    error::{ArchiveError, unreadable},
    extended::Extended,
};

/// The most bytes that an extended header may have: more than the longest name, link and attributes come to.
pub(super) const EXTENDED_BYTES: u64 = 1 << 20;

/// Archives consist of blocks of this size.
const BLOCK_BYTES: usize = 512;

/// A member of an archive, as its headers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name, as it is written.
    pub(super) name: Vec<u8>,
    /// What it is.
    pub(super) kind: Kind,
    /// Its permission bits and what else the archive has there.
    pub(super) mode: u32,
    /// When its content last changed.
    pub(super) modified: Timespec,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of this many bytes, which [`Members`] reads.
    File(u64),
    /// A directory.
    Directory,
    /// A symlink to this.
    Symlink(Vec<u8>),
    /// Another name for the member of this name.
    HardLink(Vec<u8>),
}

/// The members of an archive; as [`Read`], the content of the last one.
#[derive(Debug)]
pub(super) struct Members<R> {
    input: R,
    /// How much of the last member's content is still to be read.
    content: u64,
    /// How many bytes fill its last block.
    padding: u64,
    /// What global extended headers have said so far.
    global: Extended,
    /// Whether a member has been read.
    begun: bool,
    /// Whether the input ended after a member, where the mark of the archive's end should be.
    unmarked: bool,
}

/// What precedes a member's own header.
#[derive(Debug, Default)]
struct Preface {
    extended: Option<Extended>,
    /// GNU's way to write a long name.
    name: Option<Vec<u8>>,
    /// The same for what a link leads to.
    link: Option<Vec<u8>>,
}

impl<R: Read> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, content: 0, padding: 0, global: Extended::default(), begun: false, unmarked: false }
    }

    /// The next member; none at the archive's end. Some writers leave out the mark of the end, so the end of the input after a member counts,
    /// too ([`is_unmarked`](Self::is_unmarked)).
    pub(super) fn next(&mut self) -> Result<Option<Member>, Error> {
        let mut preface = Preface::default();
        while let Some(header) = self.header()? {
            let twice = match header.entry_type().as_byte() {
                b'L' => preface.name.replace(self.long(&header)?).is_some(),
                b'K' => preface.link.replace(self.long(&header)?).is_some(),
                b'x' => preface.extended.replace(Extended::read(&self.extension(&header)?)?).is_some(),
                b'g' => self.globally(&header)?,
                _ => {
                    self.begun = true;
                    return self.member(&header, preface).map(Some);
                }
            };
            if twice {
                return Err(ArchiveError::Extended.into());
            }
        }
        let nothing_pending = preface.extended.is_none() && preface.name.is_none() && preface.link.is_none();
        if nothing_pending { Ok(None) } else { Err(ArchiveError::Extended.into()) }
    }

    /// Whether the archive ended without the mark of its end, which may have been cut off with more.
    pub(super) fn is_unmarked(&self) -> bool {
        self.unmarked
    }

    /// The input, after the archive's end.
    pub(super) fn into_input(self) -> R {
        self.input
    }

    /// The next header; none where a block of zeros marks the end.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        self.skip()?;
        let mut header = Header::new_old();
        match self.fill(header.as_mut_bytes())? {
            BLOCK_BYTES => {}
            0 if self.begun => {
                self.unmarked = true;
                return Ok(None);
            }
            _ => return Err(ArchiveError::CutOff.into()),
        }
        if header.as_bytes() == &[0; BLOCK_BYTES] {
            return Ok(None);
        }
        let mut summed = header.clone();
        summed.set_cksum();
        match (header.cksum(), summed.cksum()) {
            (Ok(written), Ok(computed)) if written == computed => {}
            _ => return Err(ArchiveError::Checksum.into()),
        }
        // Some readers take it for the one format, some for the other.
        let marked = header.as_bytes()[257..262] == *b"ustar";
        if marked && header.as_ustar().is_none() && header.as_gnu().is_none() {
            return Err(ArchiveError::Header.into());
        }
        Ok(Some(header))
    }

    /// Fills the block, as far as there is input.
    fn fill(&mut self, block: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < block.len() {
            match self.input.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        Ok(filled)
    }

    /// Reads on to the end of the last member's last block.
    fn skip(&mut self) -> Result<(), Error> {
        let rest = mem::take(&mut self.content) + mem::take(&mut self.padding);
        let skipped = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink()).map_err(unreadable)?;
        if skipped == rest { Ok(()) } else { Err(ArchiveError::CutOff.into()) }
    }

    /// The content of an extended header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let size = size(header)?;
        if size > EXTENDED_BYTES {
            return Err(ArchiveError::Long.into());
        }
        self.expect(size);
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(unreadable)?;
        Ok(content)
    }

    /// A name that is too long for a header. It ends in a NUL.
    fn long(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let mut name = self.extension(header)?;
        let end = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        name.truncate(end);
        Ok(name)
    }

    /// Takes in what is said of all members to come. That they all have one name or one size makes no sense.
    fn globally(&mut self, header: &Header) -> Result<bool, Error> {
        let said = Extended::read(&self.extension(header)?)?;
        self.global.modified = said.modified.or(self.global.modified);
        Ok(said.path.is_some() || said.link.is_some() || said.size.is_some())
    }

    fn member(&mut self, header: &Header, preface: Preface) -> Result<Member, Error> {
        let Preface { extended, name, link } = preface;
        let extended = extended.unwrap_or_default();
        if (name.is_some() && extended.path.is_some()) || (link.is_some() && extended.link.is_some()) {
            return Err(ArchiveError::Extended.into());
        }
        let name = name.or(extended.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = link.or(extended.link).or_else(|| header.link_name_bytes().map(Into::into)).unwrap_or_default();
        let size = extended.size.map_or_else(|| size(header), Ok)?;
        let kind = match header.entry_type() {
            // The first writers of archives knew no type for directories.
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File(size),
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(link),
            EntryType::Link => Kind::HardLink(link),
            EntryType::GNUSparse => return Err(ArchiveError::Sparse.into()),
            other => return Err(ArchiveError::Kind(other.as_byte()).into()),
        };
        // Some readers skip what such a member claims to hold, some take it for the next header.
        let possible = if matches!(kind, Kind::File(_)) { i64::MAX as u64 } else { 0 };
        if size > possible {
            return Err(ArchiveError::Header.into());
        }
        self.expect(size);
        let mode = header.mode().map_err(|_| ArchiveError::Header)?;
        let written = || Some(Timespec { tv_sec: header.mtime().ok()?.try_into().ok()?, tv_nsec: 0 });
        let modified = extended.modified.or(self.global.modified).or_else(written).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        Ok(Member { name, kind, mode, modified })
    }

    /// So many bytes of content come next.
    fn expect(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK_BYTES as u64;
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        match self.input.read(&mut buffer[..wanted])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.content -= count as u64;
                Ok(count)
            }
        }
    }
}

/// The size that a header gives: octal digits, or, for what they cannot say, a binary number after a byte 0x80.
fn size(header: &Header) -> Result<u64, ArchiveError> {
    let field = &header.as_old().size;
    if let Some(binary) = field.strip_prefix(&[0x80]) {
        let digits = binary.strip_prefix(&[0; 3]).ok_or(ArchiveError::Header)?;
        return digits.try_into().map(u64::from_be_bytes).map_err(|_| ArchiveError::Header);
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
    let (digits, after) = digits.split_at(end);
    let octal = digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) && after.iter().all(|byte| matches!(byte, 0 | b' '));
    if octal { Ok(digits.iter().fold(0, |size, digit| size * 8 + u64::from(digit - b'0'))) } else { Err(ArchiveError::Header) }
}
