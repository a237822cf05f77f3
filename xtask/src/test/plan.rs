//! Which cases of a test program run on a target, and when: their modules say so.
//!
//! - `control::…` needs the whole service; it is not for the agent alone.
//! - `…::agent_only::…` needs an agent of the case's own making; it is not for the whole service.
//! - `…::serial::…` runs after the others, one at a time.
//! - `control::outages::…` takes services down under everything else: it runs last, one at a time.

/// What the cases run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Nothing: unit tests.
    Unit,
    /// The agent alone.
    Agent,
    /// The whole service.
    Stack,
}

/// The cases by when they run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) parallel: Vec<String>,
    pub(super) serial: Vec<String>,
    pub(super) outages: Vec<String>,
    /// How many are not for this target.
    pub(super) elsewhere: usize,
}

impl Plan {
    pub(super) fn new(cases: &[String], target: Target) -> Self {
        let mut plan = Self::default();
        for case in cases {
            let modules: Vec<&str> = case.split("::").collect();
            let modules = &modules[..modules.len().saturating_sub(1)];
            let needs_stack = modules.first() == Some(&"control");
            let other_target = match target {
                Target::Unit => false,
                Target::Agent => needs_stack,
                Target::Stack => modules.contains(&"agent_only"),
            };
            match () {
                () if other_target => plan.elsewhere += 1,
                () if needs_stack && modules.get(1) == Some(&"outages") => plan.outages.push(case.clone()),
                () if modules.contains(&"serial") => plan.serial.push(case.clone()),
                () => plan.parallel.push(case.clone()),
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, Target};

    const CASES: [&str; 6] = [
        "exec::serial_numbers_grow",
        "files::disk::agent_only::a_full_disk_is_reported",
        "load::serial::memory_is_bounded",
        "control::access::keys_expire",
        "control::serial::starts_are_fast",
        "control::outages::the_engine_returns",
    ];

    fn plan(target: Target) -> Plan {
        Plan::new(&CASES.map(str::to_owned), target)
    }

    #[test]
    fn the_agent_runs_what_needs_no_service() {
        let Plan { parallel, serial, outages, elsewhere } = plan(Target::Agent);
        assert_eq!(parallel, [CASES[0], CASES[1]]);
        assert_eq!(serial, [CASES[2]]);
        assert_eq!((outages.len(), elsewhere), (0, 3));
    }

    #[test]
    fn the_service_runs_all_but_the_agents_own() {
        let Plan { parallel, serial, outages, elsewhere } = plan(Target::Stack);
        assert_eq!(parallel, [CASES[0], CASES[3]]);
        assert_eq!(serial, [CASES[2], CASES[4]]);
        assert_eq!((outages, elsewhere), (vec![CASES[5].to_owned()], 1));
    }

    #[test]
    fn every_case_has_one_place_on_every_target() {
        for target in [Target::Unit, Target::Agent, Target::Stack] {
            let Plan { parallel, serial, outages, elsewhere } = plan(target);
            assert_eq!(parallel.len() + serial.len() + outages.len() + elsewhere, CASES.len(), "{target:?}");
        }
    }
}
