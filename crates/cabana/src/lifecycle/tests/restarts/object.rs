//! What the object does between two `await`s.

use super::*;

/// What the object does between two `await`s. The number says for which incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
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
pub(super) struct Record {
    pub(super) lifecycle: Lifecycle,
    pub(super) incarnation: u64,
    /// Drawn anew for each start; here they are counted.
    pub(super) secret: u64,
}

/// The object's memory.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) record: Option<Record>,
    /// The highest incarnation since it came into memory.
    pub(super) incarnation: u64,
    pub(super) work: Vec<Work>,
}

impl World {
    pub(super) fn happen(&mut self, event: Event) {
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

    pub(super) fn tell(&mut self, ask: Ask, told: Told) {
        self.told.push((ask, told));
    }

    /// Whether the agent of the present start is there.
    fn is_well(&self) -> bool {
        self.record().is_some_and(|record| self.container == Some(record.secret))
    }

    pub(super) fn run(&mut self, work: Work) {
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

    pub(super) fn on_alarm(&mut self) {
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
}
