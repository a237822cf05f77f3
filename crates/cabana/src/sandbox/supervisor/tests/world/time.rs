//! The time of the world: who asks waits for it to pass, and everything happens in it.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

use futures_util::FutureExt;

use super::{Ask, Told, World};
use crate::lifecycle::Instant;

/// More rounds than anything takes.
const ENOUGH: usize = 50_000;

impl World {
    /// Kills the object before these effects, in an order of its tasks that the seed says.
    pub(in super::super) fn doom(&self, kills: &[usize], seed: usize) {
        self.kills.borrow_mut().extend(kills);
        self.seed.set(seed);
        self.evicts.set(seed % 2 == 1);
    }

    /// Asks for this until nothing is refused any more that may be tried again, and of what was lost, what `again` says.
    pub(in super::super) fn insist(self: &Rc<Self>, asks: &[Ask], again: impl Fn(Ask) -> bool) {
        let mut asks = asks.to_vec();
        while !asks.is_empty() {
            let told = self.tell(&asks).into_iter();
            let repeated = told.filter(|(ask, told)| match told {
                Told::Done => false,
                Told::Lost => again(*ask),
                Told::Failed(error) => error.retryable,
            });
            asks = repeated.map(|(ask, _)| ask).collect();
        }
    }

    /// Asks for this all at once.
    pub(in super::super) fn ask(self: &Rc<Self>, asks: &[Ask]) {
        asks.iter().for_each(|ask| self.begin(*ask));
    }

    /// Asks for this, and lets time pass until it is answered. Returns what was said.
    pub(in super::super) fn tell(self: &Rc<Self>, asks: &[Ask]) -> Vec<(Ask, Told)> {
        if self.dying.get() {
            self.die();
            self.bury();
        }
        self.rounds.set(0);
        let before = self.told.borrow().len();
        self.ask(asks);
        while self.told.borrow().len() < before + asks.len() {
            assert!(self.step(None), "nobody answers");
        }
        self.told.borrow()[before..].to_vec()
    }

    /// Has the object do something, and lets time pass until it is done.
    pub(in super::super) fn finish<T: 'static>(self: &Rc<Self>, work: impl Future<Output = T> + 'static) -> T {
        let outcome = Rc::new(RefCell::new(None));
        let result = Rc::clone(&outcome);
        self.push(None, async move { drop(result.replace(Some(work.await))) }.boxed_local());
        loop {
            if let Some(outcome) = outcome.take() {
                return outcome;
            }
            assert!(self.step(None), "it never ends");
        }
    }

    /// Lets so much time pass, the alarm's included.
    pub(in super::super) fn pass(self: &Rc<Self>, span: Duration) {
        self.rounds.set(0);
        let end = self.now() + span;
        while self.step(Some(end)) {}
        self.now.set(self.now().max(end));
    }

    /// Lets time pass until nothing is to happen any more, but for what lasts.
    pub(in super::super) fn rest(self: &Rc<Self>) {
        let end = self.now() + Duration::from_hours(48);
        while self.step(Some(end)) {}
    }

    /// One round of all tasks. Where nothing moves any more, time goes on to the next timer or to the alarm. False where there is neither,
    /// or not before `end`.
    fn step(self: &Rc<Self>, end: Option<Instant>) -> bool {
        for _ in 0..3 {
            if self.poll_all() {
                return true;
            }
        }
        if self.dying.get() {
            self.die();
            self.bury();
            return true;
        }
        let alarm = self.alarm.get();
        let next = self.next_timer.take().into_iter().chain(alarm).chain(self.resets_at.get()).min();
        let Some(next) = next.filter(|next| end.is_none_or(|end| *next <= end)) else { return false };
        self.now.set(self.now().max(next));
        self.commit();
        if alarm.is_some_and(|at| at <= self.now()) {
            self.go_off();
        }
        true
    }

    fn go_off(self: &Rc<Self>) {
        self.alarm.set(None);
        self.costs.borrow_mut().alarms += 1;
        self.commit();
        self.firing.set(true);
        let object = self.object();
        let world = Rc::clone(self);
        let work = async move {
            object.alarm_went_off();
            if object.tick().await.is_ok_and(|forgotten| forgotten) || object.store().is_empty() {
                world.free(&object);
            }
            object.arm().await.expect("the alarm is set");
            if object.platform().generation == world.generation.get() && !world.dying.get() {
                world.firing.set(false);
            }
        };
        self.push(None, work.boxed_local());
    }

    /// Polls every task once. True where anything has moved.
    fn poll_all(&self) -> bool {
        let rounds = self.effects.get();
        self.rounds.set(self.rounds.get() + 1);
        assert!(self.rounds.get() < ENOUGH, "it never comes to rest: {:?} {}", self.now(), self.trace.borrow().join(" "));
        let mut tasks: Vec<_> = self.tasks.take().into_iter().chain(self.fresh.take()).collect();
        let shift = if tasks.is_empty() { 0 } else { self.seed.get() % tasks.len() };
        tasks.rotate_left(shift);
        let (count, mut left) = (tasks.len(), Vec::new());
        for mut task in tasks {
            if task.work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                left.push(task);
            }
        }
        let moved = left.len() != count || self.effects.get() != rounds || !self.fresh.borrow().is_empty();
        self.tasks.borrow_mut().extend(left);
        if self.resets_at.get().is_some_and(|at| at <= self.now()) {
            self.die();
        }
        self.bury();
        moved
    }
}
