//! One line of the table.

use crate::quantity::Quantity;
use crate::samples::Samples;

/// A measured value, what it is compared with, and what it should be.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) measured: Quantity,
    /// The 95th percentile, where there are many runs.
    pub(crate) p95: Option<Quantity>,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) target: Option<Target>,
    /// The value of the TypeScript runtime.
    pub(crate) incumbent: Option<&'static str>,
}

/// The physical limit, or another program with the same task, measured in the same run.
#[derive(Debug, Clone)]
pub(crate) struct Baseline {
    pub(crate) name: &'static str,
    pub(crate) measured: Quantity,
}

/// What a value should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Maximum(Quantity),
    Minimum(Quantity),
    /// Of the measured value to the baseline.
    MaximumRatio(f64),
    /// Of the measured value to the baseline.
    MinimumRatio(f64),
}

impl Row {
    /// A row of one value and nothing else.
    pub(crate) fn new(name: &'static str, measured: Quantity) -> Self {
        Self { name, measured, p95: None, baseline: None, target: None, incumbent: None }
    }

    /// A row of the median and the 95th percentile.
    pub(crate) fn latency(name: &'static str, samples: &Samples) -> Self {
        Self::new(name, Quantity::Duration(samples.p50())).p95(Quantity::Duration(samples.p95()))
    }

    pub(crate) fn p95(self, p95: Quantity) -> Self {
        Self { p95: Some(p95), ..self }
    }

    pub(crate) fn baseline(self, name: &'static str, measured: Quantity) -> Self {
        Self { baseline: Some(Baseline { name, measured }), ..self }
    }

    pub(crate) fn target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    pub(crate) fn at_most(self, most: Quantity) -> Self {
        self.target(Target::Maximum(most))
    }

    pub(crate) fn at_least(self, least: Quantity) -> Self {
        self.target(Target::Minimum(least))
    }

    pub(crate) fn incumbent(self, incumbent: &'static str) -> Self {
        Self { incumbent: Some(incumbent), ..self }
    }

    /// The measured value as a multiple of the baseline.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.baseline.as_ref().map(|baseline| self.measured.number() / baseline.measured.number())
    }

    /// Whether the target is met, where there is one.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.target? {
            Target::Maximum(most) => Some(self.measured.number() <= most.number()),
            Target::Minimum(least) => Some(self.measured.number() >= least.number()),
            Target::MaximumRatio(times) => self.ratio().map(|ratio| ratio <= times),
            Target::MinimumRatio(times) => self.ratio().map(|ratio| ratio >= times),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_a_target_is_neither_met_nor_missed() {
        assert_eq!(Row::new("", Quantity::Count(0)).is_met(), None);
    }

    #[test]
    fn targets_at_and_beyond_their_limit_are_met_and_missed() {
        let row = |target| Row::new("", Quantity::mebibytes(6)).baseline("", Quantity::mebibytes(4)).target(target);
        for (target, met) in [
            (Target::Maximum(Quantity::mebibytes(6)), true),
            (Target::Maximum(Quantity::mebibytes(5)), false),
            (Target::Minimum(Quantity::mebibytes(6)), true),
            (Target::Minimum(Quantity::mebibytes(7)), false),
            (Target::MaximumRatio(1.5), true),
            (Target::MaximumRatio(1.4), false),
            (Target::MinimumRatio(1.5), true),
            (Target::MinimumRatio(1.6), false),
        ] {
            assert_eq!(row(target).is_met(), Some(met), "{target:?}");
        }
    }
}
