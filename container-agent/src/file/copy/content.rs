//! The content of a file, into another.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom::Start},
};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::super::cancel::check_cancelled;

/// How much is copied between two looks at whether anybody still waits.
const PIECE_BYTES: u64 = 16 << 20;

/// Copies all of it within the kernel where the file systems can, and leaves holes where there are some: a sparse file of a terabyte
/// is no larger afterwards. Says how large the copy is.
pub(super) fn copy(mut from: &File, mut to: &File, cancel: &CancellationToken) -> io::Result<u64> {
    let mut size = from.metadata()?.len();
    let mut at = 0;
    while let Some((start, end)) = next_data(from, at, size)? {
        from.seek(Start(start))?;
        to.seek(Start(start))?;
        at = start;
        while at < end {
            check_cancelled(cancel)?;
            let piece = PIECE_BYTES.min(end - at);
            match io::copy(&mut from.take(piece), &mut to)? {
                // It was cut short meanwhile.
                0 => (at, size) = (end, at),
                copied => at += copied,
            }
        }
    }
    to.set_len(size)?;
    Ok(size)
}

/// Where data begins and ends, from here on; none where only a hole is left.
fn next_data(file: &File, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= size {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // The file system knows of no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, size))),
        Err(errno) => return Err(errno.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok((start < size).then_some((start, end.min(size))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn content_and_holes_are_kept() {
        const MIB: u64 = 1 << 20;
        for (name, data, size) in [
            ("empty", vec![], 0),
            ("small", vec![(0, 3)], 3),
            ("hole at the end", vec![(0, 5_000)], 64 * MIB),
            ("hole at the start", vec![(63 * MIB, 9)], 63 * MIB + 9),
            ("holes between", vec![(MIB, 100_000), (40 * MIB, 1)], 64 * MIB),
            ("nothing but a hole", vec![], 64 * MIB),
            ("more than a piece", vec![(0, PIECE_BYTES + 7)], PIECE_BYTES + 7),
        ] {
            let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
            from.set_len(size).unwrap();
            for (at, length) in data {
                from.write_all_at(&vec![b'x'; usize::try_from(length).unwrap()], at).unwrap();
            }
            assert_eq!(copy(&from, &to, &CancellationToken::new()).unwrap(), size, "{name}");
            let whole = |file: &File| {
                let mut content = vec![0; usize::try_from(size).unwrap()];
                file.read_exact_at(&mut content, 0).unwrap();
                (content, file.metadata().unwrap().len())
            };
            assert!(whole(&from) == whole(&to), "{name}");
            let blocks = |file: &File| file.metadata().unwrap().blocks();
            assert!(blocks(&to) <= blocks(&from) + 64, "{name}: {} {}", blocks(&to), blocks(&from));
        }
    }

    #[test]
    fn a_copy_that_nobody_waits_for_ends() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all_at(b"x", 0).unwrap();
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert!(copy(&from, &to, &cancel).is_err());
    }
}
