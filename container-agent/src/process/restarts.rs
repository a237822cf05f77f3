//! What is written down of processes that the next container starts again.
//!
//! The notes are files of the container, one for each process, so they are in each snapshot, and belong to the files that it holds. A note goes
//! when its process has ended by itself or was ended by a caller, and stays when the container takes the process with it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    time::SystemTime,
};

use cabana_protocol::{Code, Error, exec::Exec};
use serde::{Deserialize, Serialize};

/// Most bytes of a note. Requests with more input are refused.
const NOTE_BYTES: usize = 1 << 20;

/// The directory of notes.
#[derive(Debug)]
pub(crate) struct Restarts {
    directory: PathBuf,
}

/// A process, as it is written down.
#[derive(Serialize, Deserialize)]
struct Note {
    /// When it was first started, in milliseconds since 1970: they start again in this order.
    started_ms: u64,
    request: Exec,
}

impl Restarts {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Writes down a request whose process has a name. Blocks.
    ///
    /// Fails with `payload_too_large` and `storage_full`.
    pub(super) fn note(&self, name: &str, request: &Exec) -> Result<(), Error> {
        let started_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let note = serde_json::to_vec(&Note { started_ms, request: request.clone() });
        let note = note.map_err(|error| Error::internal(format!("the process cannot be written down: {error}")))?;
        if note.len() > NOTE_BYTES {
            let message = format!("a process with `restart` has at most {NOTE_BYTES} bytes of command, variables and input");
            return Err(Error::new(Code::PayloadTooLarge, message));
        }
        self.write(name, &note).map_err(|error| {
            let code = if error.kind() == io::ErrorKind::StorageFull { Code::StorageFull } else { Code::Internal };
            Error::new(code, format!("the process cannot be written down to be started again: {error}"))
        })
    }

    /// Removes what is written down of a process. Blocks.
    pub(super) fn forget(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.path(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("a process that has ended stays written down to be started again: {error}");
        }
    }

    /// The requests that are written down, in the order of their first starts. Blocks. What cannot be read is left out.
    pub(super) fn list(&self) -> Vec<Exec> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let files =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let read = |path: PathBuf| match fs::read(&path).map(|bytes| serde_json::from_slice::<Note>(&bytes)) {
            Ok(Ok(note)) => Some(note),
            _ => {
                tracing::warn!("what is written down in {} cannot be read", path.display());
                None
            }
        };
        let mut notes: Vec<Note> = files.filter_map(read).collect();
        notes.sort_by_key(|note| note.started_ms);
        notes.into_iter().map(|note| note.request).collect()
    }

    /// Whole or not at all, and readable by the agent's user only: a request may hold secrets.
    fn write(&self, name: &str, note: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let partial = self.directory.join(format!("{name}.new"));
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(note)?;
        file.sync_all()?;
        fs::rename(partial, self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> Exec {
        Exec { name: Some(name.to_owned()), restart: true, detach: true, ..Exec::new("true") }
    }

    #[test]
    fn processes_are_read_back_in_the_order_of_their_starts() {
        let directory = tempfile::tempdir().unwrap();
        let restarts = Restarts::new(directory.path().join("a/b"));
        assert!(restarts.list().is_empty());
        for name in ["z", ".", "a"] {
            restarts.note(name, &request(name)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        fs::write(restarts.path("damaged"), "{").unwrap();
        restarts.forget(".");
        restarts.forget("unknown");
        assert_eq!(restarts.list(), [request("z"), request("a")]);
    }

    #[test]
    fn a_process_with_more_input_than_is_kept_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let restarts = Restarts::new(directory.path().to_owned());
        let request = Exec { command: "x".repeat(NOTE_BYTES).as_str().into(), ..request("large") };
        assert_eq!(restarts.note("large", &request).unwrap_err().code, Code::PayloadTooLarge);
        assert!(restarts.list().is_empty());
    }
}
