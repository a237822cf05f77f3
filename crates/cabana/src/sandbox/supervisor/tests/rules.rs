//! Network rules of a container that starts.

use cabana_protocol::network::Network;

use super::{
    running, seconds, shown,
    world::{
        Ask::{Exec, Stop},
        Told,
    },
};
use crate::sandbox::record::Record;

#[test]
fn network_rules_that_the_platform_never_sets_hold_up_nothing_but_themselves() {
    let world = running();
    world.pass(seconds(60));
    let idle = world.under_way();
    let rules: Network = serde_json::from_value(serde_json::json!({ "allow": ["example.com"] })).unwrap();
    let (object, now) = (world.object(), world.now());
    let set = |record: &mut Record| {
        record.network.wanted = Some(rules);
        Ok(())
    };
    object.store().update(now, set).unwrap();
    world.fault(|faults| faults.unruled = true);
    assert_eq!(world.tell(&[Stop, Exec(1)]), [(Stop, Told::Done), (Exec(1), Told::Done)], "the agent says whether they hold");
    world.pass(seconds(60));
    assert_eq!((world.under_way(), world.launches.get(), shown(&world).2), (idle, 2, None), "the object is free to leave memory");
}
