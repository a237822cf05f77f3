//! The processes that are known: those that run and, for a while, those that were detached and have ended.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    pin::pin,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use cabana_protocol::{Code, Error, ProcessId, exec::Tty, process};
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::{Instant, sleep_until},
};

use super::{
    super::{Input, Journal},
    launch::Launch,
};

/// How many ended processes are remembered.
const ENDED: usize = 64;

/// For how long.
const ENDED_TIME: Duration = Duration::from_secs(60 * 60);

/// How many ended processes are remembered for callers who may have lost their connection at the end.
const RETURNED: usize = 256;

/// What the agent knows of a process that a caller started.
#[derive(Debug)]
pub struct Process {
    /// Its place in the order of starts.
    pub(in crate::process) number: u64,
    /// Its id.
    pub id: ProcessId,
    /// The kernel's number for it.
    pub pid: u32,
    pub(in crate::process) launch: Launch,
    /// When it was started.
    pub started_at: SystemTime,
    /// What it prints and how it ended.
    pub journal: Journal,
    /// Tells it something.
    pub(in crate::process) inputs: mpsc::Sender<Input>,
    /// Bytes that may wait to be written to its stdin.
    pub(in crate::process) room: Arc<Semaphore>,
    /// Locked to be copied, never across an await.
    pub(in crate::process) tty: Mutex<Option<Tty>>,
    /// Whether its end is the container's, so that the next one starts it again.
    pub(in crate::process) ends_with_container: AtomicBool,
}

impl Process {
    /// Its terminal has another size.
    pub(in crate::process) fn resized(&self, size: Tty) {
        let mut tty = self.tty.lock().unwrap_or_else(PoisonError::into_inner);
        *tty = tty.as_ref().map(|_| size);
    }

    /// The size of its terminal, where it has one.
    pub(in crate::process) fn size(&self) -> Option<Tty> {
        *self.tty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As callers see it.
    pub fn describe(&self) -> process::Process {
        let result = self.journal.result();
        process::Process {
            process: self.id.clone(),
            name: self.launch.name.clone(),
            pid: self.pid,
            restart: self.launch.restart,
            command: self.launch.command().clone(),
            tty: self.size(),
            started_at: humantime::format_rfc3339_millis(self.started_at).to_string(),
            output_bytes: self.journal.bounds().1,
            exit: result.as_ref().and_then(|result| result.exit),
            duration_ms: result.as_ref().map(|result| result.duration_ms),
            usage: result.and_then(|result| result.usage),
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Locked for a look-up at a time, never across an await.
    records: Mutex<Records>,
    /// A name is no longer being launched.
    launched: Notify,
}

/// A name under which a process is being launched: two requests at once launch one. Dropping it lets the next one try.
#[derive(Debug)]
pub(super) struct Launching {
    table: Arc<Table>,
    name: String,
}

/// What is there of a name.
#[derive(Debug)]
pub(super) enum Named {
    Free(Launching),
    Launching,
    Known(Arc<Process>),
}

impl Drop for Launching {
    fn drop(&mut self) {
        self.table.with(|records| records.launching.remove(&self.name));
        self.table.launched.notify_waiters();
    }
}

#[derive(Debug, Default)]
struct Records {
    known: BTreeMap<u64, Arc<Process>>,
    /// Names under which processes are being launched.
    launching: HashSet<String>,
    names: HashMap<String, u64>,
    /// When those that are only remembered have ended, the oldest first.
    ended: Vec<(Instant, u64)>,
    /// Those that callers waited for who may not have heard of the end, and until when they are remembered. They are not listed.
    returned: VecDeque<(Instant, Arc<Process>)>,
    /// Somebody sees to it that these are forgotten in time.
    forgetting: bool,
}

impl Table {
    /// Claims a name, once nobody else is launching a process under it.
    pub(super) async fn claim(self: &Arc<Self>, name: &str) -> Result<Launching, Arc<Process>> {
        loop {
            let mut launched = pin!(self.launched.notified());
            launched.as_mut().enable();
            match self.look_up(name) {
                Named::Free(launching) => return Ok(launching),
                Named::Known(process) => return Err(process),
                Named::Launching => launched.await,
            }
        }
    }

    fn look_up(self: &Arc<Self>, name: &str) -> Named {
        self.with(|records| match records.named(name) {
            Some(process) => Named::Known(process),
            None if !records.launching.insert(name.to_owned()) => Named::Launching,
            None => Named::Free(Launching { table: Arc::clone(self), name: name.to_owned() }),
        })
    }

    /// Adds a process.
    pub(super) fn insert(&self, process: Arc<Process>) {
        self.with(|records| {
            records.names.extend(process.launch.name.clone().map(|name| (name, process.number)));
            records.known.insert(process.number, process);
        });
    }

    /// A process has ended: one that was detached is remembered, and for less time one whose caller may return.
    pub(super) fn ended(&self, process: &Arc<Process>) {
        self.with(|records| {
            if process.launch.detach {
                return records.ended.push((Instant::now(), process.number));
            }
            records.remove(process.number);
            if let Some(grace) = process.journal.reconnect_grace() {
                records.returned.push_back((Instant::now() + grace, Arc::clone(process)));
            }
        });
    }

    /// Forgets those whose callers have not returned, when it is time, until there are none. One call of many does so, the others end at
    /// once.
    pub(super) async fn forget_returned(&self) {
        if self.with(|records| std::mem::replace(&mut records.forgetting, true)) {
            return;
        }
        let next = || {
            self.with(|records| {
                let next = records.returned.front().map(|(until, _)| *until);
                records.forgetting = next.is_some();
                next
            })
        };
        while let Some(until) = next() {
            sleep_until(until).await;
        }
    }

    /// All, by their start.
    pub(super) fn list(&self) -> Vec<Arc<Process>> {
        self.with(|records| records.known.values().cloned().collect())
    }

    /// The process of this name.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Process>> {
        self.with(|records| records.named(name))
    }

    /// The process of this name or id.
    ///
    /// Fails with `gone` for an id of another incarnation, else with `not_found`.
    pub(super) fn find(&self, key: &str, incarnation: &str) -> Result<Arc<Process>, Error> {
        if let Some(process) = self.named(key) {
            return Ok(process);
        }
        let shown: String = key.chars().take(64).collect();
        match key.rsplit_once('-').map(|(incarnation, number)| (incarnation, number.parse::<u64>())) {
            Some((own, Ok(number))) if own == incarnation => {
                let known = self.with(|records| records.numbered(number));
                known.ok_or_else(|| {
                    Error::not_found(format!("process {shown:?} has been removed or has ended")).because("no_such_process")
                })
            }
            Some((other, Ok(_))) if other.len() == incarnation.len() => {
                Err(Error::new(Code::Gone, format!("process {shown:?} was lost when the sandbox restarted")).because("restarted"))
            }
            _ => Err(Error::not_found(format!("there is no process {shown:?}")).because("no_such_process")),
        }
    }

    /// Forgets a process that has ended.
    pub(super) fn remove(&self, number: u64) {
        self.with(|records| records.remove(number));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Records) -> T) -> T {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.expire();
        look(&mut records)
    }
}

impl Records {
    fn named(&self, name: &str) -> Option<Arc<Process>> {
        self.known.get(self.names.get(name)?).cloned()
    }

    fn numbered(&self, number: u64) -> Option<Arc<Process>> {
        let returned = || self.returned.iter().map(|(_, process)| process).find(|process| process.number == number);
        self.known.get(&number).or_else(returned).cloned()
    }

    fn expire(&mut self) {
        while self.returned.front().is_some_and(|(until, _)| self.returned.len() > RETURNED || *until <= Instant::now()) {
            self.returned.pop_front();
        }
        while self.ended.first().is_some_and(|(ended, _)| self.ended.len() > ENDED || ended.elapsed() > ENDED_TIME) {
            let (_, number) = self.ended.remove(0);
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        self.ended.retain(|(_, ended)| *ended != number);
        self.returned.retain(|(_, process)| process.number != number);
        if let Some(name) = self.known.remove(&number).and_then(|process| process.launch.name.clone()) {
            self.names.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use cabana_protocol::exec::Exec;

    use super::*;

    fn record(number: u64, name: Option<&str>) -> Arc<Process> {
        let request = Exec { detach: true, name: name.map(str::to_owned), ..Exec::new("true") };
        Arc::new(Process {
            number,
            id: ProcessId::new("abcdef", number),
            pid: 7,
            launch: Launch::new(&request),
            started_at: SystemTime::UNIX_EPOCH,
            journal: Journal::attended(None).0,
            inputs: mpsc::channel(1).0,
            room: Arc::new(Semaphore::new(1)),
            tty: Mutex::default(),
            ends_with_container: AtomicBool::default(),
        })
    }

    #[tokio::test]
    async fn a_name_is_launched_by_one_request_at_a_time() {
        let table = Arc::<Table>::default();
        let launching = table.claim("server").await.unwrap();
        let mut second = pin!(table.claim("server"));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        table.insert(record(1, Some("server")));
        drop(launching);
        assert_eq!(second.await.map(drop).map_err(|known| known.number), Err(1));
        table.remove(1);
        drop(table.claim("server").await.unwrap());
        assert!(table.claim("server").await.is_ok(), "a launch that has failed leaves the name free");
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
