//! The day of many sandboxes, by the real supervisor: what they cost their platform. `docs/scale.md` reckons with these figures.

use std::{fmt, ops::Range, rc::Rc, time::Duration};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use super::{
    seconds,
    world::{Ask, Told, World},
};
use crate::lifecycle::{Instant, Policy};

const DAY: Duration = Duration::from_hours(24);

/// An object without work leaves memory after so long.
const EVICTED_AFTER: Duration = Duration::from_secs(10);

/// How many begin to work in each hour of the day, of 100.
const BUSINESS: [u64; 24] = [1, 1, 1, 1, 1, 1, 2, 3, 6, 9, 10, 9, 6, 8, 9, 9, 8, 5, 3, 2, 2, 1, 1, 1];

/// What all sandboxes together cost.
#[derive(Default)]
struct Day {
    sandboxes: usize,
    commands: usize,
    starts: usize,
    loads: usize,
    alarms: usize,
    writes: usize,
    news: usize,
    /// News for the directory in each second of the day.
    seconds: Vec<u32>,
    up: Duration,
}

impl Day {
    fn add(&mut self, world: &World, begun: Instant, up: Duration) {
        let costs = world.costs.borrow();
        self.sandboxes += 1;
        self.commands += world.runs.borrow().values().map(|runs| *runs as usize).sum::<usize>();
        self.starts += world.launches.get();
        self.loads += costs.loads;
        self.alarms += costs.alarms;
        self.writes += costs.writes;
        self.news += costs.news.len();
        self.seconds.resize(DAY.as_secs() as usize + 7_200, 0);
        for at in &costs.news {
            self.seconds[at.since(begun).as_secs() as usize] += 1;
        }
        self.up += up;
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |count: usize| count as f64 / self.sandboxes as f64;
        writeln!(formatter, "{} sandboxes, of each in a day:", self.sandboxes)?;
        for (what, count) in [
            ("commands", self.commands),
            ("starts", self.starts),
            ("loads of the object", self.loads),
            ("alarms", self.alarms),
            ("writes to its storage", self.writes),
            ("news for the directory", self.news),
        ] {
            writeln!(formatter, "{:>9.1} {what}", each(count))?;
        }
        writeln!(formatter, "{:>9.1} hours up", self.up.as_secs_f64() / 3_600.0 / self.sandboxes as f64)?;
        let mean = self.news as f64 / DAY.as_secs_f64();
        write!(formatter, "news a second: {mean:.2} on average, {} at most", self.seconds.iter().max().unwrap_or(&0))
    }
}

fn draw(dice: &mut TestRunner, range: Range<u64>) -> u64 {
    range.new_tree(dice).expect("a range has values").current()
}

/// The day of one sandbox: now and then somebody works with it for a while.
fn live(dice: &mut TestRunner, day: &mut Day) {
    let world = World::new(Policy { sleep_after_ms: Some(600_000), ..Policy::default() });
    let begun = world.now();
    let (mut number, mut up) = (0, Duration::ZERO);
    for (hour, share) in (0..).zip(BUSINESS) {
        // Four sessions a day, on average.
        if draw(dice, 0..100) >= share * 4 {
            continue;
        }
        world.pass((begun + Duration::from_secs(hour * 3_600 + draw(dice, 0..3_600))).since(world.now()));
        if !world.has_record() {
            assert_eq!(world.tell(&[Ask::Create])[0].1, Told::Done);
        }
        let woken = world.now();
        for _ in 0..draw(dice, 3..30) {
            number = number % 200 + 1;
            assert_eq!(world.tell(&[Ask::Exec(number)])[0].1, Told::Done);
            let pause = seconds(draw(dice, 1..60));
            world.pass(pause.min(EVICTED_AFTER));
            if pause > EVICTED_AFTER {
                world.restart();
                world.pass(pause - EVICTED_AFTER);
            }
        }
        let last = world.now();
        world.restart();
        world.pass(seconds(620));
        assert!(!world.has_container(), "it sleeps");
        world.restart();
        up += last.since(woken) + seconds(600);
    }
    world.pass((begun + DAY).since(world.now()));
    day.add(&world, begun, up);
}

fn simulate(sandboxes: usize) -> Day {
    let mut dice = TestRunner::deterministic();
    let mut day = Day::default();
    (0..sandboxes).for_each(|_| live(&mut dice, &mut day));
    day
}

#[test]
fn a_sandbox_costs_writes_for_its_sessions_and_nothing_while_it_sleeps() {
    let day = simulate(100);
    let sessions = day.starts;
    assert!(sessions > 200, "{day}");
    assert!(day.news <= sessions * 5 + day.sandboxes, "created, starting, running, stopping and sleeping: {day}");
    assert!(day.alarms <= sessions * 3, "the sleep, and little else: {day}");
    assert!(day.writes <= sessions * 16 + day.commands / 2, "a command is not to cost a write: {day}");

    let world: Rc<World> = World::new(Policy::default());
    world.tell(&[Ask::Create]);
    let before = (world.costs.borrow().loads, world.costs.borrow().alarms);
    world.restart();
    world.pass(DAY * 30);
    assert_eq!((world.costs.borrow().loads, world.costs.borrow().alarms), before, "nothing wakes one that nobody uses");
}

/// Prints the figures of `docs/scale.md`: `cargo test -p cabana --lib a_day_of -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes, and shows figures"]
fn a_day_of_ten_thousand_sandboxes() {
    println!("{}", simulate(10_000));
}
