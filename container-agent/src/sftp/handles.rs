//! Open files and directories.

use std::{
    fs::{File, ReadDir},
    path::PathBuf,
};

use super::server::Failure;

/// Open at once. The kernel's limit for a process is 1,024 as a rule, of which the standard streams take three.
pub(super) const HANDLES: usize = 1_000;

/// What a handle stands for.
#[derive(Debug)]
pub(super) enum Open {
    File(File),
    Directory(PathBuf, ReadDir),
}

/// What is open, by its number.
#[derive(Debug, Default)]
pub(super) struct Handles(Vec<Option<Open>>);

impl Handles {
    /// Fails where as many are open as may be.
    pub(super) fn insert(&mut self, open: Open) -> Result<[u8; 4], Failure> {
        let free = self.0.iter().position(Option::is_none);
        let at = free.or((self.0.len() < HANDLES).then_some(self.0.len())).ok_or(Failure::TOO_MANY_OPEN)?;
        if at == self.0.len() {
            self.0.push(None);
        }
        self.0[at] = Some(open);
        Ok(u32::try_from(at).unwrap_or(u32::MAX).to_be_bytes())
    }

    fn slot(&mut self, handle: &[u8]) -> Result<&mut Option<Open>, Failure> {
        let at = handle.try_into().map(u32::from_be_bytes).map_err(|_| Failure::NO_SUCH_HANDLE)?;
        let slot = usize::try_from(at).ok().and_then(|at| self.0.get_mut(at));
        slot.filter(|slot| slot.is_some()).ok_or(Failure::NO_SUCH_HANDLE)
    }

    pub(super) fn close(&mut self, handle: &[u8]) -> Result<(), Failure> {
        *self.slot(handle)? = None;
        Ok(())
    }

    pub(super) fn file(&mut self, handle: &[u8]) -> Result<&File, Failure> {
        match self.slot(handle)? {
            Some(Open::File(file)) => Ok(file),
            _ => Err(Failure::NO_SUCH_HANDLE),
        }
    }

    pub(super) fn directory(&mut self, handle: &[u8]) -> Result<(&PathBuf, &mut ReadDir), Failure> {
        match self.slot(handle)? {
            Some(Open::Directory(path, entries)) => Ok((path, entries)),
            _ => Err(Failure::NO_SUCH_HANDLE),
        }
    }
}
