//! The platform around the object, those who ask it for something, and time.

use std::collections::BTreeMap;

use super::{
    object::{Object, Record, Work},
    *,
};

/// More steps than any history takes.
const ENOUGH: usize = 500;

/// What a caller asks for. Commands are told apart by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    Create,
    Exec(u8),
    Stop,
    Destroy,
}

/// What the caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Done,
    /// Nothing was done: there is no sandbox.
    NotFound,
    /// Nothing was done, and it may be repeated.
    NotReady,
    /// The object was restarted meanwhile.
    Lost,
}

/// When the object is restarted, and what comes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Before which pieces of work.
    pub(super) faults: [usize; 2],
    /// Whether the container goes with it.
    pub(super) evicted: bool,
    /// Whether a caller whose destroy was lost asks again.
    pub(super) insistent: bool,
    /// In which order pieces of work that wait are done.
    pub(super) seed: usize,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) policy: Policy,
    pub(super) now: Instant,
    pub(super) steps: usize,
    pub(super) stored: Option<Record>,
    pub(super) alarm: Option<Instant>,
    /// The container that runs, by the secret it was given.
    pub(super) container: Option<u64>,
    /// How many secrets were drawn.
    pub(super) secrets: u64,
    pub(super) object: Option<Object>,
    /// How often each command was carried out.
    pub(super) runs: BTreeMap<Ask, u32>,
    pub(super) told: Vec<(Ask, Told)>,
}

impl World {
    pub(super) fn new(plan: Plan, policy: Policy) -> Self {
        Self {
            plan,
            policy,
            now: BORN,
            steps: 0,
            stored: None,
            alarm: None,
            container: None,
            secrets: 0,
            object: None,
            runs: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn record(&self) -> Option<&Record> {
        self.object.as_ref().and_then(|object| object.record.as_ref())
    }

    /// 0 where there is no sandbox.
    pub(super) fn incarnation(&self) -> u64 {
        self.record().map_or(0, |record| record.incarnation)
    }

    pub(super) fn object(&mut self) -> &mut Object {
        self.object.as_mut().expect("it is in memory")
    }

    pub(super) fn push(&mut self, work: Work) {
        self.object().work.push(work);
    }

    /// Brings the object into memory.
    fn load(&mut self) {
        if self.object.is_none() {
            // What is not stored of it is lost.
            let record = self.stored.as_ref().map(|record| serde_json::to_string(record).unwrap());
            let record = record.map(|record| serde_json::from_str::<Record>(&record).unwrap());
            let incarnation = record.as_ref().map_or(0, |record| record.incarnation);
            self.object = Some(Object { record, incarnation, work: Vec::new() });
            let container = self.container.is_some();
            self.happen(Event::Loaded { container });
        }
    }

    /// Takes it out of memory. Callers see their connections break.
    fn restart(&mut self) {
        let work = self.object.take().map(|object| object.work).unwrap_or_default();
        for work in work {
            if let Work::Begin(ask) | Work::Deliver(ask) | Work::Answer(ask) | Work::Stopping(ask) | Work::Destroying(ask) = work
            {
                self.told.push((ask, Told::Lost));
            }
        }
        if self.plan.evicted {
            self.container = None;
        }
    }

    /// Lets the object work until it has nothing to do, and restarts it where the plan says so.
    fn settle(&mut self) {
        loop {
            if self.plan.faults.contains(&self.steps) {
                self.restart();
            }
            self.steps += 1;
            assert!(self.steps < ENOUGH, "it never comes to rest: {:?}", self.object);
            let Some(object) = self.object.as_mut().filter(|object| !object.work.is_empty()) else { break };
            // In any order, but nothing waits for ever.
            let next = if self.steps.is_multiple_of(3) { 0 } else { self.plan.seed >> (self.steps % 8) };
            let next = next % object.work.len();
            let work = object.work.remove(next);
            self.now = self.now + Duration::from_millis(1);
            self.run(work);
        }
        let doomed = self.stored.as_ref().is_none_or(|record| record.lifecycle.is_over());
        let soon = self.alarm.is_some_and(|at| at <= self.now + GRACE);
        assert!(!doomed || self.container.is_none() || soon, "nobody comes to end the container that is left");
    }

    /// Asks for this all at once, and for what was lost or refused again where that does no harm.
    pub(super) fn ask(&mut self, asks: &[Ask]) {
        let mut asks = asks.to_vec();
        while !asks.is_empty() {
            self.load();
            let before = self.told.len();
            asks.iter().for_each(|ask| self.push(Work::Begin(*ask)));
            self.settle();
            let told = self.told[before..].to_vec();
            assert_eq!(told.len(), asks.len(), "everybody is told something, once");
            asks = told.into_iter().filter(|(ask, told)| self.repeats(*ask, *told)).map(|(ask, _)| ask).collect();
        }
    }

    fn repeats(&self, ask: Ask, told: Told) -> bool {
        match told {
            Told::Done | Told::NotFound => false,
            Told::NotReady => true,
            Told::Lost => ask == Ask::Create || (ask == Ask::Destroy && self.plan.insistent),
        }
    }

    /// Lets time pass until nothing is to happen any more.
    pub(super) fn wait(&mut self) {
        while let Some(at) = self.alarm {
            self.now = self.now.max(at);
            self.load();
            self.on_alarm();
            self.settle();
        }
    }
}
