//! A start goes on for as long as the deployment says, and no shorter.

use std::{rc::Rc, time::Duration};

use cabana_protocol::sandbox::State;

use super::{
    seconds, shown,
    world::{Ask, World},
};
use crate::lifecycle::Policy;

const NO_INSTANCE: &str = "there is no container instance that can be provided to this durable object";

/// How long a start may take.
const LIMITS: [Duration; 5] = [seconds(3), seconds(20), seconds(45), seconds(120), seconds(600)];

/// A sandbox that is asked for while the platform has no container for it, under this limit.
fn waiting(limit: Duration) -> Rc<World> {
    let mut world = World::new(Policy { keep_alive: true, ..Policy::default() });
    Rc::get_mut(&mut world).expect("nobody has it yet").rules.start_limit = limit;
    world.fault(|faults| faults.lacking = Some((usize::MAX, NO_INSTANCE.to_owned())));
    world.tell(&[Ask::Create]);
    world.ask(&[Ask::Exec(1)]);
    world
}

#[test]
fn a_container_that_comes_when_the_time_is_nearly_over_is_used() {
    for limit in LIMITS {
        let world = waiting(limit);
        world.pass(limit.checked_sub(seconds(2)).expect("a limit of seconds"));
        assert_eq!((shown(&world).0, world.launches.get()), (State::Starting, 0), "{limit:?}");
        world.fault(|faults| faults.lacking = None);
        world.pass(seconds(2));
        assert_eq!((shown(&world).0, world.launches.get()), (State::Running, 1), "{limit:?}");
    }
}

#[test]
fn a_start_for_which_no_container_comes_ends_with_its_time() {
    for limit in LIMITS {
        let world = waiting(limit);
        world.pass(limit.checked_sub(seconds(2)).expect("a limit of seconds"));
        assert_eq!(shown(&world).0, State::Starting, "{limit:?}");
        world.pass(seconds(3));
        assert_eq!((shown(&world).0, world.launches.get()), (State::Failed, 0), "{limit:?}");
    }
}
