//! Whether what the agent holds grows with time.

use super::{DESCRIPTORS, GROWTH_KIB, Process, SPOOL_KIB};

/// How many looks there must be.
const LOOKS: usize = 60;

/// What was seen at equal intervals.
#[derive(Debug, Default)]
pub(super) struct Drift {
    memory_kib: Vec<f64>,
    descriptors: Vec<f64>,
    spool_kib: Vec<f64>,
}

impl Drift {
    /// Looks once.
    pub(super) fn look(&mut self, agent: Process) {
        self.memory_kib.push(agent.resident_kib() as f64);
        self.descriptors.push(agent.descriptors() as f64);
        self.spool_kib.push(agent.unnamed_files_kib() as f64);
    }

    /// How much more memory there is at the end than at the beginning, along the line.
    pub(super) fn memory_kib(&self) -> f64 {
        growth(&self.memory_kib)
    }

    /// Panics where something grows. A line through a few looks says nothing.
    pub(super) fn check(&self) {
        if self.memory_kib.len() < LOOKS {
            return;
        }
        for (what, seen, limit) in [
            ("KiB of memory", &self.memory_kib, GROWTH_KIB),
            ("descriptors", &self.descriptors, DESCRIPTORS),
            ("KiB of spool", &self.spool_kib, SPOOL_KIB),
        ] {
            let growth = growth(seen);
            assert!(growth < limit, "{growth:.1} {what} more in {} s: {seen:?}", seen.len());
        }
    }
}

/// How much the line of least squares through these values rises from the first to the last.
fn growth(seen: &[f64]) -> f64 {
    let count = seen.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, seen.iter().sum::<f64>() / count);
    let (mut together, mut alone) = (0.0, 0.0);
    for (number, value) in seen.iter().enumerate() {
        let distance = number as f64 - middle;
        together += distance * (value - mean);
        alone += distance * distance;
    }
    if alone > 0.0 { together / alone * (count - 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::growth;

    #[test]
    fn growth_is_the_rise_of_the_line() {
        for (seen, expected) in
            [(vec![], 0.0), (vec![7.0], 0.0), (vec![1.0, 2.0, 3.0], 2.0), (vec![5.0, 9.0, 5.0, 9.0, 5.0], 0.0)]
        {
            assert!((growth(&seen) - expected).abs() < 1e-9, "{seen:?}");
        }
    }
}
