//! One line of the table.

use super::quantity::Quantity;

/// A number, what it is held against, and what it should be.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) measured: Quantity,
    /// What one run in twenty exceeds, where runs are many.
    pub(super) p95: Option<Quantity>,
    pub(super) peer: Option<Peer>,
    pub(super) target: Target,
    /// What the TypeScript runtime does.
    pub(super) incumbent: Option<&'static str>,
}

/// The physical limit, or another program that does the same, measured in the same run.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) measured: Quantity,
}

/// What a number should be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// Nothing is asked of it.
    Free,
    /// No more than this.
    AtMost(Quantity),
    /// No less than this.
    AtLeast(Quantity),
    /// No more than this many times the peer.
    Times(f64),
    /// No less than this share of the peer.
    Share(f64),
}

impl Row {
    /// A row without peer, target and comparison.
    pub(super) fn new(name: &'static str, measured: Quantity) -> Self {
        Self { name, measured, p95: None, peer: None, target: Target::Free, incumbent: None }
    }

    pub(super) fn p95(self, p95: Quantity) -> Self {
        Self { p95: Some(p95), ..self }
    }

    pub(super) fn against(self, name: &'static str, measured: Quantity) -> Self {
        Self { peer: Some(Peer { name, measured }), ..self }
    }

    pub(super) fn target(self, target: Target) -> Self {
        Self { target, ..self }
    }

    pub(super) fn incumbent(self, incumbent: &'static str) -> Self {
        Self { incumbent: Some(incumbent), ..self }
    }

    /// How many times the peer.
    pub(super) fn ratio(&self) -> Option<f64> {
        self.peer.as_ref().map(|peer| self.measured.number() / peer.measured.number())
    }

    /// Whether the target is met, where there is one.
    pub(super) fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::Free => None,
            Target::AtMost(most) => Some(self.measured.number() <= most.number()),
            Target::AtLeast(least) => Some(self.measured.number() >= least.number()),
            Target::Times(times) => self.ratio().map(|ratio| ratio <= times),
            Target::Share(share) => self.ratio().map(|ratio| ratio >= share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_or_missed() {
        let row = |target| Row::new("", Quantity::mebibytes(6)).against("", Quantity::mebibytes(4)).target(target);
        for (target, met) in [
            (Target::Free, None),
            (Target::AtMost(Quantity::mebibytes(6)), Some(true)),
            (Target::AtMost(Quantity::mebibytes(5)), Some(false)),
            (Target::AtLeast(Quantity::mebibytes(7)), Some(false)),
            (Target::Times(1.5), Some(true)),
            (Target::Times(1.4), Some(false)),
            (Target::Share(1.5), Some(true)),
            (Target::Share(1.6), Some(false)),
        ] {
            assert_eq!(row(target).is_met(), met, "{target:?}");
        }
    }
}
