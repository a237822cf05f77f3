//! Numbers that look random and are always the same.

/// A generator of such numbers, a linear congruential one with Knuth's constants.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// A generator for this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The high bits have the longer period.
        (self.0 >> 33) as usize % sides
    }
}
