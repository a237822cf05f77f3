//! Writers and sweeps of one tenant, step by step, in every order, dying at every step.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use cabana_protocol::{
    Code, Error,
    chunk::{ChunkName, Head},
    sandbox::{Archive, ArchiveId},
};
use proptest::prelude::*;

use super::{
    Manifest,
    bucket::{Keys, Store},
    catalog::{Catalog, Rows, SWEEP_LEASE, WRITE_LEASE},
    sweep::sweep,
    writer,
};
use crate::lifecycle::Instant;

#[derive(Default)]
struct Memory {
    writers: BTreeMap<ArchiveId, Instant>,
    sweeping: Option<Instant>,
    dirty: Option<Instant>,
    archives: BTreeMap<ArchiveId, (Archive, BTreeSet<ChunkName>)>,
}

impl Rows for RefCell<Memory> {
    fn writers(&self) -> Result<Vec<(ArchiveId, Instant)>, Error> {
        Ok(self.borrow().writers.iter().map(|(id, until)| (id.clone(), *until)).collect())
    }
    fn put_writer(&self, id: &ArchiveId, until: Instant) -> Result<(), Error> {
        self.borrow_mut().writers.insert(id.clone(), until);
        Ok(())
    }
    fn remove_writer(&self, id: &ArchiveId) -> Result<(), Error> {
        self.borrow_mut().writers.remove(id);
        Ok(())
    }
    fn sweeping(&self) -> Result<Option<Instant>, Error> {
        Ok(self.borrow().sweeping)
    }
    fn set_sweeping(&self, until: Option<Instant>) -> Result<(), Error> {
        self.borrow_mut().sweeping = until;
        Ok(())
    }
    fn dirty(&self) -> Result<Option<Instant>, Error> {
        Ok(self.borrow().dirty)
    }
    fn set_dirty(&self, since: Option<Instant>) -> Result<(), Error> {
        self.borrow_mut().dirty = since;
        Ok(())
    }
    fn archives(&self) -> Result<Vec<Archive>, Error> {
        Ok(self.borrow().archives.values().map(|(archive, _)| archive.clone()).collect())
    }
    fn archive(&self, id: &ArchiveId) -> Result<Option<Archive>, Error> {
        Ok(self.borrow().archives.get(id).map(|(archive, _)| archive.clone()))
    }
    fn put_archive(&self, archive: &Archive, chunks: &BTreeSet<ChunkName>) -> Result<(), Error> {
        self.borrow_mut().archives.insert(archive.id.clone(), (archive.clone(), chunks.clone()));
        Ok(())
    }
    fn remove_archive(&self, id: &ArchiveId) -> Result<(), Error> {
        self.borrow_mut().archives.remove(id);
        Ok(())
    }
    fn chunks(&self, most: usize) -> Result<Vec<ChunkName>, Error> {
        let memory = self.borrow();
        let all: BTreeSet<_> = memory.archives.values().flat_map(|(_, chunks)| chunks).copied().collect();
        Ok(all.into_iter().take(most).collect())
    }
    fn needs(&self, chunk: &ChunkName) -> Result<bool, Error> {
        Ok(self.borrow().archives.values().any(|(_, chunks)| chunks.contains(chunk)))
    }
}

/// One tenant, its bucket and the time.
struct World {
    catalog: Catalog<RefCell<Memory>>,
    bucket: RefCell<BTreeMap<String, Vec<u8>>>,
    keys: Keys,
    now: Cell<Instant>,
    made: Cell<u32>,
    /// When the bucket was asked to remove what it has not removed yet.
    removing: Cell<Option<Instant>>,
}

/// Ends when the bucket has removed what it was asked for, or the one who asked has died.
struct Removing<'a>(&'a Cell<Option<Instant>>);

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// Others get their turn.
async fn turn() {
    let mut waited = false;
    let wait = |context: &mut Context<'_>| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    };
    std::future::poll_fn(wait).await;
}

/// Each call takes effect between two turns.
impl Store for World {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        turn().await;
        Ok(self.bucket.borrow().get(key).cloned())
    }
    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Error> {
        turn().await;
        self.bucket.borrow_mut().insert(key.to_owned(), value);
        turn().await;
        Ok(())
    }
    async fn delete(&self, keys: Vec<String>) -> Result<(), Error> {
        self.removing.set(Some(self.now.get()));
        let _removing = Removing(&self.removing);
        for key in keys {
            turn().await;
            self.bucket.borrow_mut().remove(&key);
        }
        turn().await;
        Ok(())
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Error> {
        turn().await;
        let bucket = self.bucket.borrow();
        let later = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
        Ok(bucket.keys().filter(later).take(2).cloned().collect())
    }
}

impl writer::Catalog for World {
    async fn renew(&self, id: &ArchiveId) -> Result<(), Error> {
        turn().await;
        self.catalog.renew(id, self.now.get())
    }
    async fn commit(&self, archive: &Archive, chunks: &BTreeSet<ChunkName>) -> Result<(), Error> {
        turn().await;
        let committed = self.catalog.commit(archive, chunks, self.now.get());
        turn().await;
        committed
    }
}

impl writer::Frames for VecDeque<(Head, Vec<u8>)> {
    async fn next(&mut self) -> Result<(Head, Vec<u8>), Error> {
        turn().await;
        Ok(self.pop_front().expect("the end is said"))
    }
}

fn chunk(number: u8) -> ChunkName {
    ChunkName([number; 32])
}

impl World {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            catalog: Catalog(RefCell::default()),
            bucket: RefCell::default(),
            keys: Keys::new(&"default".parse().unwrap()),
            now: Cell::new(Instant(1_000_000)),
            made: Cell::new(0),
            removing: Cell::default(),
        })
    }

    /// The bucket removes what it is asked for long before the lease ends of the one who asks.
    fn pass(&self, span: Duration) {
        let latest = self.removing.get().map(|begun| begun + SWEEP_LEASE / 2);
        let then = self.now.get() + span;
        self.now.set(latest.map_or(then, |latest| then.min(latest)));
    }

    /// Makes an archive of these chunks, as a sandbox's object and its agent do.
    async fn make(self: Rc<Self>, chunks: Vec<u8>) {
        self.made.set(self.made.get() + 1);
        let id = ArchiveId::new(&"sbx-a".parse().unwrap(), &format!("{:026}", self.made.get()));
        turn().await;
        let Ok(known) = self.catalog.begin(&id, self.now.get()) else { return };
        let known: HashSet<_> = known.into_iter().collect();
        let end = (Head { name: None, raw_bytes: 0, stored_bytes: 0 }, Vec::new());
        let mut sent = known.clone();
        let frame = |number: u8| {
            let content = if sent.insert(chunk(number)) { vec![number] } else { Vec::new() };
            (Head { name: Some(chunk(number)), raw_bytes: 1, stored_bytes: content.len() as u32 }, content)
        };
        let mut frames: VecDeque<_> = chunks.into_iter().map(frame).chain([end]).collect();
        let archive = Archive {
            sandbox: id.sandbox().unwrap(),
            id: id.clone(),
            name: None,
            path: "/workspace".into(),
            created_at: String::new(),
            size_bytes: 0,
            chunks: 0,
            new_chunks: 0,
            stored_bytes: 0,
        };
        if writer::write(&*self, &*self, &self.keys, archive, &known, &mut frames).await.is_err() {
            turn().await;
            self.catalog.abort(&id, self.now.get()).unwrap();
        }
    }

    async fn sweep(self: Rc<Self>) {
        sweep(&self.catalog, &*self, &self.keys, || self.now.get()).await.unwrap();
    }

    fn delete(&self, index: usize) {
        let ids: Vec<_> = self.catalog.0.borrow().archives.keys().cloned().collect();
        if let Some(id) = ids.get(index % ids.len().max(1)) {
            self.catalog.delete(id, self.now.get()).unwrap();
        }
    }

    /// Every archive is whole.
    fn check(&self) {
        let bucket = self.bucket.borrow();
        for (id, (_, chunks)) in &self.catalog.0.borrow().archives {
            let manifest = bucket.get(&self.keys.manifest(id)).unwrap_or_else(|| panic!("the manifest of {id} is gone"));
            let manifest: Manifest = serde_json::from_slice(manifest).unwrap();
            assert_eq!(manifest.chunks.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), *chunks);
            for name in chunks {
                assert_eq!(bucket.get(&self.keys.chunk(name)), Some(&vec![name.0[0]]), "a chunk of {id} is gone");
            }
        }
    }

    /// Once all that died is given up, a sweep leaves what archives need, and nothing else.
    fn check_swept(self: &Rc<Self>) {
        self.pass(WRITE_LEASE + SWEEP_LEASE);
        run(Rc::clone(self).sweep());
        self.check();
        let memory = self.catalog.0.borrow();
        let needed: BTreeSet<_> =
            memory.archives.values().flat_map(|(_, chunks)| chunks).map(|name| self.keys.chunk(name)).collect();
        let manifests = memory.archives.keys().map(|id| self.keys.manifest(id));
        let expected: BTreeSet<_> = needed.into_iter().chain(manifests).collect();
        assert_eq!(self.bucket.borrow().keys().cloned().collect::<BTreeSet<_>>(), expected);
        assert_eq!(self.catalog.sweep_at(), Ok(None));
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

fn poll(task: Pin<&mut (impl Future<Output = ()> + ?Sized)>) -> bool {
    task.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn run(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    while !poll(future.as_mut()) {}
}

/// How many turns it takes to its end.
fn turns(future: impl Future<Output = ()>) -> usize {
    let mut future = pin!(future);
    (1..).take_while(|_| !poll(future.as_mut())).count() + 1
}

#[test]
fn archives_share_chunks_and_a_sweep_leaves_those_that_are_needed() {
    let world = World::new();
    run(Rc::clone(&world).make(vec![1, 2, 2, 3]));
    run(Rc::clone(&world).make(vec![2, 3, 4]));
    let listed = world.catalog.0.archives().unwrap();
    assert_eq!(listed.iter().map(|archive| (archive.chunks, archive.new_chunks)).collect::<Vec<_>>(), [(4, 3), (3, 1)]);
    world.delete(0);
    assert_eq!(world.bucket.borrow().len(), 4 + 2, "nothing is removed at once");
    world.check_swept();
    assert_eq!(world.bucket.borrow().len(), 3 + 1);
}

#[test]
fn a_writer_or_a_sweep_that_dies_at_any_step_harms_no_archive() {
    let begin = || {
        let world = World::new();
        run(Rc::clone(&world).make(vec![1, 2, 3]));
        run(Rc::clone(&world).make(vec![3, 4]));
        world.delete(0);
        world
    };
    let writing = turns(begin().make(vec![2, 3, 5, 6, 7, 8, 9, 10]));
    let sweeping = turns(begin().sweep());
    assert!(writing > 20 && sweeping > 5, "{writing} {sweeping}");
    for dies in 0..=writing.max(sweeping) {
        let worlds = [begin(), begin()];
        let tasks: [Task; 2] =
            [Box::pin(Rc::clone(&worlds[0]).make(vec![2, 3, 5, 6, 7, 8, 9, 10])), Box::pin(Rc::clone(&worlds[1]).sweep())];
        for (world, mut task) in worlds.into_iter().zip(tasks) {
            let _ = (0..dies).any(|_| poll(task.as_mut()));
            drop(task);
            world.check();
            world.check_swept();
        }
    }
}

#[test]
fn nobody_begins_while_chunks_are_removed_and_nothing_is_removed_while_somebody_writes() {
    let world = World::new();
    run(Rc::clone(&world).make(vec![1, 2]));
    world.delete(0);
    let mut writer: Task = Box::pin(Rc::clone(&world).make(vec![1, 2, 3]));
    assert!(!poll(writer.as_mut()) && !poll(writer.as_mut()));
    let before = world.bucket.borrow().len();
    run(Rc::clone(&world).sweep());
    assert_eq!(world.bucket.borrow().len(), before);
    run(writer);
    world.check();
    world.delete(0);
    let mut sweeping: Task = Box::pin(Rc::clone(&world).sweep());
    assert!(!poll(sweeping.as_mut()) && !poll(sweeping.as_mut()));
    let id = ArchiveId::new(&"sbx-a".parse().unwrap(), &"z".repeat(26));
    assert_eq!(world.catalog.begin(&id, world.now.get()).unwrap_err().code, Code::ContainerNotReady);
    run(sweeping);
    assert!(world.catalog.begin(&id, world.now.get()).is_ok());
}

#[test]
fn a_writer_whose_lease_has_ended_cannot_finish() {
    let world = World::new();
    let mut writer: Task = Box::pin(Rc::clone(&world).make(vec![1, 2, 3]));
    assert!((0..4).all(|_| !poll(writer.as_mut())));
    world.pass(WRITE_LEASE);
    run(Rc::clone(&world).sweep());
    run(writer);
    assert_eq!(world.catalog.0.archives().unwrap(), []);
    world.check_swept();
    assert!(world.bucket.borrow().is_empty());
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Make(Vec<u8>),
    Sweep,
    Delete(usize),
    /// A task goes on for a while.
    Run(usize, usize),
    /// A task dies.
    Die(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        proptest::collection::vec(0_u8..12, 0..10).prop_map(Step::Make),
        Just(Step::Sweep),
        (0_usize..8).prop_map(Step::Delete),
        (0_usize..4, 1_usize..30).prop_map(|(task, turns)| Step::Run(task, turns)),
        (0_usize..4, 1_usize..30).prop_map(|(task, turns)| Step::Run(task, turns)),
        (0_usize..4).prop_map(Step::Die),
        (0_u64..900).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn no_order_of_writers_sweeps_deaths_and_delays_harms_an_archive(steps in proptest::collection::vec(step(), 1..60)) {
        let world = World::new();
        let mut tasks: Vec<Task> = Vec::new();
        for step in steps {
            match step {
                Step::Make(chunks) => tasks.push(Box::pin(Rc::clone(&world).make(chunks))),
                Step::Sweep => tasks.push(Box::pin(Rc::clone(&world).sweep())),
                Step::Delete(index) => world.delete(index),
                Step::Run(index, turns) if !tasks.is_empty() => {
                    let index = index % tasks.len();
                    if (0..turns).any(|_| poll(tasks[index].as_mut())) {
                        drop(tasks.swap_remove(index));
                    }
                }
                Step::Die(index) if !tasks.is_empty() => drop(tasks.swap_remove(index % tasks.len())),
                Step::Run(..) | Step::Die(_) => {}
                Step::Pass(seconds) => world.pass(Duration::from_secs(seconds)),
            }
            world.check();
        }
        drop(tasks);
        world.check_swept();
    }
}
