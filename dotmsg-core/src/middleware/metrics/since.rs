//! Since when a call is measured: what is noted of it, and when the clock is looked at.

use tokio::time::Instant;

use crate::metrics::RouteMetrics;

/// Of the calls that are ready at once, one in so many is measured, and counts for all of these.
pub const SAMPLED_ONE_IN: u32 = 16;

/// How far a call is that may be measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Since {
    /// Nothing is measured.
    #[default]
    Off,
    /// It was not polled yet, and is not measured if it is ready then.
    FirstPollUnseen,
    /// It was not polled yet.
    FirstPoll,
    /// It waits.
    Waiting(Instant),
}

impl Since {
    /// Of the next call of a service that counts its calls.
    #[inline]
    pub(crate) fn of_next(calls: &mut u32) -> Self {
        *calls = calls.wrapping_add(1);
        match is_sampled(*calls) {
            true => Self::FirstPoll,
            false => Self::FirstPollUnseen,
        }
    }

    #[inline]
    pub(crate) const fn is_off(self) -> bool {
        matches!(self, Self::Off)
    }

    /// Before a poll: since when the call runs, if that is known by its end.
    #[inline]
    pub(crate) fn before_poll(self) -> Option<Instant> {
        match self {
            Self::Off | Self::FirstPollUnseen => None,
            Self::FirstPoll => Some(Instant::now()),
            Self::Waiting(start) => Some(start),
        }
    }

    /// After a poll, before which `start` was asked, when the call has to wait.
    #[inline]
    pub(crate) fn pending(&mut self, start: Option<Instant>) {
        if let Self::FirstPoll | Self::FirstPollUnseen = self {
            *self = Self::Waiting(start.unwrap_or_else(Instant::now));
        }
    }

    /// The call has ended that runs since `start`.
    #[cold]
    pub(crate) fn ended(self, start: Instant, metrics: &RouteMetrics) {
        let times = match self {
            Self::Waiting(_) => 1,
            Self::Off | Self::FirstPoll | Self::FirstPollUnseen => SAMPLED_ONE_IN,
        };
        metrics.calls.record(start.elapsed(), times.into());
    }
}

/// Whether the call of this number is chosen. A multiplier spreads them, so that no rhythm of the messages meets theirs.
fn is_sampled(call: u32) -> bool {
    const SPREAD: u32 = 0x9E37_79B9;
    call.wrapping_mul(SPREAD) < u32::MAX / SAMPLED_ONE_IN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_sixteen_is_chosen_whatever_the_rhythm() {
        for (step, first) in [(1, 0), (16, 3), (512, 100), (1_000, 7)] {
            let chosen = (0..10_000_u32).filter(|call| is_sampled(first + call * step));
            let chosen = chosen.count();
            assert!((560..690).contains(&chosen), "{chosen} at every {step}th");
        }
    }
}
