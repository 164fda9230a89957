//! Velocity: an exponentially weighted mean of records per second.
//!
//! Looks come at uneven intervals, so the weight of one is how long it stands for: what was counted `t` seconds ago weighs
//! `e^(-t / WINDOW)` of what is counted now. The mean is over the time that was observed, not over one that began at zero:
//! it is right from the first interval on.

use std::time::Duration;

/// The window of the mean: what is older than this has less than 37 % of the weight.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Records per second, lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    weighted: f64,
    weight: f64,
}

impl Rate {
    /// `count` records came in the time that has passed since the call before. No time: nothing is noted.
    pub(super) fn add(&mut self, count: u64, passed: Duration) {
        if passed.is_zero() {
            return;
        }
        let seconds = passed.as_secs_f64();
        let kept = (-seconds / WINDOW.as_secs_f64()).exp();
        self.weighted = self.weighted * kept + count as f64 / seconds * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
    }

    /// The mean; `None` before the first interval.
    pub(super) fn per_second(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.weighted / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every interval with the weight of the time that it covers, all added up anew.
    fn naive(intervals: &[(u64, u64)]) -> f64 {
        let window = WINDOW.as_secs_f64();
        let all: f64 = intervals.iter().map(|(_, ms)| *ms as f64 / 1e3).sum();
        let (mut begin, mut sum, mut weights) = (0.0, 0.0, 0.0);
        for (count, ms) in intervals {
            let seconds = *ms as f64 / 1e3;
            let end = begin + seconds;
            let weight = ((end - all) / window).exp() - ((begin - all) / window).exp();
            sum += weight * *count as f64 / seconds;
            weights += weight;
            begin = end;
        }
        sum / weights
    }

    proptest! {
        #[test]
        fn is_the_weighted_mean_of_what_was_seen(
            intervals in prop::collection::vec((0u64..1_000_000, 1u64..300_000), 1..50),
        ) {
            let mut rate = Rate::default();
            for (count, ms) in &intervals {
                rate.add(*count, Duration::from_millis(*ms));
            }
            let (found, expected) = (rate.per_second().unwrap(), naive(&intervals));
            prop_assert!((found - expected).abs() <= expected.abs() * 1e-9, "{} {}", found, expected);
        }
    }

    #[test]
    fn is_right_from_the_first_interval_on_and_forgets() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(), None);
        rate.add(5, Duration::ZERO);
        assert_eq!(rate.per_second(), None);
        rate.add(100, Duration::from_secs(10));
        assert!((rate.per_second().unwrap() - 10.0).abs() < 1e-9);
        rate.add(0, 10 * WINDOW);
        assert!(rate.per_second().unwrap() < 0.001);
    }
}
