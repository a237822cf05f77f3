//! Files outlive their container, and what is lost is said.

use std::{rc::Rc, time::Duration};

use cabana_protocol::{
    Code,
    sandbox::{Reason, State},
};

use super::{
    Ask::{Create, Exec, Stop},
    error, kill_everywhere, look, seconds, shown,
    world::{Ask, Told, World},
};
use crate::{fault::Exit, lifecycle::Policy};

const SLEEPY: Policy = Policy {
    sleep_after_ms: Some(5_000),
    keep_alive: false,
    max_lifetime_ms: None,
    ephemeral: false,
    snapshot_every_ms: None,
    keep_snapshots: None,
    keep_snapshots_ms: None,
};

/// A world with snapshots in which a sandbox has carried out command 1.
fn used(policy: Policy) -> Rc<World> {
    let world = World::with_snapshots(policy);
    assert_eq!(world.tell(&[Create]), [(Create, Told::Done)]);
    assert_eq!(world.tell(&[Exec(1)]), [(Exec(1), Told::Done)]);
    world
}

fn done(world: &Rc<World>, ask: Ask) {
    assert_eq!(world.tell(&[ask]), [(ask, Told::Done)]);
}

#[test]
fn files_survive_sleep_and_stop() {
    let world = used(SLEEPY);
    world.pass(seconds(30));
    assert_eq!((shown(&world).0, world.has_container(), look(&world).lost_since), (State::Sleeping, false, None));
    done(&world, Exec(2));
    done(&world, Stop);
    done(&world, Exec(3));
    assert_eq!((world.files(), world.launches.get(), world.snapshots_taken()), ([1, 2, 3].into(), 3, 2));
}

#[test]
fn files_of_an_ephemeral_sandbox_go_with_its_container() {
    let world = used(Policy { ephemeral: true, ..SLEEPY });
    world.pass(seconds(30));
    done(&world, Exec(2));
    assert_eq!((world.files(), world.snapshots_taken(), look(&world).lost_since), ([2].into(), 0, None));
}

#[test]
fn a_sandbox_whose_snapshot_fails_stays_up_and_is_saved_later() {
    let world = used(SLEEPY);
    world.fault(|faults| faults.unsavable = true);
    world.pass(seconds(300));
    let (state, reason, _) = shown(&world);
    assert_eq!((state, reason), (State::Running, Some(Reason::SnapshotFailed { message: "no room".to_owned() })));
    let failure = look(&world).snapshot_failure.expect("it is shown");
    assert_eq!(failure.message, "no room");
    assert!(world.attempts.get() >= 3 && world.attempts.get() <= 6, "{} attempts in five minutes", world.attempts.get());
    let told = world.tell(&[Stop]);
    assert_eq!((error(&told).code, error(&told).retryable), (Code::ContainerNotReady, true));
    assert_eq!(error(&told).details.as_ref().unwrap()["reason"], "snapshot_failed");
    done(&world, Exec(2));
    assert_eq!((world.files(), world.launches.get()), ([1, 2].into(), 1));
    world.fault(|faults| faults.unsavable = false);
    world.pass(seconds(1_200));
    assert_eq!((shown(&world).0, look(&world).snapshot_failure), (State::Sleeping, None));
    done(&world, Exec(3));
    assert_eq!((world.files(), look(&world).lost_since), ([1, 2, 3].into(), None));
}

#[test]
fn a_sandbox_that_is_needed_while_it_is_saved_does_not_sleep() {
    let world = used(SLEEPY);
    world.fault(|faults| faults.snapshot_takes = seconds(11));
    while shown(&world).0 != State::Stopping {
        world.pass(Duration::from_millis(100));
    }
    let begun = world.now();
    done(&world, Exec(2));
    assert!(world.now().since(begun) < seconds(1), "it waits for no snapshot");
    world.pass(seconds(60));
    assert_eq!(shown(&world).0, State::Sleeping);
    done(&world, Exec(3));
    assert_eq!((world.files(), look(&world).lost_since), ([1, 2, 3].into(), None));
}

#[test]
fn a_stop_waits_for_a_slow_snapshot() {
    let world = used(SLEEPY);
    world.fault(|faults| faults.snapshot_takes = seconds(11));
    done(&world, Stop);
    assert_eq!(shown(&world).0, State::Sleeping);
    done(&world, Exec(2));
    assert_eq!(world.files(), [1, 2].into());
}

#[test]
fn a_snapshot_that_never_ends_is_given_up_and_the_sandbox_stays_up() {
    let world = used(SLEEPY);
    world.fault(|faults| faults.snapshot_takes = Duration::from_hours(24));
    world.pass(seconds(600));
    assert!(look(&world).snapshot_failure.is_some_and(|failure| failure.message.contains("within 180000 ms")));
    assert!(world.has_container());
    world.fault(|faults| faults.snapshot_takes = Duration::ZERO);
    world.pass(seconds(1_200));
    assert_eq!(shown(&world).0, State::Sleeping);
}

#[test]
fn a_missing_snapshot_is_said_and_the_sandbox_starts_without_its_files() {
    let world = used(SLEEPY);
    done(&world, Stop);
    world.forget_snapshots();
    done(&world, Exec(2));
    let sandbox = look(&world);
    assert_eq!((world.files(), sandbox.saved_at, sandbox.state), ([2].into(), None, State::Running));
    assert_eq!(sandbox.lost_since, Some(sandbox.created_at));
}

#[test]
fn a_crash_loses_at_most_what_was_written_since_the_last_snapshot() {
    let world = used(Policy { keep_alive: true, snapshot_every_ms: Some(60_000), ..SLEEPY });
    world.pass(seconds(120));
    assert_eq!(world.snapshots_taken(), 1, "nothing was done since");
    let saved_at = look(&world).saved_at;
    world.end_container(Exit::Crashed("killed".to_owned()));
    done(&world, Exec(2));
    assert_eq!((world.files(), look(&world).lost_since), ([1, 2].into(), saved_at.clone()));
    world.end_container(Exit::Crashed("killed".to_owned()));
    done(&world, Exec(3));
    assert_eq!((world.files(), look(&world).lost_since), ([1, 3].into(), saved_at));
}

/// Lives a life, the object killed before these effects, and checks that every file is there whose command was said to be done, or that it
/// is said to be lost. Says how many effects there were.
fn live(life: &[&[Ask]], kills: &[usize], seed: usize) -> usize {
    let world = World::with_snapshots(SLEEPY);
    world.doom(kills, seed);
    for asks in life {
        world.insist(asks, |ask| ask == Create);
        world.pass(seconds(1));
    }
    world.pass(seconds(300));
    // An object that was killed before its alarm was set is loaded by the next request.
    drop(world.object());
    world.pass(seconds(300));
    let effects = world.effects.get();
    if !world.has_record() {
        // It was killed in the very moment in which the sandbox was made.
        return effects;
    }
    assert_eq!(shown(&world).0, State::Sleeping, "{kills:?} {seed} {life:?}");
    while world.tell(&[Exec(99)])[0].1 != Told::Done {
        world.pass(seconds(1));
    }
    let (files, lost_since) = (world.files(), look(&world).lost_since);
    let trace = world.trace.borrow().join(" ");
    for (ask, told) in world.told.borrow().iter() {
        if let (Exec(number), Told::Done) = (ask, told) {
            assert!(
                files.contains(number) || lost_since.is_some(),
                "{number} is lost silently: {kills:?} {seed} {life:?}: {trace}"
            );
        }
    }
    // Without a container that goes with its object nothing is lost at all.
    let outlived = seed.is_multiple_of(2) && world.cut.get() == 0;
    assert!(
        !outlived || lost_since.is_none(),
        "nothing has ended a container, and files are lost: {kills:?} {seed} {life:?}: {trace}"
    );
    effects
}

#[test]
fn a_restart_between_any_two_effects_loses_no_file() {
    let lives: [&[&[Ask]]; 3] = [
        &[&[Create], &[Exec(1)], &[Stop], &[Exec(2)]],
        &[&[Create], &[Exec(1)], &[Stop, Exec(2)], &[Exec(3)]],
        &[&[Create], &[Exec(1)], &[], &[], &[], &[], &[], &[], &[Exec(2)]],
    ];
    for life in lives {
        kill_everywhere(6, |kills, seed| live(life, kills, seed));
    }
}
