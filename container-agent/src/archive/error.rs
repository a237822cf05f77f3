//! Why an archive cannot be read.

use std::io;

use cabana_protocol::{Code, Error};

/// Why an archive cannot be read on. Where readers disagree about what an archive means, it is refused: what one of them has
/// checked must be what the other extracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArchiveError {
    /// It ends before its end.
    #[error("it is truncated")]
    CutOff,
    /// What should be a header is none.
    #[error("not a tar archive, or damaged: a header's checksum does not match")]
    Checksum,
    /// A header that different readers take for different things.
    #[error("a header is ambiguous")]
    Header,
    /// An extended header that is malformed, or without a member, or one of two that contradict each other.
    #[error("an extended header is malformed")]
    Extended,
    /// An extended header larger than all names and attributes together.
    #[error("an extended header is larger than {} bytes", super::members::EXTENDED_BYTES)]
    Long,
    /// A file that is stored in parts.
    #[error("it contains sparse files; create it without --sparse")]
    Sparse,
    /// A member that is no file, directory or link.
    #[error("it contains a member that is not a file, directory or link (type {:?})", char::from(*.0))]
    Kind(u8),
}

impl From<ArchiveError> for Error {
    fn from(damage: ArchiveError) -> Self {
        Error::new(Code::Unprocessable, format!("the archive cannot be extracted: {damage}"))
    }
}

/// What a failure to read an archive means: an error that was coded where it arose, or what decompression says of the bytes.
pub(super) fn unreadable(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ArchiveError::CutOff.into(),
        Err(error) => Error::new(Code::Unprocessable, format!("the archive cannot be decompressed: {error}")),
    }
}
