//! A small platform in memory, its time, and those who ask the sandbox for something. One thread, and no real time.

mod faults;
mod files;
mod platform;
mod time;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use cabana_protocol::{Error, Tenant, sandbox::Wakeups};
use futures_util::{FutureExt, future::LocalBoxFuture};

use self::{
    faults::Faults,
    files::Files,
    platform::{Shelf, Small},
};
use super::super::{Platform, Store, Supervisor};
use crate::{
    fault::Exit,
    hooks::Turn,
    lifecycle::{Instant, Lifecycle, Policy, Rules},
    sandbox::record::{NetworkRecord, Record},
};

pub(super) type Sandbox = Rc<Supervisor<Small, Shelf>>;

/// How long a request waits here.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What a caller asks for. Commands are told apart by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    Create,
    Exec(u8),
    Stop,
    Destroy,
}

/// What the caller is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Done,
    /// The object was restarted meanwhile.
    Lost,
    Failed(Error),
}

/// What an object costs its platform.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// How often it was loaded, and woken by its alarm.
    pub(super) loads: usize,
    pub(super) alarms: usize,
    /// Writes to its storage, of its alarm among them.
    pub(super) writes: usize,
    /// When it had news for the directory.
    pub(super) news: Vec<Instant>,
}

/// A container that runs.
#[derive(Debug, Clone)]
struct Running {
    secret: String,
    ready_at: Instant,
    files: Files,
}

/// Work of one object.
struct Task {
    generation: u64,
    ask: Option<Ask>,
    work: LocalBoxFuture<'static, ()>,
}

/// The world. It outlives the object.
pub(super) struct World {
    pub(super) faults: RefCell<Faults>,
    pub(super) policy: Policy,
    pub(super) rules: Rules,
    now: Cell<Instant>,
    next_timer: Cell<Option<Instant>>,
    stored: RefCell<Option<Record>>,
    reset_at: Cell<Option<Instant>>,
    alarm: Cell<Option<Instant>>,
    container: RefCell<Option<Running>>,
    /// The snapshots that the platform keeps, and whether it has forgotten them.
    snapshots: RefCell<BTreeMap<String, Files>>,
    forgotten: Cell<bool>,
    /// How many snapshots were asked for.
    pub(super) attempts: Cell<usize>,
    /// How many containers have ended without the object's doing.
    pub(super) cut: Cell<usize>,
    /// How the last container ended, and whether the object that is loaded has seen it run.
    exit: RefCell<Exit>,
    /// The platform's word, where it is wrong: that no container runs.
    lost: Cell<bool>,
    /// Whether the container outlives its object: the platform was told so.
    outlives: Cell<bool>,
    /// What it costs.
    pub(super) costs: RefCell<Costs>,
    /// How many containers were started, and probes answered or not.
    pub(super) launches: Cell<usize>,
    pub(super) probes: Cell<usize>,
    pub(super) resets: Cell<usize>,
    /// How often each command was carried out.
    pub(super) runs: RefCell<BTreeMap<u8, u32>>,
    pub(super) told: RefCell<Vec<(Ask, Told)>>,
    tasks: RefCell<Vec<Task>>,
    fresh: RefCell<Vec<Task>>,
    object: RefCell<Option<Sandbox>>,
    /// Which object is alive. What an earlier one does comes to nothing.
    generation: Cell<u64>,
    /// Effects so far, and before which of them the object is killed.
    pub(super) effects: Cell<usize>,
    pub(super) kills: RefCell<Vec<usize>>,
    /// Whether a container goes with the object that is killed.
    pub(super) evicts: Cell<bool>,
    /// When the object is reset by its own wish.
    resets_at: Cell<Option<Instant>>,
    rounds: Cell<usize>,
    /// Whether the alarm is being dealt with.
    firing: Cell<bool>,
    /// Whether the object is killed as soon as this moment is over.
    dying: Cell<bool>,
    /// What is stored for good.
    committed: RefCell<(Option<Record>, Option<Instant>, Option<Instant>)>,
    /// Connections so far.
    connections: Cell<usize>,
    /// Until when the container could not be reached, as far as the network is concerned.
    unreachable_until: Cell<Instant>,
    /// Whether somebody has asked for the end of the container that runs, or it was given up.
    end_asked: Cell<bool>,
    /// How many wait for that.
    ends_asked: Cell<usize>,
    /// The secret of the container that was asked to end while that came to nothing.
    terminated: RefCell<Option<String>>,
    /// What hooks would have heard of.
    pub(super) turns: RefCell<Vec<Turn>>,
    /// What should not have been done.
    pub(super) violations: RefCell<Vec<String>>,
    /// What was done, for people who look for a defect.
    pub(super) trace: RefCell<Vec<&'static str>>,
    /// In which order tasks are polled.
    pub(super) seed: Cell<usize>,
}

impl World {
    pub(super) fn new(policy: Policy) -> Rc<Self> {
        Rc::new(Self {
            faults: RefCell::default(),
            policy,
            rules: Rules::default(),
            now: Cell::new(Instant(1_000_000)),
            next_timer: Cell::default(),
            stored: RefCell::default(),
            reset_at: Cell::default(),
            alarm: Cell::default(),
            container: RefCell::default(),
            snapshots: RefCell::default(),
            forgotten: Cell::default(),
            attempts: Cell::default(),
            cut: Cell::default(),
            exit: RefCell::new(Exit::Evicted),
            lost: Cell::default(),
            outlives: Cell::default(),
            costs: RefCell::default(),
            launches: Cell::default(),
            probes: Cell::default(),
            resets: Cell::default(),
            runs: RefCell::default(),
            told: RefCell::default(),
            tasks: RefCell::default(),
            fresh: RefCell::default(),
            object: RefCell::default(),
            generation: Cell::new(1),
            effects: Cell::default(),
            kills: RefCell::default(),
            evicts: Cell::default(),
            resets_at: Cell::default(),
            rounds: Cell::default(),
            firing: Cell::default(),
            dying: Cell::default(),
            committed: RefCell::default(),
            connections: Cell::default(),
            unreachable_until: Cell::default(),
            end_asked: Cell::default(),
            ends_asked: Cell::default(),
            terminated: RefCell::default(),
            turns: RefCell::default(),
            violations: RefCell::default(),
            trace: RefCell::default(),
            seed: Cell::default(),
        })
    }

    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// The object leaves memory, with all that it has under way.
    pub(super) fn restart(&self) {
        self.die();
        self.bury();
    }

    /// Has the object do something, which nobody waits for.
    pub(super) fn ask_nothing(&self, work: impl Future<Output = ()> + 'static) {
        self.push(None, work.boxed_local());
    }

    pub(super) fn has_container(&self) -> bool {
        self.container.borrow().is_some()
    }

    /// The secret of the container that runs.
    fn secret(&self) -> Option<String> {
        self.container.borrow().as_ref().map(|running| running.secret.clone())
    }

    pub(super) fn has_record(&self) -> bool {
        self.stored.borrow().is_some()
    }

    pub(super) fn record(&self) -> Record {
        self.stored.borrow().clone().expect("there is a sandbox")
    }

    /// The container's program ends.
    pub(super) fn end_container(&self, exit: Exit) {
        self.container.replace(None);
        self.exit.replace(exit);
    }

    /// The platform says that no container runs, though one does, until the object is loaded again.
    pub(super) fn lose_sight(&self, exit: Exit) {
        self.lost.set(true);
        self.exit.replace(exit);
    }

    /// The object, loaded if it is not in memory.
    pub(super) fn object(self: &Rc<Self>) -> Sandbox {
        loop {
            self.bury();
            if let Some(object) = self.object.borrow().clone() {
                return object;
            }
            self.lost.set(false);
            self.costs.borrow_mut().loads += 1;
            let generation = self.generation.get();
            let shelf = Shelf { world: Rc::clone(self), generation };
            let store = Store::load(shelf, self.rules, true).expect("the storage works");
            let small = Small { world: Rc::clone(self), generation };
            let object = Supervisor::load(small, Rc::new(store), Ok(PATIENCE)).expect("it loads");
            self.object.replace(Some(object));
        }
    }

    /// Takes the object out of memory, with all that it has under way. Callers see their connections break.
    ///
    /// The runtime commits together what an object writes without waiting in between: all of it is kept, or all of it is lost.
    fn kill(&self) {
        if self.seed.get() & 2 > 0 {
            let (stored, alarm, reset_at) = self.committed.borrow().clone();
            self.stored.replace(stored);
            self.alarm.set(alarm);
            self.reset_at.set(reset_at);
            self.die();
        } else {
            // Until this moment is over, what it writes is kept, and nothing else is heard of it.
            self.dying.set(true);
        }
    }

    fn die(&self) {
        self.dying.set(false);
        self.resets_at.set(None);
        self.generation.set(self.generation.get() + 1);
        if self.firing.replace(false) {
            // The platform tries an alarm again whose handler did not come to its end.
            let again = self.now() + Duration::from_secs(2);
            self.alarm.set(Some(self.alarm.get().map_or(again, |at| at.min(again))));
        }
        let outlives = self.outlives.replace(false) && !self.evicts.get();
        if !outlives && self.container.borrow().is_some() {
            self.cut.set(self.cut.get() + 1);
            self.end_container(Exit::Evicted);
        }
    }

    /// Drops what belongs to killed objects. Not while one is at work.
    fn bury(&self) {
        let alive = self.generation.get();
        let dead = self.object.borrow().as_ref().is_some_and(|object| object.platform().generation != alive);
        if dead {
            self.object.replace(None);
        }
        let (kept, dropped): (Vec<_>, Vec<_>) =
            self.tasks.take().into_iter().chain(self.fresh.take()).partition(|task| task.generation == alive);
        self.tasks.replace(kept);
        dropped.iter().filter_map(|task| task.ask).for_each(|ask| self.answered_end(ask));
        let lost = dropped.iter().filter_map(|task| task.ask).map(|ask| (ask, Told::Lost));
        self.told.borrow_mut().extend(lost);
    }

    fn push(&self, ask: Option<Ask>, work: LocalBoxFuture<'static, ()>) {
        self.fresh.borrow_mut().push(Task { generation: self.generation.get(), ask, work });
    }

    /// Counts an effect of an object. False where that object is dead, or is killed before this.
    fn acts(&self, generation: u64, what: &'static str) -> bool {
        if generation != self.generation.get() || self.dying.get() {
            return false;
        }
        let effect = self.effects.replace(self.effects.get() + 1);
        self.trace.borrow_mut().push(what);
        if self.kills.borrow().contains(&effect) {
            self.kill();
            return false;
        }
        true
    }

    /// The same for a write. Those of the moment in which an object is killed are kept, unless all of them are lost.
    fn writes(&self, generation: u64, what: &'static str) -> bool {
        self.acts(generation, what) || self.dying.get() && generation == self.generation.get()
    }

    fn commit(&self) {
        self.committed.replace((self.stored.borrow().clone(), self.alarm.get(), self.reset_at.get()));
    }

    fn begin(self: &Rc<Self>, ask: Ask) {
        let object = self.object();
        let world = Rc::clone(self);
        if matches!(ask, Ask::Stop | Ask::Destroy) {
            self.end_asked.set(true);
            self.ends_asked.set(self.ends_asked.get() + 1);
        }
        let work = async move {
            let outcome = world.carry_out(&object, ask).await;
            world.answered_end(ask);
            // Who is killed tells nobody anything.
            if object.platform().generation == world.generation.get() && !world.dying.get() {
                world.told.borrow_mut().push((ask, outcome.map_or_else(Told::Failed, |()| Told::Done)));
            } else {
                world.told.borrow_mut().push((ask, Told::Lost));
            }
        };
        self.push(Some(ask), work.boxed_local());
    }

    async fn carry_out(self: &Rc<Self>, object: &Sandbox, ask: Ask) -> Result<(), Error> {
        match ask {
            Ask::Create if object.store().is_empty() => {
                object.store().insert(self.blank(), self.now())?;
                object.rearm();
                Ok(())
            }
            Ask::Create => Ok(()),
            Ask::Exec(number) => {
                let lease = object.ready().await?;
                if !self.reaches(lease.secret()) || object.platform().generation != self.generation.get() || self.dying.get() {
                    lease.failed();
                    return Err(crate::fault::not_ready("no connection"));
                }
                *self.runs.borrow_mut().entry(number).or_default() += 1;
                self.write_file(number);
                object.platform().sleep(Duration::from_millis(1)).await;
                lease.answered();
                Ok(())
            }
            Ask::Stop => object.stop().await,
            Ask::Destroy => {
                object.destroy().await?;
                self.free(object);
                Ok(())
            }
        }
    }

    /// What the object does when nothing is left of the sandbox.
    fn free(&self, object: &Sandbox) {
        if object.store().is_empty() && !object.has_stray() && self.writes(object.platform().generation, "free") {
            self.alarm.set(None);
            object.disarmed();
        }
    }

    fn blank(&self) -> Record {
        let now = self.now();
        Record {
            id: "sbx-a".parse().unwrap(),
            kind: "sbx".to_owned(),
            instance: None,
            tenant: Tenant::default(),
            env: BTreeMap::new(),
            project_env: BTreeMap::new(),
            network: NetworkRecord::default(),
            roots: None,
            labels: BTreeMap::new(),
            project: None,
            setup: None,
            before_sleep: None,
            snapshot: None,
            lifecycle: Lifecycle::new(self.policy, now),
            secret: String::new(),
            incarnation: 0,
            updated_at: now,
            version: 0,
            wakeups: Wakeups { loads: 1, alarms: 0 },
        }
    }
}
