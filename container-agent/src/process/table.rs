//! The processes that are known: those that run and, for a while, those that were detached and have ended.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use cabana_protocol::{Code, Error, ProcessId, exec::Exec, process};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use super::{Input, Journal};

/// How many ended processes are remembered.
const ENDED: usize = 64;

/// For how long.
const ENDED_TIME: Duration = Duration::from_secs(60 * 60);

/// What is known of a process.
#[derive(Debug)]
pub struct Record {
    /// Its place in the order of starts.
    pub(super) number: u64,
    /// Its id.
    pub id: ProcessId,
    /// The kernel's number for it.
    pub pid: u32,
    /// What was asked for.
    pub request: Exec,
    /// When it was started.
    pub started_at: SystemTime,
    /// What it prints and how it ended.
    pub journal: Journal,
    /// Tells it something.
    pub(super) inputs: mpsc::Sender<Input>,
    /// Bytes that may wait to be written to its stdin.
    pub(super) room: Arc<Semaphore>,
}

impl Record {
    /// As callers see it.
    pub fn describe(&self) -> process::Process {
        let result = self.journal.result();
        process::Process {
            process: self.id.clone(),
            name: self.request.name.clone(),
            pid: self.pid,
            command: self.request.command.clone(),
            started_at: humantime::format_rfc3339_millis(self.started_at).to_string(),
            output_bytes: self.journal.bounds().1,
            exit: result.as_ref().and_then(|result| result.exit),
            duration_ms: result.as_ref().map(|result| result.duration_ms),
            usage: result.and_then(|result| result.usage),
        }
    }
}

/// All of them. Locked for a look-up at a time, never across an await.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    known: BTreeMap<u64, Arc<Record>>,
    names: HashMap<String, u64>,
    /// When those that are only remembered have ended, the oldest first.
    ended: Vec<(Instant, u64)>,
}

impl Table {
    /// Adds a process.
    pub(super) fn insert(&self, record: Arc<Record>) {
        self.with(|records| {
            records.names.extend(record.request.name.clone().map(|name| (name, record.number)));
            records.known.insert(record.number, record);
        });
    }

    /// A process has ended: one that was detached is remembered.
    pub(super) fn ended(&self, record: &Record) {
        self.with(|records| match record.request.detach {
            true => records.ended.push((Instant::now(), record.number)),
            false => records.remove(record.number),
        });
    }

    /// All, by their start.
    pub(super) fn list(&self) -> Vec<Arc<Record>> {
        self.with(|records| records.known.values().cloned().collect())
    }

    /// The process of this name.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Record>> {
        self.with(|records| records.known.get(records.names.get(name)?).cloned())
    }

    /// The process of this name or id.
    ///
    /// Fails with `gone` for an id of another incarnation, else with `not_found`.
    pub(super) fn find(&self, key: &str, incarnation: &str) -> Result<Arc<Record>, Error> {
        if let Some(record) = self.named(key) {
            return Ok(record);
        }
        let shown: String = key.chars().take(64).collect();
        match key.rsplit_once('-').map(|(incarnation, number)| (incarnation, number.parse::<u64>())) {
            Some((own, Ok(number))) if own == incarnation => {
                let known = self.with(|records| records.known.get(&number).cloned());
                known.ok_or_else(|| Error::not_found(format!("no process {shown:?} is known any more")))
            }
            Some((other, Ok(_))) if other.len() == incarnation.len() => {
                Err(Error::new(Code::Gone, format!("process {shown:?} was lost when the sandbox restarted")))
            }
            _ => Err(Error::not_found(format!("there is no process {shown:?}"))),
        }
    }

    /// Forgets a process that has ended.
    pub(super) fn remove(&self, number: u64) {
        self.with(|records| records.remove(number));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Records) -> T) -> T {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.expire();
        look(&mut records)
    }
}

impl Records {
    fn expire(&mut self) {
        while self.ended.first().is_some_and(|(ended, _)| self.ended.len() > ENDED || ended.elapsed() > ENDED_TIME) {
            let (_, number) = self.ended.remove(0);
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        self.ended.retain(|(_, ended)| *ended != number);
        if let Some(name) = self.known.remove(&number).and_then(|record| record.request.name.clone()) {
            self.names.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, name: Option<&str>) -> Arc<Record> {
        let request = Exec { detach: true, name: name.map(str::to_owned), ..Exec::new("true") };
        Arc::new(Record {
            number,
            id: ProcessId::new("abcdef", number),
            pid: 7,
            request,
            started_at: SystemTime::UNIX_EPOCH,
            journal: Journal::attended().0,
            inputs: mpsc::channel(1).0,
            room: Arc::new(Semaphore::new(1)),
        })
    }

    #[test]
    fn a_process_is_found_by_id_and_by_name() {
        let table = Table::default();
        table.insert(record(1, Some("server")));
        table.insert(record(2, None));
        let find = |key| table.find(key, "abcdef").map(|record| record.number).map_err(|error| error.code);
        for (key, expected) in [
            ("server", Ok(1)),
            ("abcdef-1", Ok(1)),
            ("abcdef-2", Ok(2)),
            ("abcdef-3", Err(Code::NotFound)),
            ("ghijkl-1", Err(Code::Gone)),
            ("nobody", Err(Code::NotFound)),
            ("", Err(Code::NotFound)),
        ] {
            assert_eq!(find(key), expected, "{key}");
        }
        table.remove(1);
        assert_eq!(find("server"), Err(Code::NotFound));
    }

    #[test]
    fn few_ended_processes_are_remembered() {
        let table = Table::default();
        for number in 0..200 {
            let record = record(number, None);
            table.insert(Arc::clone(&record));
            table.ended(&record);
        }
        let left = table.list();
        assert_eq!((left.len(), left[0].number), (ENDED, 200 - ENDED as u64));
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_process_is_remembered_for_a_while() {
        let table = Table::default();
        for (number, name) in [(1, "ended"), (2, "running")] {
            let record = record(number, Some(name));
            table.insert(Arc::clone(&record));
            if name == "ended" {
                table.ended(&record);
            }
        }
        tokio::time::advance(ENDED_TIME).await;
        assert_eq!(table.list().len(), 2);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(table.named("ended").is_none() && table.named("running").is_some());
        assert_eq!(table.list().len(), 1);
    }
}
