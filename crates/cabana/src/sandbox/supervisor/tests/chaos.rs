//! Random operations under random faults: nothing is reported done that was not, nothing is done or started twice, nothing healthy is cut,
//! and soon after the faults have ended everything works.

use std::{rc::Rc, time::Duration};

use cabana_protocol::{Code, Error};
use proptest::prelude::*;

use super::{
    seconds,
    world::{Ask, Told, World},
};
use crate::{fault::Exit, lifecycle::Policy};

/// How soon after the last fault a sandbox works. Attempts of a start are at most 4 s apart, and probes of an agent 2 s;
/// a container out of sight is waited for 3 s, and a reset takes one.
const SOON: Duration = Duration::from_secs(5);

const CONNECTION_LOST: &str = "Network connection lost.";

#[derive(Debug, Clone)]
enum Act {
    Exec,
    Look,
    Stop,
    /// Destroys the sandbox and makes it anew.
    Remake,
    Pass(Duration),
    /// The object leaves memory, with what it has under way.
    Restart,
    /// The container's program crashes.
    Crash,
    /// The platform ends the container.
    Evict,
    /// The platform loses sight of the container.
    LoseSight,
    Refused(bool),
    Stalled(bool),
    /// One connection in so many fails.
    Dropped(usize),
    /// So many starts come to nothing.
    Lacking(usize),
    /// So many starts are reported to have come to nothing, and have not.
    Lies(usize),
    Slow(Duration),
    Endless(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let short = (0..4_000_u64).prop_map(Duration::from_millis);
    let long = (4..90_u64).prop_map(Duration::from_secs);
    prop_oneof![
        6 => Just(Act::Exec),
        2 => Just(Act::Look),
        1 => Just(Act::Stop),
        1 => Just(Act::Remake),
        4 => short.clone().prop_map(Act::Pass),
        3 => long.prop_map(Act::Pass),
        1 => Just(Act::Restart),
        1 => Just(Act::Crash),
        1 => Just(Act::Evict),
        1 => Just(Act::LoseSight),
        2 => any::<bool>().prop_map(Act::Refused),
        2 => any::<bool>().prop_map(Act::Stalled),
        1 => (0..6_usize).prop_map(Act::Dropped),
        1 => (0..4_usize).prop_map(Act::Lacking),
        1 => (0..3_usize).prop_map(Act::Lies),
        1 => short.prop_map(Act::Slow),
        1 => any::<bool>().prop_map(Act::Endless),
    ]
}

fn carry_out(world: &Rc<World>, act: &Act, number: &mut u8) {
    match act {
        Act::Exec => {
            *number += 1;
            world.ask(&[Ask::Exec(*number)]);
        }
        Act::Look => {
            let object = world.object();
            world.ask_nothing(async move { drop(object.look().await) });
        }
        Act::Stop => world.ask(&[Ask::Stop]),
        Act::Remake => {
            world.ask(&[Ask::Destroy]);
            // Creating is refused while another is there; the next one that is asked for makes up for it.
            world.pass(seconds(1));
            world.ask(&[Ask::Create]);
        }
        Act::Pass(span) => world.pass(*span),
        Act::Restart => world.restart(),
        Act::Crash => world.end_container(Exit::parse("Container exited with unexpected exit code: 137".to_owned())),
        Act::Evict => world.end_container(Exit::parse("runtime signalled the container to exit: 15".to_owned())),
        Act::LoseSight if world.has_container() => world.lose_sight(Exit::parse(CONNECTION_LOST.to_owned())),
        Act::LoseSight => {}
        Act::Refused(refused) => world.fault(|faults| faults.refused = *refused),
        Act::Stalled(stalled) => world.fault(|faults| faults.stalled = *stalled),
        Act::Dropped(every) => world.fault(|faults| faults.dropped = *every),
        Act::Lacking(starts) => {
            let words = "the container connection is temporarily unavailable, try again".to_owned();
            world.fault(|faults| faults.lacking = Some((*starts, words)));
        }
        Act::Lies(starts) => world.fault(|faults| faults.lies = Some((*starts, CONNECTION_LOST.to_owned()))),
        Act::Slow(span) => world.fault(|faults| faults.slow = *span),
        Act::Endless(endless) => world.fault(|faults| faults.endless = *endless),
    }
}

/// How long it takes until a command is carried out, the pauses of a sandbox that has crashed again and again left out.
fn time_to_work(world: &Rc<World>) -> Duration {
    let mut paused = Duration::ZERO;
    let begun = world.now();
    for number in 200..=u8::MAX {
        let told = world.tell(&[Ask::Exec(number)]);
        match &told[0].1 {
            Told::Done => return world.now().since(begun).saturating_sub(paused),
            Told::Failed(error) if error.code == Code::NotFound => drop(world.tell(&[Ask::Create])),
            Told::Failed(error) => {
                let pause = Duration::from_millis(error.retry_after_ms().unwrap_or(100));
                if is_backing_off(error) {
                    paused += pause;
                }
                world.pass(pause.min(if is_backing_off(error) { pause } else { Duration::from_millis(250) }));
            }
            Told::Lost => world.pass(Duration::from_millis(250)),
        }
    }
    panic!("it does not work again: {:?}", world.told.borrow().last());
}

fn is_backing_off(error: &Error) -> bool {
    error.message.contains("failed again and again")
}

fn live(acts: &[Act], seed: usize) {
    let world = World::new(Policy { keep_alive: true, ..Policy::default() });
    world.seed.set(seed);
    world.tell(&[Ask::Create]);
    let mut number = 0;
    for act in acts {
        carry_out(&world, act, &mut number);
    }
    world.calm();
    let took = time_to_work(&world);
    // What is under way comes to its end, too.
    world.pass(seconds(60));
    assert_eq!(*world.violations.borrow(), Vec::<String>::new());
    let runs = world.runs.borrow();
    for (ask, told) in world.told.borrow().iter() {
        if let (Ask::Exec(number), Told::Done) = (ask, told) {
            assert_eq!(runs.get(number), Some(&1), "{number} is said to be done");
        }
    }
    assert!(runs.values().all(|runs| *runs == 1), "a command was carried out twice: {runs:?}");
    assert!(took <= SOON, "it took {took:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_faults_lose_repeat_and_cut_nothing(acts in prop::collection::vec(act(), 1..60), seed in 0..4_usize) {
        live(&acts, seed);
    }
}
