//! Runs targets on their seeds and on mutations of them: what `cargo test` does of fuzzing in each crate that has targets.

use std::{fs, path::Path};

/// Mutations of each seed.
const MUTATIONS: usize = 100;

/// A target: its name, and what reads the bytes.
type Target = (&'static str, fn(&[u8]));

/// Fails where a target has no seeds, or panics at one or at a mutation of it.
pub(crate) fn replay(targets: &[Target], fuzz: &Path) {
    for (name, target) in targets {
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}: no target");
        let mut seeds: Vec<_> = fs::read_dir(fuzz.join("seeds").join(name)).unwrap().map(|seed| seed.unwrap().path()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{name}: no seeds");
        let mut random = Random(7);
        for seed in seeds {
            let seed = fs::read(seed).unwrap();
            target(&seed);
            (0..MUTATIONS).for_each(|_| target(&random.mutate(&seed)));
        }
    }
}

/// A deterministic random number generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }

    /// The seed with a few bytes changed, inserted, removed or repeated.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        const INTERESTING: &[u8] = b"{}[]\":,\\0-.e \n\x00\x7f\x80\xff\xf0\x9f";
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let start = self.below(bytes.len() + 1);
            let end = (start + self.below(16)).min(bytes.len());
            match self.below(5) {
                0 => bytes.insert(start, INTERESTING[self.below(INTERESTING.len())]),
                1 => drop(bytes.drain(start..end)),
                2 => bytes.iter_mut().skip(start).take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
                3 => drop(bytes.splice(start..start, bytes[start..end].to_vec())),
                _ => bytes.extend((0..self.below(40)).map(|_| self.below(256) as u8)),
            }
        }
        bytes
    }
}
