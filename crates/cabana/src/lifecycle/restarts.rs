//! The object restarted between any two of its steps: a small platform in memory carries out what the lifecycle asks for, in the way of
//! `sandbox/steps.rs`, `start.rs`, `end.rs` and `alarm.rs`, one piece of work between two `await`s at a time. Before each of these pieces, in
//! turn, the object is dropped with all that it had under way. What it has stored, its alarm and its container stay.

use std::collections::BTreeMap;

use super::*;

const RULES: Rules = Rules { sleep_after: Duration::from_secs(600), start_limit: Duration::from_secs(120) };
const BORN: Instant = Instant(1_000_000);

/// More steps than any history takes.
const ENOUGH: usize = 500;

/// What a caller asks for. Commands are told apart by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    Create,
    Exec(u8),
    Stop,
    Destroy,
}

/// What the caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Done,
    /// Nothing was done: there is no sandbox.
    NotFound,
    /// Nothing was done, and it may be repeated.
    NotReady,
    /// The object was restarted meanwhile.
    Lost,
}

/// What the object does between two `await`s. The number says for which incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Begin(Ask),
    /// Hands a command over.
    Deliver(Ask),
    /// Passes its answer back.
    Answer(Ask),
    /// Waits for the end of a stop.
    Stopping(Ask),
    /// Ends the container of a sandbox that is forgotten.
    Destroying(Ask),
    /// Ends what may be left of an earlier container.
    Clear(u64),
    Launch(u64),
    Meet {
        incarnation: u64,
        fresh: bool,
    },
    Terminate(u64),
    End(u64),
    Ended(u64),
}

/// What the object stores in one go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    lifecycle: Lifecycle,
    incarnation: u64,
    /// Drawn anew for each start; here they are counted.
    secret: u64,
}

/// The object's memory.
#[derive(Debug, Default)]
struct Object {
    record: Option<Record>,
    /// The highest incarnation since it came into memory.
    incarnation: u64,
    work: Vec<Work>,
}

/// When the object is restarted, and what comes of it.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Before which pieces of work.
    faults: [usize; 2],
    /// Whether the container goes with it.
    evicted: bool,
    /// Whether a caller whose destroy was lost asks again.
    insistent: bool,
    /// In which order pieces of work that wait are done.
    seed: usize,
}

struct World {
    plan: Plan,
    policy: Policy,
    now: Instant,
    steps: usize,
    stored: Option<Record>,
    alarm: Option<Instant>,
    /// The container that runs, by the secret it was given.
    container: Option<u64>,
    /// How many secrets were drawn.
    secrets: u64,
    object: Option<Object>,
    /// How often each command was carried out.
    runs: BTreeMap<Ask, u32>,
    told: Vec<(Ask, Told)>,
}

impl World {
    fn new(plan: Plan, policy: Policy) -> Self {
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

    fn record(&self) -> Option<&Record> {
        self.object.as_ref().and_then(|object| object.record.as_ref())
    }

    /// 0 where there is no sandbox.
    fn incarnation(&self) -> u64 {
        self.record().map_or(0, |record| record.incarnation)
    }

    fn object(&mut self) -> &mut Object {
        self.object.as_mut().expect("it is in memory")
    }

    fn push(&mut self, work: Work) {
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

    fn happen(&mut self, event: Event) {
        let effects = self.advance(event);
        self.carry_out(effects);
    }

    fn happen_to(&mut self, incarnation: u64, event: Event) {
        if self.incarnation() == incarnation {
            self.happen(event);
        }
    }

    fn advance(&mut self, event: Event) -> Effects {
        let now = self.now;
        let object = self.object();
        let Some(record) = &mut object.record else { return without(&event) };
        let (after, effects) = record.lifecycle.clone().step(&RULES, event, now);
        record.lifecycle = after;
        if effects.contains(&Effect::Wipe) {
            object.record = None;
        }
        self.store();
        effects
    }

    /// Stores the record, and sets the alarm in the same go.
    fn store(&mut self) {
        self.stored = self.record().cloned();
        self.arm();
    }

    fn has_stray(&self) -> bool {
        self.record().is_none_or(|record| record.lifecycle.is_over()) && self.container.is_some()
    }

    fn arm(&mut self) {
        let reap = self.has_stray().then(|| self.now + GRACE);
        let deadlines = self.record().map(|record| record.lifecycle.deadlines(&RULES)).unwrap_or_default();
        let next = deadlines.with(Deadline::Reap, reap).next().map(|next| next.max(self.now + Duration::from_millis(200)));
        let early_enough = self.alarm.is_some_and(|at| at > self.now && next.is_some_and(|next| at <= next));
        if !early_enough {
            self.alarm = next;
        }
    }

    fn carry_out(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Start => {
                    self.secrets += 1;
                    let secret = self.secrets;
                    let object = self.object();
                    let record = object.record.as_mut().expect("only a sandbox is started");
                    (record.incarnation, record.secret) = (record.incarnation + 1, secret);
                    object.incarnation = record.incarnation;
                    self.store();
                    self.push(Work::Clear(self.incarnation()));
                }
                Effect::Resume => self.push(Work::Meet { incarnation: self.incarnation(), fresh: false }),
                Effect::Terminate => self.push(Work::Terminate(self.incarnation())),
                Effect::End => self.push(Work::End(self.incarnation())),
                Effect::Keep | Effect::Ask | Effect::Wipe => {}
            }
        }
    }

    fn tell(&mut self, ask: Ask, told: Told) {
        self.told.push((ask, told));
    }

    /// Whether the agent of the present start is there.
    fn is_well(&self) -> bool {
        self.record().is_some_and(|record| self.container == Some(record.secret))
    }

    fn run(&mut self, work: Work) {
        match work {
            Work::Begin(ask) => self.begin(ask),
            Work::Deliver(ask) if self.is_well() => {
                *self.runs.entry(ask).or_default() += 1;
                self.push(Work::Answer(ask));
            }
            Work::Deliver(ask) => {
                self.happen(Event::Unreachable);
                self.tell(ask, Told::NotReady);
            }
            Work::Answer(ask) => self.tell(ask, Told::Done),
            Work::Stopping(ask) => match self.record().map(|record| record.lifecycle.state) {
                None => self.tell(ask, Told::NotFound),
                Some(State::Stopping) => self.push(work),
                Some(_) => self.tell(ask, Told::Done),
            },
            Work::Destroying(ask) => {
                self.container = None;
                self.arm();
                self.tell(ask, Told::Done);
            }
            Work::Clear(incarnation) => {
                self.container = None;
                self.push(Work::Launch(incarnation));
            }
            Work::Launch(incarnation) => self.launch(incarnation),
            // Nobody else has the secret of this start.
            Work::Meet { incarnation, fresh } => match (self.incarnation() == incarnation && self.is_well(), fresh) {
                (true, _) => self.happen_to(incarnation, Event::Ready),
                (false, true) => self.happen_to(incarnation, Event::Ended(Reason::StartFailed { message: String::new() })),
                (false, false) => self.happen_to(incarnation, Event::Ended(Reason::Unresponsive)),
            },
            Work::Terminate(incarnation) => {
                self.container = None;
                self.push(Work::Ended(incarnation));
            }
            Work::End(incarnation) => {
                if self.incarnation() == incarnation {
                    self.container = None;
                }
                self.push(Work::Ended(incarnation));
            }
            Work::Ended(incarnation) => self.happen_to(incarnation, Event::Ended(Reason::Evicted)),
        }
    }

    fn launch(&mut self, incarnation: u64) {
        let present = self.record().filter(|record| record.incarnation == incarnation && record.lifecycle.is_up());
        let Some(secret) = present.map(|record| record.secret) else {
            return self.happen_to(incarnation, Event::Ended(Reason::StartFailed { message: String::new() }));
        };
        assert_eq!(self.container, None, "two containers at once");
        self.container = Some(secret);
        self.push(Work::Meet { incarnation, fresh: true });
    }

    fn begin(&mut self, ask: Ask) {
        let (now, policy) = (self.now, self.policy);
        let state = self.record().map(|record| record.lifecycle.state);
        match (ask, state) {
            (Ask::Create, None | Some(State::Destroyed)) => {
                let object = self.object();
                object.incarnation += 1;
                let (lifecycle, incarnation) = (Lifecycle::new(policy, now), object.incarnation);
                object.record = Some(Record { lifecycle, incarnation, secret: 0 });
                self.store();
                self.tell(ask, Told::Done);
            }
            (Ask::Create, Some(_)) => self.tell(ask, Told::Done),
            (Ask::Exec(_) | Ask::Stop, None | Some(State::Destroyed)) => self.tell(ask, Told::NotFound),
            (Ask::Exec(_), Some(State::Running)) => self.push(Work::Deliver(ask)),
            (Ask::Exec(_), Some(State::Starting | State::Stopping)) => self.push(Work::Begin(ask)),
            (Ask::Exec(_), Some(State::Created | State::Sleeping | State::Failed)) => {
                self.happen(Event::Wake);
                self.push(Work::Begin(ask));
            }
            (Ask::Stop, Some(_)) => {
                self.happen(Event::Stop);
                self.push(Work::Stopping(ask));
            }
            (Ask::Destroy, _) => {
                self.advance(Event::Destroy);
                self.push(Work::Destroying(ask));
            }
        }
    }

    fn on_alarm(&mut self) {
        self.alarm = None;
        if self.has_stray() {
            self.happen(Event::Loaded { container: true });
        }
        let effects = self.advance(Event::Tick);
        if effects.contains(&Effect::Wipe) {
            self.container = None;
        } else if effects.contains(&Effect::Ask) {
            let active_at = self.record().expect("it runs").lifecycle.active_at;
            let event = match self.is_well() {
                true => Event::Seen { busy: false, active_at },
                false => Event::Ended(Reason::Evicted),
            };
            self.happen(event);
        } else {
            self.carry_out(effects);
        }
        self.arm();
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
    fn ask(&mut self, asks: &[Ask]) {
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
    fn wait(&mut self) {
        while let Some(at) = self.alarm {
            self.now = self.now.max(at);
            self.load();
            self.on_alarm();
            self.settle();
        }
    }
}

/// Lives a life by a plan, and checks what is left in the end. Says how many pieces of work there were.
fn live(life: &[&[Ask]], policy: Policy, plan: Plan) -> usize {
    let mut world = World::new(plan, policy);
    life.iter().for_each(|asks| world.ask(asks));
    world.wait();

    assert_eq!(world.container, None, "a container is left");
    for (ask, runs) in &world.runs {
        assert!(*runs == 1, "{ask:?} was carried out {runs} times");
    }
    for (ask, _) in world.told.iter().filter(|(ask, told)| matches!(ask, Ask::Exec(_)) && *told == Told::Done) {
        assert_eq!(world.runs.get(ask), Some(&1), "{ask:?} is said to be done");
    }
    let destroyed =
        life.last().is_some_and(|asks| asks == &[Ask::Destroy]) && world.told.last() == Some(&(Ask::Destroy, Told::Done));
    assert!(!destroyed || world.stored.is_none(), "what is destroyed is there");
    world.steps
}

#[test]
fn a_restart_between_any_two_steps_leaks_repeats_and_revives_nothing() {
    use Ask::{Create, Destroy, Exec, Stop};

    let lives: [&[&[Ask]]; 6] = [
        &[&[Create], &[Exec(1)], &[Destroy]],
        &[&[Create], &[Exec(1), Exec(2)], &[Stop], &[Exec(3)], &[Destroy]],
        &[&[Create], &[Exec(1), Destroy], &[Destroy]],
        &[&[Create], &[Exec(1)], &[Stop, Exec(2)], &[Stop, Destroy], &[Create], &[Exec(3)], &[Destroy]],
        &[&[Create], &[Exec(1)], &[Destroy], &[Create]],
        &[&[Create], &[Exec(1)], &[Destroy, Create, Exec(2)]],
    ];
    let mortal = Policy { max_lifetime_ms: Some(60_000), ..Policy::default() };
    for (life, policy) in lives.into_iter().flat_map(|life| [(life, Policy::default()), (life, mortal)]) {
        for (number, seed) in
            [0, 0x55, 0xaa, 0xff].into_iter().enumerate().flat_map(|(number, seed)| [(number, seed), (number + 1, seed)])
        {
            let (evicted, insistent) = (number % 2 == 0, seed % 2 == 0);
            let plan = |faults| Plan { faults, evicted, insistent, seed };
            let steps = live(life, policy, plan([usize::MAX; 2]));
            // Twice, too: the second while what was left by the first is put in order.
            for first in 0..steps {
                live(life, policy, plan([first, usize::MAX]));
                for second in first + 1..first + 12 {
                    live(life, policy, plan([first, second]));
                }
            }
        }
    }
}
