//! What a case needs of the machine beyond its target.

/// The variable that names what must be there, separated by commas: `cgroups,userns,issuer,chromium,engine,ssh`.
const VARIABLE: &str = "CABANA_TEST_REQUIRE";

/// Gives what a case needs, or `None` where the machine does not have it, which is said on stderr.
///
/// Panics where `CABANA_TEST_REQUIRE` names the thing: the variable promises the thing, so a missing one is a failure.
pub fn require<T>(thing: &str, found: Option<T>, missing: &str) -> Option<T> {
    if found.is_none() {
        assert!(!is_required(thing), "{thing} is required by {VARIABLE}: {missing}");
        eprintln!("skipped, {thing} is not there: {missing}");
    }
    found
}

fn is_required(thing: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|list| list.split(',').any(|word| word.trim() == thing))
}
