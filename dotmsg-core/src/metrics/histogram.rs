//! Durations in fixed buckets.
//!
//! The bounds are the same for all that is measured, so that figures of different routes can be added up. They hold those that
//! OpenTelemetry advises for `messaging.process.duration`, with finer ones below, where most handlers are.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets in seconds, ascending; one more bucket has what is above them.
pub const BOUNDS_SECONDS: [f64; 19] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 300.0,
];

const BUCKETS: usize = BOUNDS_SECONDS.len() + 1;

/// Who hears of each duration as it is counted, and how often it counts.
type Sink = Box<dyn Fn(Duration, u64) + Send + Sync>;

/// Counts durations by bucket; written by several tasks at once.
#[derive(Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
    sink: OnceLock<Sink>,
}

/// What a [`Histogram`] held at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HistogramSnapshot {
    /// Durations in each bucket, not cumulative: those up to [`BOUNDS_SECONDS`], and what is above.
    pub buckets: [u64; BUCKETS],
    /// All durations together, in seconds.
    pub sum_seconds: f64,
}

impl Histogram {
    /// Counts `times` durations of this length.
    pub fn record(&self, took: Duration, times: u64) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS_SECONDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(times, Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns.saturating_mul(times), Relaxed);
        if let Some(sink) = self.sink.get() {
            sink(took, times);
        }
    }

    /// Tells `sink` of each duration from now on and how often it counts: for an exporter that takes no buckets. It is called
    /// inline, so it must be quick. `false`: another one is told already, and stays.
    pub fn forward(&self, sink: impl Fn(Duration, u64) + Send + Sync + 'static) -> bool {
        self.sink.set(Box::new(sink)).is_ok()
    }

    /// As of now. What is recorded meanwhile may be in one part of it and not in another.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed)),
            sum_seconds: Duration::from_nanos(self.sum_ns.load(Relaxed)).as_secs_f64(),
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl HistogramSnapshot {
    /// How many durations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        let ms = Duration::from_millis;
        histogram.record(ms(1), 1);
        histogram.record(Duration::from_nanos(1_000_001), 2);
        histogram.record(ms(301_000), 1);
        histogram.record(Duration::ZERO, 5);
        let seen = histogram.snapshot();
        let expected = |bucket| match bucket {
            0 => 5,
            3 => 1,
            4 => 2,
            19 => 1,
            _ => 0,
        };
        assert_eq!(seen.buckets, std::array::from_fn(expected));
        assert_eq!(seen.count(), 9);
        assert_eq!(seen.sum_seconds, 301.003_000_002);
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS_SECONDS.is_sorted_by(|a, b| a < b));
    }
}
