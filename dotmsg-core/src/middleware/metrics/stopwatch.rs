//! Which calls are measured, and since when they run.
//!
//! What is noted of a call has four bytes ([`Mark`]): it travels with every message, measured or not, where these are free, and the
//! future of a message grows by nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::Mark;
use crate::metrics::RouteMetrics;

/// Of the calls that are ready at once, one in so many is measured, and counts for all of these.
pub const SAMPLED_ONE_IN: u32 = 16;

/// Nothing is measured: the mark of every delivery that nobody marked.
const OFF: Mark = Mark(0);
/// The call was not polled yet, and is not measured if it is ready then.
const UNSEEN: Mark = Mark(1);
/// The call was not polled yet, and is measured.
const CHOSEN: Mark = Mark(2);
/// Other marks are the time since when a call waits, in ticks since the stopwatch was made, and not below this.
const FIRST_TICK: u32 = 3;
/// A tick in microseconds: fine enough for the finest bucket, and it takes 4.7 hours to come round.
const TICK_US: u128 = 4;

impl Mark {
    /// Before a poll: now, if the call is measured from this moment on.
    #[inline]
    pub(crate) fn before_poll(self) -> Option<Instant> {
        (self == CHOSEN).then(Instant::now)
    }

    /// Whether the stopwatch is to be told that the call has to wait.
    #[inline]
    pub(crate) fn minds_pending(self) -> bool {
        self == UNSEEN || self == CHOSEN
    }

    /// Whether the stopwatch is to be told that the call has ended.
    #[inline]
    pub(crate) fn minds_end(self) -> bool {
        self.0 >= CHOSEN.0
    }

    /// Whether the call is one of a route whose calls are measured.
    #[inline]
    pub(crate) fn is_on(self) -> bool {
        self != OFF
    }
}

/// Measures the calls of one service.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    metrics: Arc<RouteMetrics>,
    made: Instant,
}

impl Stopwatch {
    pub(crate) fn new(metrics: Arc<RouteMetrics>) -> Self {
        let made = Instant::now();
        Self { metrics, made }
    }

    /// Where it writes.
    pub(crate) fn metrics(&self) -> &Arc<RouteMetrics> {
        &self.metrics
    }

    /// The mark of the next call of a service that counts its calls.
    #[inline]
    pub(crate) fn next(calls: &mut u32) -> Mark {
        *calls = calls.wrapping_add(1);
        match is_chosen(*calls) {
            true => CHOSEN,
            false => UNSEEN,
        }
    }

    /// The call has to wait; `start` is what its mark gave before the poll.
    #[cold]
    pub(crate) fn pending(&self, mark: &mut Mark, start: Option<Instant>) {
        let start = start.unwrap_or_else(Instant::now);
        *mark = Mark(self.ticks(start).max(FIRST_TICK));
    }

    /// The call has ended.
    #[cold]
    pub(crate) fn ended(&self, mark: Mark, start: Option<Instant>) {
        match start {
            Some(start) => self
                .metrics
                .calls
                .record(start.elapsed(), SAMPLED_ONE_IN.into()),
            None => {
                let ticks = self.ticks(Instant::now()).wrapping_sub(mark.0);
                let took = Duration::from_micros(u64::from(ticks) * TICK_US as u64);
                self.metrics.calls.record(took, 1);
            }
        }
    }

    fn ticks(&self, at: Instant) -> u32 {
        let us = at.saturating_duration_since(self.made).as_micros();
        // It comes round.
        (us / TICK_US) as u32
    }
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
        let round = Duration::from_micros((1 << 32) * TICK_US as u64);
        tokio::time::advance(round - Duration::from_secs(1)).await;
        let mut mark = UNSEEN;
        stopwatch.pending(&mut mark, None);
        assert!(mark.minds_end() && !mark.minds_pending() && mark.before_poll().is_none());
        tokio::time::advance(Duration::from_secs(3)).await;
        stopwatch.ended(mark, None);
        let calls = metrics.calls.snapshot();
        assert!((calls.sum_seconds - 3.0).abs() < 0.001, "{calls:?}");
    }
}
