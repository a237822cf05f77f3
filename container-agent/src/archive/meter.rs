//! What an archive that is extracted comes to, and when that is too much: a small one may unpack to more than any disk holds.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use cabana_protocol::{Code, Error};
use serde_json::json;

use crate::limits::ArchiveLimits;

/// What an archive may unpack to before its ratio counts: a little of something very regular does no harm.
const FREE_BYTES: u64 = 64 << 20;

/// Counts what is read through it.
pub(super) struct CountingReader<R> {
    input: R,
    count: Rc<Cell<u64>>,
}

/// Reads what an archive unpacks to, as long as it is not too much.
pub(super) struct LimitedReader<R> {
    input: R,
    limits: ArchiveLimits,
    received: Rc<Cell<u64>>,
    unpacked: u64,
}

impl<R> CountingReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, count: Rc::default() }
    }

    /// What has been read so far, also when this itself has been handed on.
    pub(super) fn count(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.count)
    }
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

impl<R: Read> LimitedReader<R> {
    /// Of `input`, for which so many bytes have been received.
    pub(super) fn new(input: R, limits: ArchiveLimits, received: Rc<Cell<u64>>) -> Self {
        Self { input, limits, received, unpacked: 0 }
    }

    fn check(&self) -> Result<(), Error> {
        let ArchiveLimits { bytes, ratio, .. } = self.limits;
        if self.unpacked > bytes {
            let message = format!("the archive unpacks to more than {bytes} bytes");
            return Err(Error::new(Code::PayloadTooLarge, message).with_details(json!({ "limit_bytes": bytes })));
        }
        if self.unpacked > FREE_BYTES && self.unpacked / ratio > self.received.get() {
            let message = format!("the archive unpacks to more than {ratio} times its size");
            return Err(Error::new(Code::PayloadTooLarge, message).with_details(json!({ "limit_ratio": ratio })));
        }
        Ok(())
    }
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.unpacked += count as u64;
        self.check().map_err(io::Error::other)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_refused() {
        let limits = |bytes, ratio| ArchiveLimits { bytes, ratio, entries: 1 };
        for (limits, received, unpacked, refused) in [
            (limits(100, 10), 100, 100, false),
            (limits(100, 10), 100, 101, true),
            (limits(u64::MAX, 10), 1, FREE_BYTES, false),
            (limits(u64::MAX, 10), 1, FREE_BYTES + 10, true),
            (limits(u64::MAX, 10), FREE_BYTES, FREE_BYTES * 10, false),
            (limits(u64::MAX, 10), FREE_BYTES, FREE_BYTES * 10 + 10, true),
        ] {
            let metered = LimitedReader { input: io::empty(), limits, received: Rc::new(Cell::new(received)), unpacked };
            let code = metered.check().err().map(|error| error.code);
            assert_eq!(code, refused.then_some(Code::PayloadTooLarge), "{limits:?} {received} {unpacked}");
        }
    }
}
