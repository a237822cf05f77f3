//! What is wrong with an archive.

use std::io;

use cabana_protocol::{Code, Error};

/// Why an archive cannot be read on. Where readers disagree about what an archive means, it is refused: what one of them has
/// checked must be what the other extracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    /// It ends before its end.
    #[error("it is cut off")]
    CutOff,
    /// What should be a header is none.
    #[error("it is no tar archive, or damaged: a header's checksum is wrong")]
    Checksum,
    /// A header that different readers take for different things.
    #[error("a header in it is ambiguous")]
    Header,
    /// An extended header that is malformed, or without a member, or one of two that contradict each other.
    #[error("an extended header in it is malformed")]
    Extended,
    /// An extended header larger than all names and attributes together.
    #[error("an extended header in it is larger than {} bytes", super::members::EXTENDED_BYTES)]
    Long,
    /// A file that is stored in parts.
    #[error("it has sparse files in it; make it without --sparse")]
    Sparse,
    /// A member that is no file, directory or link.
    #[error("it has a member in it that is no file, directory or link (type {:?})", char::from(*.0))]
    Kind(u8),
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        Error::new(Code::Unprocessable, format!("the archive cannot be extracted: {damage}"))
    }
}

/// What a failure to read an archive means: an error that was coded where it arose, or what decompression says of the bytes.
pub(super) fn unreadable(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Damage::CutOff.into(),
        Err(error) => Error::new(Code::Unprocessable, format!("the archive cannot be decompressed: {error}")),
    }
}
