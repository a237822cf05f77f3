//! The world as one object sees it.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use cabana_protocol::{
    Error, Tenant,
    exec::Command,
    health::Health,
    network::NetworkLayers,
    sandbox::{LifeEvent, State},
};
use futures_util::{
    FutureExt,
    future::{self, LocalBoxFuture},
};

use super::{super::super::Rows, Running, World};
use crate::{
    directory::Entry,
    fault::Exit,
    hooks::Turn,
    lifecycle::{Instant, Lifecycle, Probe},
    sandbox::{
        platform::{Call, Launch, Platform},
        record::{NetworkRecord, Record},
    },
    tenant::place::Place,
};

/// A future that is over at a time of the world.
struct Timer {
    world: Rc<World>,
    at: Instant,
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.world.now() >= self.at {
            return Poll::Ready(());
        }
        let next = self.world.next_timer.get();
        self.world.next_timer.set(Some(next.map_or(self.at, |next| next.min(self.at))));
        Poll::Pending
    }
}

/// The world as one object sees it.
pub(in super::super) struct Small {
    pub(super) world: Rc<World>,
    pub(super) generation: u64,
}

impl Small {
    fn timer(&self, span: Duration) -> Timer {
        Timer { world: Rc::clone(&self.world), at: self.world.now() + span }
    }
}

impl Platform for Small {
    fn now(&self) -> Instant {
        self.world.now()
    }

    fn sleep(&self, span: Duration) -> LocalBoxFuture<'static, ()> {
        self.timer(span).boxed_local()
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        if self.generation == self.world.generation.get() {
            self.world.push(None, work);
        }
    }

    fn reset(&self, _: &str) {
        if self.world.acts(self.generation, "reset") {
            self.world.resets.set(self.world.resets.get() + 1);
            self.world.resets_at.set(Some(self.world.now() + Duration::from_secs(1)));
        }
    }

    fn running(&self) -> bool {
        self.world.has_container() && !self.world.lost.get()
    }

    fn start(&self, launch: &Launch) -> Result<(), String> {
        let world = &self.world;
        if !world.acts(self.generation, "start") {
            return Ok(());
        }
        // The platform has one container for an object: it replaces one that it has lost sight of.
        assert!(!world.has_container() || world.lost.get(), "two containers at once");
        if !world.end_asked.get() {
            world.check_cut("started anew");
        }
        world.lost.set(false);
        let mut faults = world.faults.borrow_mut();
        if let Some((left, words)) = faults.lacking.as_mut().filter(|(left, _)| *left > 0) {
            *left -= 1;
            world.exit.replace(Exit::parse(words.clone()));
            return Ok(());
        }
        let Some(files) = world.files_of(launch.snapshot.as_deref()) else {
            world.exit.replace(Exit::parse(format!("Snapshot {:?} was not found.", launch.snapshot)));
            return Ok(());
        };
        world.launches.set(world.launches.get() + 1);
        world.end_asked.set(world.ends_asked.get() > 0);
        let secret = launch.env["CABANA_AGENT_SECRET"].clone();
        let ready_at = world.now() + Duration::from_millis(3) + faults.slow;
        world.container.replace(Some(Running { secret, ready_at, files }));
        if let Some((left, words)) = faults.lies.as_mut().filter(|(left, _)| *left > 0) {
            *left -= 1;
            world.lose_sight(Exit::parse(words.clone()));
        }
        Ok(())
    }

    fn exited(&self) -> LocalBoxFuture<'static, Exit> {
        let world = Rc::clone(&self.world);
        let poll = self.timer(Duration::ZERO);
        async move {
            poll.await;
            while world.has_container() && !world.lost.get() {
                Timer { world: Rc::clone(&world), at: world.now() + Duration::from_millis(100) }.await;
            }
            world.exit.borrow().clone()
        }
        .boxed_local()
    }

    fn terminate(&self) -> Result<(), String> {
        if !self.world.acts(self.generation, "terminate") {
            return Ok(());
        }
        if self.world.faults.borrow().endless {
            self.world.terminated.replace(self.world.secret());
        } else {
            self.world.check_cut("asked to end");
            self.world.end_container(Exit::Evicted);
        }
        Ok(())
    }

    fn destroy(&self) -> Call {
        let (world, generation, soon) = (Rc::clone(&self.world), self.generation, self.timer(Duration::from_millis(1)));
        async move {
            soon.await;
            if !world.acts(generation, "destroy") {
                return futures_util::future::pending().await;
            }
            let meant = world.secret();
            world.check_cut("ended");
            while world.faults.borrow().endless {
                Timer { world: Rc::clone(&world), at: world.now() + Duration::from_millis(100) }.await;
            }
            // A call that was held up does not end a container that was started after it.
            if meant.is_some() && meant == world.secret() {
                world.end_container(Exit::Evicted);
            }
            Ok(())
        }
        .boxed_local()
    }

    fn set_inactivity_timeout(&self, _: Duration) -> Call {
        self.world.outlives.set(true);
        async { Ok(()) }.boxed_local()
    }

    fn layers(&self, _: &str, network: &NetworkRecord) -> NetworkLayers {
        NetworkLayers { sandbox: network.wanted.clone(), project: network.project.clone(), kind: None }
    }

    fn set_rules(&self, _: &Tenant, _: &NetworkLayers) -> Call {
        let unanswered = self.world.faults.borrow().unruled;
        async move { if unanswered { future::pending().await } else { Ok(()) } }.boxed_local()
    }

    fn quiesce(&self, _: &str, _: Option<Command>) -> Call {
        let (world, generation, soon) = (Rc::clone(&self.world), self.generation, self.timer(Duration::from_millis(1)));
        async move {
            soon.await;
            world.acts(generation, "quiesce");
            Ok(())
        }
        .boxed_local()
    }

    fn sync(&self) -> Call {
        self.timer(Duration::from_millis(1)).map(Ok).boxed_local()
    }

    /// Holds what there is when it begins.
    fn snapshot(&self) -> LocalBoxFuture<'static, Result<(String, u64), String>> {
        let (world, generation) = (Rc::clone(&self.world), self.generation);
        let takes = self.timer(Duration::from_millis(2) + world.faults.borrow().snapshot_takes);
        async move {
            let files = world.files();
            world.attempts.set(world.attempts.get() + 1);
            takes.await;
            if !world.acts(generation, "snapshot") {
                return futures_util::future::pending().await;
            }
            if world.faults.borrow().unsavable || !world.has_container() {
                return Err("no room".to_owned());
            }
            Ok((world.keep(files), 0))
        }
        .boxed_local()
    }

    fn probe(&self, secret: &str, limit: Duration) -> LocalBoxFuture<'static, Probe> {
        let (world, secret) = (Rc::clone(&self.world), secret.to_owned());
        let (soon, late) = (self.timer(Duration::from_millis(1)), self.timer(limit));
        async move {
            soon.await;
            world.probes.set(world.probes.get() + 1);
            if world.faults.borrow().stalled {
                late.await;
                return Probe::TimedOut;
            }
            if !world.reaches(&secret) {
                let other = world.container.borrow().as_ref().is_some_and(|running| running.secret != secret);
                return if other && !world.faults.borrow().refused { Probe::WrongAgent } else { Probe::Unreachable };
            }
            let health: Health =
                serde_json::from_str(r#"{"status":"ok","version":"1","protocol":1,"incarnation":"a","idle_ms":86400000}"#)
                    .unwrap();
            if world.faults.borrow().older { Probe::OlderAgent(health) } else { Probe::Healthy(health) }
        }
        .boxed_local()
    }

    fn acquire_running(&self, _: &Tenant) -> LocalBoxFuture<'static, Result<(), Error>> {
        async { Ok(()) }.boxed_local()
    }

    fn release(&self, _: Place, _: &Tenant) {}

    fn moved(&self, from: State, event: &LifeEvent) {
        self.world.turns.borrow_mut().extend(Turn::of(from, event));
    }

    fn alarm(&self) -> LocalBoxFuture<'static, Result<Option<Instant>, Error>> {
        let alarm = self.world.alarm.get();
        async move { Ok(alarm) }.boxed_local()
    }

    fn set_alarm(&self, at: Option<Instant>) -> LocalBoxFuture<'static, Result<(), Error>> {
        self.world.costs.borrow_mut().writes += 1;
        if self.world.writes(self.generation, "set_alarm") {
            self.world.alarm.set(at);
        }
        async { Ok(()) }.boxed_local()
    }
}

/// The storage as one object sees it.
pub(in super::super) struct Shelf {
    pub(super) world: Rc<World>,
    pub(super) generation: u64,
}

impl Rows for Shelf {
    fn load(&self) -> Result<Option<Record>, Error> {
        // What is not stored of it is lost.
        let stored = self.world.stored.borrow().clone();
        let reread = |lifecycle: &Lifecycle| serde_json::from_str(&serde_json::to_string(lifecycle).unwrap()).unwrap();
        Ok(stored.map(|record| Record { lifecycle: reread(&record.lifecycle), ..record }))
    }

    fn save(&self, record: &Record, entry: Option<&Entry>, _: Option<&LifeEvent>) -> Result<(), Error> {
        let mut costs = self.world.costs.borrow_mut();
        costs.writes += 1;
        costs.news.extend(entry.map(|_| self.world.now()));
        drop(costs);
        if self.world.writes(self.generation, "save") {
            self.world.stored.replace(Some(record.clone()));
        }
        Ok(())
    }

    fn remove(&self, _: Option<&Entry>) -> Result<(), Error> {
        if self.world.writes(self.generation, "remove") {
            self.world.stored.replace(None);
        }
        Ok(())
    }

    fn reset_at(&self) -> Result<Option<Instant>, Error> {
        Ok(self.world.reset_at.get())
    }

    fn note_reset(&self, at: Instant) -> Result<(), Error> {
        if self.world.writes(self.generation, "note_reset") {
            self.world.reset_at.set(Some(at));
        }
        Ok(())
    }
}
