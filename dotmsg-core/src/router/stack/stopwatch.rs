//! Measures the first calls of one service: which of them, and since when they run.
//!
//! To look at the clock twice costs a good part of the whole way of a small message. So of the calls that are ready when
//! they are polled first, one in [`SAMPLED_ONE_IN`] is measured, chosen by its number before anything is known of it, and counts for
//! all of these. A call that has to wait is always measured: from its beginning or, if it is not among the chosen ones, from the end of
//! its first poll.
//!
//! What is noted of a call has four bytes ([`Mark`]): it travels with every message, measured or not, where these are free, and the
//! future of a message grows by nothing (ADR 0018).
//!
//! What must stay true: one service makes calls, in one task, and polls each when it has made it; only so is when the last chosen
//! one began the beginning of the one that is polled first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::Mark;
use crate::metrics::RouteMetrics;

/// Of the calls that are ready at once, one in so many is measured, and counts for all of these.
const SAMPLED_ONE_IN: u32 = 16;

/// Nothing is measured: the mark of every delivery that nobody marked.
const OFF: Mark = Mark(0);
/// The call was not polled yet, and is not measured if it is ready then.
const UNSEEN: Mark = Mark(1);
/// The call was not polled yet, and is measured.
const CHOSEN: Mark = Mark(2);
/// Other marks are the time since when a call waits, in ticks since the stopwatch was made, and not below this.
const FIRST_TICK: u32 = 3;
/// A tick in nanoseconds: fine enough for the finest bucket, and it takes 4.7 hours to come round.
const TICK_NS: u64 = 4_000;

impl Mark {
    /// Whether the call is one of a service that is measured.
    #[inline]
    pub(super) fn is_on(self) -> bool {
        self != OFF
    }
}

/// Measures the first calls of one service.
#[derive(Debug)]
pub(super) struct Stopwatch {
    metrics: Arc<RouteMetrics>,
    made: Instant,
    calls: AtomicU32,
    /// When the last chosen call began, in nanoseconds since the stopwatch was made.
    chosen_ns: AtomicU64,
}

impl Stopwatch {
    pub(super) fn new(metrics: Arc<RouteMetrics>) -> Self {
        Self {
            metrics,
            made: Instant::now(),
            calls: AtomicU32::new(0),
            chosen_ns: AtomicU64::new(0),
        }
    }

    /// One of another service, which goes on with the number that this has come to: services that are cloned again and again would
    /// else make only calls that are never chosen.
    pub(super) fn another(&self) -> Self {
        let another = Self::new(Arc::clone(&self.metrics));
        another.calls.store(self.calls.load(Relaxed), Relaxed);
        another
    }

    /// A call is made; its mark.
    #[inline]
    pub(super) fn begin(&self) -> Mark {
        // One task writes, so that a plain load and store suffice.
        let call = self.calls.load(Relaxed).wrapping_add(1);
        self.calls.store(call, Relaxed);
        if !is_chosen(call) {
            return UNSEEN;
        }
        self.chosen_ns.store(self.now_ns(), Relaxed);
        CHOSEN
    }

    /// It has to wait.
    #[cold]
    pub(super) fn waits(&self, mark: &mut Mark) {
        let since = match *mark {
            UNSEEN => self.now_ns(),
            CHOSEN => self.chosen_ns.load(Relaxed),
            _ => return,
        };
        *mark = Mark(ticks(since).max(FIRST_TICK));
    }

    /// It has ended.
    #[inline]
    pub(super) fn ended(&self, mark: Mark) {
        if mark != UNSEEN {
            self.record(mark);
        }
    }

    #[cold]
    fn record(&self, mark: Mark) {
        let now = self.now_ns();
        let (took_ns, times) = match mark {
            CHOSEN => (now - self.chosen_ns.load(Relaxed), SAMPLED_ONE_IN),
            since => (u64::from(ticks(now).wrapping_sub(since.0)) * TICK_NS, 1),
        };
        let took = Duration::from_nanos(took_ns);
        self.metrics.calls.record(took, times.into());
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// They come round.
fn ticks(ns: u64) -> u32 {
    (ns / TICK_NS) as u32
}

/// Whether the call of this number is chosen. A multiplier spreads them, so that no rhythm of the messages meets theirs.
fn is_chosen(call: u32) -> bool {
    const SPREAD: u32 = 0x9E37_79B9;
    call.wrapping_mul(SPREAD) < u32::MAX / SAMPLED_ONE_IN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_sixteen_is_chosen_whatever_the_rhythm() {
        for (step, first) in [(1, 0), (16, 3), (512, 100), (1_000, 7)] {
            let chosen = (0..10_000_u32).filter(|call| is_chosen(first + call * step));
            let chosen = chosen.count();
            assert!((560..690).contains(&chosen), "{chosen} at every {step}th");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_measured_while_the_ticks_come_round() {
        let metrics = Arc::new(RouteMetrics::default());
        let stopwatch = Stopwatch::new(Arc::clone(&metrics));
        let round = Duration::from_nanos((1 << 32) * TICK_NS);
        tokio::time::advance(round - Duration::from_secs(1)).await;
        let mut mark = stopwatch.begin();
        assert_eq!(mark, UNSEEN);
        stopwatch.waits(&mut mark);
        tokio::time::advance(Duration::from_secs(3)).await;
        stopwatch.waits(&mut mark);
        stopwatch.ended(mark);
        let calls = metrics.calls.snapshot();
        assert_eq!(calls.count(), 1);
        assert!((calls.sum_seconds - 3.0).abs() < 0.001, "{calls:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_chosen_call_is_measured_from_its_beginning() {
        let metrics = Arc::new(RouteMetrics::default());
        let stopwatch = Stopwatch::new(Arc::clone(&metrics));
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut mark = loop {
            let mark = stopwatch.begin();
            if mark == CHOSEN {
                break mark;
            }
            stopwatch.ended(mark);
        };
        assert_eq!(
            metrics.calls.snapshot().count(),
            0,
            "the others ended at once"
        );
        let ms = Duration::from_millis;
        tokio::time::advance(ms(7)).await;
        stopwatch.waits(&mut mark);
        tokio::time::advance(ms(20)).await;
        stopwatch.ended(mark);
        let calls = metrics.calls.snapshot();
        assert_eq!(calls.count(), 1, "it waited, so it counts for itself");
        assert!((calls.sum_seconds - 0.027).abs() < 0.000_01, "{calls:?}");
    }
}
