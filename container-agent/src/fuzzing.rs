//! What fuzzing calls: each function takes whatever bytes, and panics where something is not as it must be.
//!
//! The targets of `fuzz/` hand them what libFuzzer comes up with; `cargo test` hands them the targets' seeds, each with some changes.

pub use crate::{
    dispatch::fuzz::{output, request},
    file::fuzz::{archive, glob, patch, path},
    http::fuzz::{frame, range},
    process::fuzz::journal,
    session::fuzz::session,
};

/// A function that fuzzing calls.
pub type Target = fn(&[u8]);

/// Each function under the name of its target in `fuzz/fuzz_targets` and of its seeds in `fuzz/seeds`.
pub const TARGETS: [(&str, Target); 10] = [
    ("archive", archive),
    ("frame", frame),
    ("glob", glob),
    ("journal", journal),
    ("output", output),
    ("patch", patch),
    ("path", path),
    ("range", range),
    ("request", request),
    ("session", session),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// How often each seed is changed.
    const CHANGES: usize = 100;

    /// Numbers that look random and are always the same.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % sides.max(1)
        }

        /// The seed with a few bytes changed, added, taken away or doubled.
        fn change(&mut self, seed: &[u8]) -> Vec<u8> {
            const TELLING: &[u8] = b"{}[]\":,\\0-.e \n\x00\x7f\x80\xff\xf0\x9f";
            let mut bytes = seed.to_vec();
            for _ in 0..=self.roll(4) {
                let at = self.roll(bytes.len() + 1);
                let end = (at + self.roll(16)).min(bytes.len());
                match self.roll(5) {
                    0 => bytes.insert(at, TELLING[self.roll(TELLING.len())]),
                    1 => drop(bytes.drain(at..end)),
                    2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.roll(8)),
                    3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
                    _ => bytes.extend((0..self.roll(40)).map(|_| self.roll(256) as u8)),
                }
            }
            bytes
        }
    }

    #[test]
    fn seeds_and_what_is_near_them_hold() {
        let fuzz = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        for (name, target) in TARGETS {
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}: no target");
            let mut seeds: Vec<_> =
                fs::read_dir(fuzz.join("seeds").join(name)).unwrap().map(|seed| seed.unwrap().path()).collect();
            seeds.sort();
            assert!(!seeds.is_empty(), "{name}: no seeds");
            let mut dice = Dice(7);
            for seed in seeds {
                let seed = fs::read(seed).unwrap();
                target(&seed);
                (0..CHANGES).for_each(|_| target(&dice.change(&seed)));
            }
        }
    }
}
