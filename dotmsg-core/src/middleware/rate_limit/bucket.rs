//! The tokens of a rate, shared by all that are limited by it.
//!
//! A bucket holds as many tokens as the rate has messages, is full at first, and is filled evenly. It is kept as one number,
//! the time up to which its refill is used up (the generic cell rate algorithm, ITU-T I.371): a token is had by moving that
//! time on, and is there once the clock has reached it. So whoever waits has a token of its own, at a time of its own: those
//! that wait go in the order in which they asked, nobody is woken for another's token, and none is promised twice.
//!
//! Time is counted in parts: `messages` parts to a nanosecond. A token then costs a whole number of them, whatever the rate,
//! and nothing is ever rounded away.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Rate;

/// No token is further away: beyond it clocks overflow.
const FURTHEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The tokens of a [`Rate`]. A clone has the same tokens.
#[derive(Clone)]
pub struct TokenBucket {
    rate: Rate,
    used: Arc<Mutex<Used>>,
}

/// What has been taken.
#[derive(Default)]
struct Used {
    /// When the first token was asked for.
    begin: Option<Instant>,
    /// The time since then up to which the refill is used up, in parts. A full bucket lies ahead of the clock, so that
    /// `0` is a full bucket at the beginning.
    parts: u128,
}

impl TokenBucket {
    /// A full one.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            used: Arc::default(),
        }
    }

    /// Its rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes a token, and says when it is there: now, or later.
    pub(super) fn take(&self, now: Instant) -> Instant {
        let (messages, cost) = (u128::from(self.rate.messages()), self.cost());
        let full = messages * cost;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = *used.begin.get_or_insert(now);
        let clock = now.saturating_duration_since(begin).as_nanos() * messages;
        // Whatever was refilled beyond a full bucket is gone.
        used.parts = used.parts.max(clock) + cost;
        if used.parts <= clock + full {
            return now;
        }
        let nanos = (used.parts - full).div_ceil(messages);
        let away = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        begin + away.min(now.saturating_duration_since(begin) + FURTHEST)
    }

    /// Gives a token back that was taken and not used.
    pub(super) fn give_back(&self) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.parts = used.parts.saturating_sub(self.cost());
    }

    /// Parts to a token.
    fn cost(&self) -> u128 {
        self.rate.per().as_nanos()
    }
}

impl fmt::Debug for TokenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenBucket").field(&self.rate).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of `count` tokens is there, in nanoseconds after `begin`.
    fn taken(bucket: &TokenBucket, begin: Instant, at: Duration, count: usize) -> Vec<u128> {
        let take = |_| bucket.take(begin + at).duration_since(begin).as_nanos();
        (0..count).map(take).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_evenly_and_exactly_however_odd_the_rate() {
        let bucket = TokenBucket::new("3/s".parse().unwrap());
        let begin = Instant::now();
        let third = |thirds: u128| (thirds * 1_000_000_000).div_ceil(3);
        let first = taken(&bucket, begin, Duration::ZERO, 6);
        assert_eq!(first, [0, 0, 0, third(1), third(2), third(3)]);
        // A million seconds later the burst is three again, and the thirds are as exact.
        let later = Duration::from_secs(1_000_000);
        let nanos = later.as_nanos();
        let again = taken(&bucket, begin, later, 5);
        assert_eq!(
            again,
            [nanos, nanos, nanos, nanos + third(1), nanos + third(2)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_is_one_token_and_never_more_than_a_full_bucket() {
        let bucket = TokenBucket::new("2/s".parse().unwrap());
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(
            taken(&bucket, begin, Duration::ZERO, 3),
            [0, 0, 500_000_000]
        );
        bucket.give_back();
        assert_eq!(taken(&bucket, begin, Duration::ZERO, 1), [500_000_000]);
        // Full again at 1.5 s; what comes back then finds no room.
        let late = 10 * second;
        bucket.give_back();
        bucket.give_back();
        let nanos = late.as_nanos();
        let again = taken(&bucket, begin, late, 3);
        assert_eq!(again, [nanos, nanos, nanos + 500_000_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn extreme_rates_do_not_overflow() {
        let slow = TokenBucket::new(Rate::new(1, Duration::from_secs(3650 * 24 * 60 * 60)));
        let begin = Instant::now();
        for _ in 0..1_000 {
            assert!(slow.take(begin) <= begin + FURTHEST);
        }
        let fast = TokenBucket::new("1000000000/d".parse().unwrap());
        assert_eq!(fast.take(begin), begin);
        assert_eq!(fast.take(begin + FURTHEST), begin + FURTHEST);
    }
}
