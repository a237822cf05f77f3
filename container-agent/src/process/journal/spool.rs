//! The file that takes what journals do not keep in memory: blocks of one size, in a file without a name. It is made when the first
//! block needs it, costs one descriptor however many journals there are, and is gone with the agent, however that ends.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use rustix::fs::{FallocateFlags, FsWord, fallocate, fstatfs};

use super::pages::PAGE_BYTES;

/// Bytes of a block: one page.
pub(super) const BLOCK_BYTES: u64 = PAGE_BYTES as u64;

/// What statfs(2) says of a tmpfs. That is memory, of which there is less than of disk: not what a spool is for.
const TMPFS_MAGIC: FsWord = 0x0102_1994;

/// All blocks.
#[derive(Debug)]
pub(super) struct Spool {
    directories: Vec<PathBuf>,
    /// `None` inside where no directory takes it.
    file: OnceLock<Option<File>>,
    /// How many blocks may be in use.
    limit: u32,
    /// Locked for a look, never while the file is written.
    blocks: Mutex<Blocks>,
}

#[derive(Debug, Default)]
struct Blocks {
    /// Those that have been used so far.
    known: u32,
    /// Those that are in use. Of the others, those that are being trimmed are nowhere below, and nobody waits for them.
    used: u32,
    /// Free ones that still take room on the disk: used again first.
    stale: Vec<u32>,
    /// Free ones that take none.
    holes: Vec<u32>,
}

/// A page on disk. Its room is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Block {
    spool: Arc<Spool>,
    number: u32,
    length: usize,
}

impl Spool {
    /// A spool of at most this many bytes, in the first of these directories that takes it.
    pub(super) fn new(directories: Vec<PathBuf>, limit: u64) -> Self {
        let limit = u32::try_from(limit / BLOCK_BYTES).unwrap_or(u32::MAX);
        Self { directories, file: OnceLock::new(), limit, blocks: Mutex::default() }
    }

    /// One on a disk without any room.
    #[cfg(test)]
    pub(super) fn full() -> Self {
        let file = File::options().read(true).write(true).open("/dev/full").expect("Linux has it");
        Self { file: OnceLock::from(Some(file)), ..Self::new(Vec::new(), u64::MAX) }
    }

    /// Writes a page; `None` when as many blocks are in use as may be. Blocks for as long as the disk takes.
    ///
    /// Fails with [`io::ErrorKind::Unsupported`] where there is no file, or as the disk does.
    pub(super) fn put(self: &Arc<Self>, page: &[u8]) -> io::Result<Option<Block>> {
        let file = self.file().ok_or(io::ErrorKind::Unsupported)?;
        let Some(number) = self.with(|blocks| blocks.take(self.limit)) else { return Ok(None) };
        let block = Block { spool: Arc::clone(self), number, length: page.len() };
        file.write_all_at(page, place(number))?;
        Ok(Some(block))
    }

    /// Gives the room of free blocks back to the disk. Where the file system cannot, they are used again at least.
    pub(super) fn trim(&self) {
        let Some(Some(file)) = self.file.get() else { return };
        let mut stale = self.with(|blocks| std::mem::take(&mut blocks.stale));
        stale.sort_unstable();
        for run in stale.chunk_by(|one, next| one + 1 == *next) {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if let Err(error) = fallocate(file, flags, place(run[0]), run.len() as u64 * BLOCK_BYTES) {
                tracing::debug!("the spool cannot give room back: {error}");
            }
        }
        self.with(|blocks| blocks.holes.extend(stale));
    }

    fn file(&self) -> Option<&File> {
        let open = || {
            let file = self.directories.iter().find_map(|directory| {
                let file = tempfile::tempfile_in(directory).ok()?;
                let on_disk = fstatfs(&file).is_ok_and(|system| system.f_type != TMPFS_MAGIC);
                on_disk.then_some(file)
            });
            if file.is_none() {
                tracing::warn!(
                    "no directory of {:?} takes a temporary file: output is kept for replay in memory only",
                    self.directories
                );
            }
            file
        };
        self.file.get_or_init(open).as_ref()
    }

    fn with<T>(&self, look: impl FnOnce(&mut Blocks) -> T) -> T {
        look(&mut self.blocks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Blocks {
    fn take(&mut self, limit: u32) -> Option<u32> {
        if self.used >= limit {
            return None;
        }
        self.used += 1;
        let free = self.stale.pop().or_else(|| self.holes.pop());
        Some(free.unwrap_or_else(|| {
            self.known += 1;
            self.known - 1
        }))
    }

    fn give_back(&mut self, number: u32) {
        self.used -= 1;
        self.stale.push(number);
    }
}

impl Block {
    /// Reads the page. Blocks for as long as the disk takes.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let file = self.spool.file().ok_or(io::ErrorKind::Unsupported)?;
        let mut page = vec![0; self.length];
        file.read_exact_at(&mut page, place(self.number))?;
        Ok(page)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.spool.with(|blocks| blocks.give_back(self.number));
    }
}

fn place(number: u32) -> u64 {
    u64::from(number) * BLOCK_BYTES
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn spool(directory: &str, blocks: u64) -> Arc<Spool> {
        Arc::new(Spool::new(vec!["/nowhere".into(), directory.into()], blocks * BLOCK_BYTES))
    }

    fn put(spool: &Arc<Spool>, page: &[u8]) -> Block {
        spool.put(page).unwrap().unwrap()
    }

    #[test]
    fn a_block_is_read_as_written_and_its_room_is_used_again() {
        let spool = spool("/var/tmp", 2);
        let (first, second) = (put(&spool, &[1; PAGE_BYTES]), put(&spool, b"short"));
        assert!(spool.put(b"more").unwrap().is_none());
        drop(first);
        let third = put(&spool, b"third");
        assert_eq!((second.read().unwrap(), third.read().unwrap()), (b"short".to_vec(), b"third".to_vec()));
        assert_eq!(spool.with(|blocks| blocks.known), 2);
    }

    #[test]
    fn trimming_gives_the_room_of_free_blocks_back() {
        let spool = spool("/var/tmp", 100);
        let mut blocks: Vec<_> = (0..8).map(|number| put(&spool, &[number; PAGE_BYTES])).collect();
        let room = || spool.file().unwrap().metadata().unwrap().blocks() * 512;
        let full = room();
        let kept = blocks.remove(3);
        drop(blocks);
        spool.trim();
        assert!(room() + 7 * BLOCK_BYTES <= full, "{} of {full}", room());
        assert_eq!(kept.read().unwrap(), [3; PAGE_BYTES]);
        assert_eq!(put(&spool, b"again").read().unwrap(), b"again");
        assert_eq!(spool.with(|blocks| blocks.known), 8);
    }

    #[test]
    fn a_block_is_there_while_others_are_trimmed() {
        let spool = spool("/var/tmp", 2);
        drop((put(&spool, b"first"), put(&spool, b"second")));
        let trimmed = spool.with(|blocks| std::mem::take(&mut blocks.stale));
        let third = put(&spool, b"third");
        spool.with(|blocks| blocks.holes.extend(trimmed));
        let fourth = put(&spool, b"fourth");
        assert_eq!((third.read().unwrap(), fourth.read().unwrap()), (b"third".to_vec(), b"fourth".to_vec()));
        assert!(spool.put(b"more").unwrap().is_none());
    }

    #[test]
    fn where_there_is_no_disk_there_is_no_block() {
        for directory in ["/nowhere", "/dev/shm", "/proc"] {
            assert_eq!(spool(directory, 2).put(b"x").unwrap_err().kind(), io::ErrorKind::Unsupported, "{directory}");
        }
    }
}
