//! The object restarted between any two of its steps: a small platform in memory carries out what the lifecycle asks for, one piece of work
//! between two `await`s at a time. Before each of these pieces, in turn, the object is dropped with all that it had under way. What it
//! has stored, its alarm and its container stay.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`world`] | the platform, those who ask, and time |
//! | [`object`] | what the object does, in the way of `sandbox/steps.rs`, `start.rs`, `end.rs` and `alarm.rs` |

mod object;
mod world;

use super::{BORN, RULES};
use crate::lifecycle::*;
use world::{Ask, Plan, Told, World};

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
