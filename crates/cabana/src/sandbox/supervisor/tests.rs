//! The real supervisor in a small world ([`world`]): what it makes of a platform that fails, and of being killed between any two of its
//! effects.

mod chaos;
mod patience;
mod rules;
mod saving;
mod scale;
mod world;

use std::{rc::Rc, time::Duration};

use cabana_protocol::{
    Code, Error,
    sandbox::{Reason, State},
};

use self::world::{Ask, Told, World};
use crate::{fault::Exit, hooks::Turn, lifecycle::Policy};

use Ask::{Create, Destroy, Exec, Stop};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A world in which a sandbox runs.
fn running() -> Rc<World> {
    let world = World::new(Policy { keep_alive: true, ..Policy::default() });
    assert_eq!(world.tell(&[Create]), [(Create, Told::Done)]);
    assert_eq!(world.tell(&[Exec(0)]), [(Exec(0), Told::Done)]);
    world
}

fn error(told: &[(Ask, Told)]) -> &Error {
    match &told[0].1 {
        Told::Failed(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

/// The state, the reason and the last failure, as stored.
fn shown(world: &Rc<World>) -> (State, Option<Reason>, Option<Reason>) {
    let lifecycle = world.record().lifecycle;
    (lifecycle.state, lifecycle.reason, lifecycle.failure.map(|(reason, _)| reason))
}

fn look(world: &Rc<World>) -> cabana_protocol::sandbox::Sandbox {
    let object = world.object();
    world.finish(async move { object.look().await }).expect("there is a sandbox")
}

#[test]
fn hooks_hear_of_each_start_and_each_end() {
    let world = running();
    assert_eq!(world.tell(&[Stop]), [(Stop, Told::Done)]);
    assert_eq!(world.tell(&[Exec(1)]), [(Exec(1), Told::Done)]);
    assert_eq!(world.tell(&[Destroy]), [(Destroy, Told::Done)]);
    let turns: Vec<_> = world
        .turns
        .take()
        .into_iter()
        .map(|turn| match turn {
            Turn::Started => None,
            Turn::Stopped(end) => Some((end.state, end.reason)),
        })
        .collect();
    let ends = [(State::Sleeping, Reason::StoppedByCaller), (State::Destroyed, Reason::DestroyedByCaller)];
    let [slept, destroyed] = ends.map(|(state, reason)| Some((state, Some(reason))));
    assert_eq!(turns, [None, slept, None, destroyed]);
}

#[test]
fn a_look_over_a_broken_network_harms_nothing() {
    let world = running();
    for stalled in [false, true] {
        world.fault(|faults| (faults.refused, faults.stalled) = (!stalled, stalled));
        for _ in 0..20 {
            assert_eq!(look(&world).state, State::Running);
            world.pass(seconds(1));
        }
        world.fault(|faults| (faults.refused, faults.stalled) = (false, false));
    }
    assert_eq!(world.tell(&[Exec(1)]), [(Exec(1), Told::Done)]);
    assert_eq!((world.launches.get(), world.resets.get(), shown(&world).2), (1, 0, None));
}

#[test]
fn an_outage_of_half_a_minute_delays_requests_and_ends_nothing() {
    let world = running();
    world.pass(seconds(10));
    world.fault(|faults| faults.refused = true);
    let told = world.tell(&[Exec(1)]);
    assert_eq!((error(&told).code, error(&told).retryable), (Code::ContainerNotReady, true), "{told:?}");
    world.ask(&[Exec(2)]);
    world.pass(seconds(10));
    world.fault(|faults| faults.refused = false);
    world.pass(seconds(5));
    assert_eq!(world.told.borrow().last(), Some(&(Exec(2), Told::Done)), "who waited is served");
    assert_eq!((world.launches.get(), world.resets.get(), shown(&world).2), (1, 0, None));
}

#[test]
fn an_agent_that_is_out_of_reach_for_a_minute_is_replaced_after_one_reset() {
    for stalled in [false, true] {
        let world = running();
        world.fault(|faults| (faults.refused, faults.stalled) = (!stalled, stalled));
        world.pass(seconds(10));
        world.ask(&[Exec(1)]);
        world.pass(seconds(50));
        assert_eq!((world.resets.get(), world.launches.get()), (0, 1), "not before a minute is over");
        world.pass(seconds(40));
        assert_eq!((world.resets.get(), world.launches.get()), (1, 1), "the object is reset first");
        world.ask(&[Exec(2)]);
        world.pass(seconds(60));
        world.fault(|faults| (faults.refused, faults.stalled) = (false, false));
        assert_eq!(shown(&world).2, Some(Reason::Unresponsive));
        world.pass(seconds(10));
        assert_eq!(world.tell(&[Exec(3)]), [(Exec(3), Told::Done)]);
        assert_eq!((world.resets.get(), world.launches.get()), (1, 2));
    }
}

#[test]
fn a_container_that_is_out_of_reach_only_for_this_object_survives_its_reset() {
    let world = running();
    world.fault(|faults| faults.refused = true);
    world.pass(seconds(10));
    world.ask(&[Exec(1)]);
    while world.resets.get() == 0 {
        world.pass(seconds(1));
    }
    world.fault(|faults| faults.refused = false);
    world.pass(seconds(2));
    assert_eq!(world.tell(&[Exec(2)]), [(Exec(2), Told::Done)]);
    assert_eq!((world.launches.get(), shown(&world).2), (1, None));
}

#[test]
fn a_crowd_of_silent_calls_has_one_prober() {
    let world = running();
    let object = world.object();
    let leases: Vec<_> = (0..200)
        .map(|_| {
            world.finish({
                let object = object.clone();
                async move { object.ready().await.ok() }
            })
        })
        .collect();
    let before = world.probes.get();
    world.pass(seconds(100));
    let probes = world.probes.get() - before;
    assert!((9..=11).contains(&probes), "{probes} probes for 100 s of silence");
    drop(leases);
    let before = world.probes.get();
    world.pass(seconds(100));
    assert_eq!(world.probes.get(), before, "nobody waits, and nobody asks");
}

#[test]
fn the_answer_of_any_call_is_proof_of_life() {
    let world = running();
    let object = world.object();
    let lease = world
        .finish({
            let object = object.clone();
            async move { object.ready().await }
        })
        .ok()
        .unwrap();
    world.fault(|faults| faults.refused = true);
    for _ in 0..300 {
        world.pass(seconds(1));
        lease.answered();
    }
    assert_eq!((world.resets.get(), shown(&world)), (0, (State::Running, Some(Reason::Woken), None)));
}

#[test]
fn a_lease_is_lost_with_its_container() {
    let world = running();
    let object = world.object();
    let lease = world
        .finish({
            let object = object.clone();
            async move { object.ready().await }
        })
        .ok()
        .unwrap();
    let lost = Rc::new(std::cell::Cell::new(false));
    let seen = Rc::clone(&lost);
    let task = async move {
        lease.lost().await;
        seen.set(true);
    };
    object.spawn(|_| task);
    world.pass(seconds(5));
    assert!(!lost.get());
    world.end_container(Exit::Crashed("killed".to_owned()));
    world.pass(seconds(20));
    assert!(lost.get());
    assert_eq!(shown(&world).2, Some(Reason::Crashed { message: "killed".to_owned() }));
}

#[test]
fn a_crash_is_seen_as_one_by_whoever_looks_first() {
    let crashed = Reason::Crashed { message: "Container exited with unexpected exit code: 137".to_owned() };
    let Reason::Crashed { message } = crashed.clone() else { unreachable!() };
    let mut pauses = 0;
    let world = running();
    for number in 1..8 {
        world.end_container(Exit::parse(message.clone()));
        let seen = look(&world);
        assert_eq!((seen.state, seen.last_failure.map(|failure| failure.reason)), (State::Failed, Some(crashed.clone())));
        if let Told::Failed(error) = &world.tell(&[Exec(number)])[0].1 {
            assert_eq!(error.code, Code::ContainerNotReady);
            pauses += 1;
            world.pass(Duration::from_millis(error.retry_after_ms().unwrap()));
            assert_eq!(world.tell(&[Exec(number)]), [(Exec(number), Told::Done)]);
        }
    }
    assert!(pauses >= 3, "a crash loop is slowed down, though somebody looks in between: {pauses}");
}

#[test]
fn a_container_that_the_platform_ends_has_not_crashed() {
    let world = running();
    for number in 1..10 {
        world.end_container(Exit::parse("runtime signalled the container to exit: 15".to_owned()));
        assert_eq!(look(&world).state_reason, Some(Reason::Evicted));
        assert_eq!(world.tell(&[Exec(number)]), [(Exec(number), Told::Done)]);
    }
    assert_eq!(shown(&world).2, None);
}

#[test]
fn a_container_that_the_platform_has_lost_sight_of_is_found_again() {
    let world = running();
    world.lose_sight(Exit::parse("Network connection lost.".to_owned()));
    world.ask(&[Exec(1)]);
    world.pass(seconds(10));
    assert_eq!(world.tell(&[Exec(2)]), [(Exec(2), Told::Done)]);
    assert_eq!((world.launches.get(), world.resets.get(), shown(&world).2), (1, 1, None));
}

#[test]
fn a_container_whose_end_is_wrongly_reported_while_it_starts_is_not_started_again() {
    for words in ["Network connection lost.", "Monitoring container failed with: 500 disconnected: peer disconnected"] {
        for slow in [Duration::ZERO, Duration::from_millis(7), Duration::from_millis(400), seconds(2)] {
            for seed in 0..4 {
                let world = World::new(Policy { keep_alive: true, ..Policy::default() });
                world.seed.set(seed & 2);
                world.fault(|faults| (faults.lies, faults.slow) = (Some((1, words.to_owned())), slow));
                world.tell(&[Create]);
                let mut number = 0;
                while !matches!(world.tell(&[Exec(number)])[0].1, Told::Done) {
                    number += 1;
                    world.pass(seconds(1));
                }
                world.pass(seconds(30));
                assert_eq!(world.tell(&[Exec(number + 1)]), [(Exec(number + 1), Told::Done)]);
                let lifecycle = world.record().lifecycle;
                assert_eq!((world.launches.get(), lifecycle.starts, lifecycle.failure), (1, 1, None), "{words} {slow:?}");
                assert_eq!(world.resets.get(), 1, "the platform is to see it again");
            }
        }
    }
}

#[test]
fn a_container_that_the_platform_loses_sight_of_again_and_again_is_used_as_it_is() {
    let world = running();
    for number in 1..20 {
        world.lose_sight(Exit::parse("Network connection lost.".to_owned()));
        while !matches!(world.tell(&[Exec(number)])[0].1, Told::Done) {
            world.pass(seconds(1));
        }
    }
    assert_eq!((world.launches.get(), world.resets.get(), shown(&world).2), (1, 1, None));
    world.pass(seconds(600));
    while !matches!(world.tell(&[Exec(20)])[0].1, Told::Done) {
        world.pass(seconds(1));
    }
    assert_eq!((world.launches.get(), world.resets.get(), shown(&world).2), (1, 2, None));
}

#[test]
fn a_stop_that_ends_in_a_reset_of_the_object_is_told_so() {
    let mut world = World::new(Policy { keep_alive: true, ..Policy::default() });
    Rc::get_mut(&mut world).expect("nobody has it yet").rules.timings.platform_limit = seconds(5);
    world.tell(&[Create]);
    world.tell(&[Exec(0)]);
    world.fault(|faults| faults.endless = true);
    let told = world.tell(&[Stop]);
    assert_eq!((error(&told).code, error(&told).retryable, world.resets.get()), (Code::ContainerNotReady, true, 1), "{told:?}");
    assert_eq!(world.tell(&[Destroy]), [(Destroy, Told::Done)], "the reset is still to come");
    assert!(!world.has_record() && world.has_container());
    world.fault(|faults| faults.endless = false);
    world.pass(seconds(1_200));
    assert!(!world.has_container());
}

#[test]
fn an_image_that_needs_a_hundred_seconds_starts() {
    let world = World::new(Policy::default());
    world.fault(|faults| faults.slow = seconds(100));
    world.tell(&[Create]);
    let told = world.tell(&[Exec(1)]);
    assert_eq!((error(&told).code, error(&told).retryable), (Code::ContainerNotReady, true));
    for _ in 0..6 {
        world.tell(&[Exec(2)]);
    }
    assert_eq!(world.told.borrow().last(), Some(&(Exec(2), Told::Done)));
    assert_eq!((world.launches.get(), shown(&world).2), (1, None));
}

#[test]
fn what_the_platform_lacks_is_asked_for_again_within_one_start() {
    for (words, code, reason) in [
        ("there is no container instance that can be provided to this durable object", Code::ContainerNotReady, "no_capacity"),
        ("you are requesting too many containers per second", Code::TooManyRequests, "rate_limited"),
        (
            "The container connection is temporarily unavailable, try again shortly",
            Code::ContainerNotReady,
            "platform_unavailable",
        ),
    ] {
        let world = World::new(Policy { keep_alive: true, ..Policy::default() });
        world.fault(|faults| faults.lacking = Some((8, words.to_owned())));
        world.tell(&[Create]);
        let told = world.tell(&[Exec(1)]);
        let refused = error(&told);
        assert_eq!((refused.code, refused.retryable, refused.retry_after_ms()), (code, true, Some(5_000)), "{refused:?}");
        assert_eq!(refused.details.as_ref().unwrap()["reason"], reason);
        world.pass(seconds(30));
        assert_eq!(world.tell(&[Exec(2)]), [(Exec(2), Told::Done)], "{words}");
        assert_eq!((world.record().lifecycle.starts, world.launches.get(), shown(&world).2), (1, 1, None));

        // A start whose patience is spent has failed for that reason, and the next one may begin at once, however often that happens.
        world.tell(&[Stop]);
        world.fault(|faults| faults.lacking = Some((usize::MAX, words.to_owned())));
        for _ in 0..5 {
            world.ask(&[Exec(3)]);
            world.pass(seconds(150));
            let (state, _, failure) = shown(&world);
            assert_eq!((state, serde_json::to_value(failure).unwrap()["type"].as_str()), (State::Failed, Some(reason)));
            assert_eq!(world.record().lifecycle.retry_at(world.now()), None);
        }
    }
}

#[test]
fn an_agent_of_an_older_wire_is_no_reason_to_try_again() {
    let world = World::new(Policy::default());
    world.fault(|faults| faults.older = true);
    world.tell(&[Create]);
    let told = world.tell(&[Exec(1)]);
    assert_eq!((error(&told).code, error(&told).retryable), (Code::AgentUnavailable, false));
}

#[test]
fn a_platform_that_ends_no_container_keeps_nobody_waiting() {
    let world = running();
    world.fault(|faults| faults.endless = true);
    let begun = world.now();
    let told = world.tell(&[Stop]);
    assert_eq!((error(&told).code, error(&told).retryable), (Code::ContainerNotReady, true));
    assert!(world.now().since(begun) <= seconds(21));
    let told = world.tell(&[Exec(1)]);
    assert_eq!(error(&told).code, Code::ContainerNotReady);
    world.pass(seconds(3_600));
    assert!((1..=7).contains(&world.resets.get()), "{} resets in an hour", world.resets.get());
    world.fault(|faults| faults.endless = false);
    world.pass(seconds(1_200));
    assert_eq!(world.tell(&[Exec(2)]), [(Exec(2), Told::Done)]);
    assert_eq!(world.launches.get(), 2);
}

#[test]
fn a_sandbox_is_destroyed_though_the_platform_does_not_end_its_container() {
    let world = running();
    world.fault(|faults| faults.endless = true);
    let begun = world.now();
    assert_eq!(world.tell(&[Destroy]), [(Destroy, Told::Done)]);
    assert!(world.now().since(begun) <= seconds(21));
    assert!(!world.has_record() && world.has_container());
    world.pass(seconds(600));
    world.fault(|faults| faults.endless = false);
    world.pass(seconds(1_200));
    assert!(!world.has_container(), "the alarm ends what is left");
}

#[test]
fn an_idle_sandbox_sleeps_and_one_that_is_out_of_reach_does_not() {
    let world = World::new(Policy { sleep_after_ms: Some(5_000), ..Policy::default() });
    world.tell(&[Create]);
    world.tell(&[Exec(1)]);
    world.fault(|faults| faults.refused = true);
    world.pass(seconds(30));
    assert_eq!(shown(&world).0, State::Running);
    world.fault(|faults| faults.refused = false);
    world.pass(seconds(30));
    assert_eq!((shown(&world).0, shown(&world).1, world.resets.get()), (State::Sleeping, Some(Reason::Idle), 0));
}

/// Lives a life, the object killed before these effects, and checks what is left in the end. Says how many effects there were.
fn live(life: &[&[Ask]], policy: Policy, kills: &[usize], seed: usize) -> usize {
    let world = World::new(policy);
    world.doom(kills, seed);
    // What was lost is asked for again where that does no harm.
    let again = |ask| ask == Create || ask == Destroy && !seed.is_multiple_of(3);
    life.iter().for_each(|asks| world.insist(asks, again));
    world.rest();
    let effects = world.effects.get();

    let trace = world.trace.borrow().join(" ");
    assert!(!world.has_container(), "a container is left: {kills:?} {seed} {life:?}: {trace}");
    for (command, runs) in world.runs.borrow().iter() {
        assert!(*runs == 1, "{command} was carried out {runs} times");
    }
    for (ask, told) in world.told.borrow().iter() {
        if let (Exec(number), Told::Done) = (ask, told) {
            assert_eq!(world.runs.borrow().get(number), Some(&1), "{number} is said to be done");
        }
    }
    let destroyed =
        life.last().is_some_and(|asks| asks == &[Destroy]) && world.told.borrow().last() == Some(&(Destroy, Told::Done));
    assert!(!destroyed || !world.has_record(), "what is destroyed is there");
    effects
}

#[test]
fn a_restart_between_any_two_effects_leaks_repeats_and_revives_nothing() {
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
        kill_everywhere(8, |kills, seed| live(life, policy, kills, seed));
    }
}

/// Lives a life, which says how many effects it has, and kills its object before each of them, once and twice: the second time before so many of
/// those that follow, while what was left by the first is put in order.
fn kill_everywhere(second_within: usize, live: impl Fn(&[usize], usize) -> usize) {
    for seed in 0..4 {
        for first in 0..live(&[], seed) {
            live(&[first], seed);
            for second in first + 1..first + second_within {
                live(&[first, second], seed);
            }
        }
    }
}
