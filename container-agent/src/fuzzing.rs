//! What fuzzing calls: each function takes any bytes, and panics where a property does not hold.
//!
//! The targets of `fuzz/` pass them the bytes of libFuzzer; `cargo test` passes them the targets' seeds, and mutations of these.

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

pub use crate::{
    archive::fuzz::archive,
    dispatch::fuzz::{output, request},
    file::fuzz::patch,
    fs::fuzz::path,
    globs::fuzz::glob,
    http::fuzz::{frame, headers, range},
    port::fuzz::sockets,
    process::fuzz::{journal, stat},
    session::fuzz::session,
    system::fuzz::cgroup,
};

/// A function that fuzzing calls.
pub type Target = fn(&[u8]);

/// Each function under the name of its target in `fuzz/fuzz_targets` and of its seeds in `fuzz/seeds`.
pub const TARGETS: [(&str, Target); 14] = [
    ("archive", archive),
    ("cgroup", cgroup),
    ("frame", frame),
    ("glob", glob),
    ("headers", headers),
    ("journal", journal),
    ("output", output),
    ("patch", patch),
    ("path", path),
    ("range", range),
    ("request", request),
    ("session", session),
    ("sockets", sockets),
    ("stat", stat),
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_target_holds_on_its_seeds_and_their_mutations() {
        replay::replay(&TARGETS, &PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz"));
    }
}
