//! Fields of packets.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use super::server::Failure;

/// What is left of a packet that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Failure::BAD_MESSAGE)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Failure> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Failure::BAD_MESSAGE)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*taken))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Failure> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Failure::BAD_MESSAGE)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*taken))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Failure> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| Failure::BAD_MESSAGE)?)
    }

    /// A name of a file: any bytes. An empty one is the current directory.
    pub(super) fn path(&mut self) -> Result<&'a Path, Failure> {
        let bytes = self.bytes()?;
        Ok(Path::new(OsStr::from_bytes(if bytes.is_empty() { b"." } else { bytes })))
    }
}

/// A packet that is written.
#[derive(Debug)]
pub(super) struct Builder(Vec<u8>);

impl Builder {
    pub(super) fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    pub(super) fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        // Nothing that is written comes near 4 GiB.
        let mut with_length = self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        with_length.0.extend_from_slice(bytes);
        with_length
    }

    /// What has been written, in front of its length.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}
