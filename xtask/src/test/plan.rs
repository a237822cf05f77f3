//! Which cases of a test program run on a target, and when: their modules say so.
//!
//! - `control::…` needs the whole service; it is not for the agent alone.
//! - `…::agent_only::…` needs an agent of the case's own making; it is not for the whole service, nor for the image.
//! - `…::bounded::…` uses up what it may have: it is only for the image, whose containers have little.
//! - `…::image_only::…` starts a container of the image of its own making; it is only for the image.
//! - `…::kernels::…` runs code on kernels of Jupyter, which this program installs. The default image has none: such a case is for that of
//!   the kind `python`.
//! - `…::large::…` needs more memory than the smallest container has; in the image it runs in a larger one.
//! - `…::serial::…` runs after the others, one at a time.
//! - `control::offline::…` needs a service whose sandboxes reach no internet.
//! - `control::outages::…` takes services down under everything else: it runs last, one at a time.

/// What the cases run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Nothing: unit tests.
    Unit,
    /// The agent alone.
    Agent,
    /// The agent in a container of the image.
    Image(Memory),
    /// The agent in a container of the image that has kernels of Jupyter.
    KernelImage,
    /// The whole service.
    Stack,
}

/// How much memory a container of the image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// As little as the smallest instance.
    Small,
    /// What the cases need that are too large for it.
    Large,
}

/// The cases by when they run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) parallel: Vec<String>,
    pub(super) serial: Vec<String>,
    pub(super) outages: Vec<String>,
    pub(super) offline: Vec<String>,
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
            let needs_image = modules.contains(&"bounded") || modules.contains(&"image_only");
            let other_target = match target {
                Target::Unit => false,
                Target::Agent => needs_stack || needs_image,
                Target::Image(Memory::Small) => {
                    let others = ["agent_only", "kernels", "large"];
                    needs_stack || modules.iter().any(|module| others.contains(module))
                }
                // The others are counted by the run in small containers.
                Target::Image(Memory::Large) if !modules.contains(&"large") => continue,
                Target::Image(Memory::Large) => needs_stack || modules.contains(&"agent_only"),
                Target::KernelImage if !modules.contains(&"kernels") => continue,
                Target::KernelImage => needs_stack || modules.contains(&"agent_only"),
                Target::Stack => modules.contains(&"agent_only") || needs_image,
            };
            match () {
                () if other_target => plan.elsewhere += 1,
                () if needs_stack && modules.get(1) == Some(&"outages") => plan.outages.push(case.clone()),
                () if needs_stack && modules.get(1) == Some(&"offline") => plan.offline.push(case.clone()),
                () if modules.contains(&"serial") => plan.serial.push(case.clone()),
                () => plan.parallel.push(case.clone()),
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, Plan, Target};

    const CASES: [&str; 13] = [
        "exec::serial_numbers_grow",
        "files::disk::agent_only::a_full_disk_is_reported",
        "load::serial::memory_is_bounded",
        "control::access::keys_expire",
        "control::serial::starts_are_fast",
        "control::outages::the_engine_returns",
        "project::large::a_program_is_built",
        "attacks::serial::bounded::a_hog_is_killed",
        "image_only::rules_are_prepared",
        "code::kernels::cells_keep_variables",
        "control::offline::nothing_is_reached",
        "code::kernels::memory::bounded::a_hog_is_reported",
        "code::kernels::memory::agent_only::a_hog_is_reported",
    ];

    fn plan(target: Target) -> Plan {
        Plan::new(&CASES.map(str::to_owned), target)
    }

    #[test]
    fn the_agent_runs_what_needs_no_service() {
        let Plan { parallel, serial, outages, offline, elsewhere } = plan(Target::Agent);
        assert_eq!(parallel, [CASES[0], CASES[1], CASES[6], CASES[9], CASES[12]]);
        assert_eq!(serial, [CASES[2]]);
        assert_eq!((outages.len(), offline.len(), elsewhere), (0, 0, 7));
    }

    #[test]
    fn the_service_runs_all_but_the_agents_own() {
        let Plan { parallel, serial, outages, offline, elsewhere } = plan(Target::Stack);
        assert_eq!(parallel, [CASES[0], CASES[3], CASES[6], CASES[9]]);
        assert_eq!(serial, [CASES[2], CASES[4]]);
        assert_eq!((outages, offline, elsewhere), (vec![CASES[5].to_owned()], vec![CASES[10].to_owned()], 5));
    }

    #[test]
    fn containers_of_two_sizes_run_what_needs_neither_the_service_nor_another_agent() {
        let small = plan(Target::Image(Memory::Small));
        assert_eq!(
            (small.parallel.as_slice(), small.serial.as_slice()),
            ([CASES[0].to_owned(), CASES[8].to_owned()].as_slice(), [CASES[2].to_owned(), CASES[7].to_owned()].as_slice())
        );
        assert_eq!((small.outages.len(), small.offline.len(), small.elsewhere), (0, 0, 9));
        let large = plan(Target::Image(Memory::Large));
        assert_eq!(large, Plan { parallel: vec![CASES[6].to_owned()], ..Plan::default() });
    }

    #[test]
    fn the_image_with_kernels_runs_the_cases_of_kernels() {
        let parallel = [CASES[9], CASES[11]].map(str::to_owned).to_vec();
        assert_eq!(plan(Target::KernelImage), Plan { parallel, elsewhere: 1, ..Plan::default() });
    }

    #[test]
    fn every_case_has_one_place_on_every_target() {
        for target in [Target::Unit, Target::Agent, Target::Stack] {
            let Plan { parallel, serial, outages, offline, elsewhere } = plan(target);
            assert_eq!(parallel.len() + serial.len() + outages.len() + offline.len() + elsewhere, CASES.len(), "{target:?}");
        }
    }
}
