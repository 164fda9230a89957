//! Pacing of repeats: exponential delays with jitter, and a pause that ends when the partition is being given up.
//!
//! Jitter is *equal jitter*: a pause lies between half of its step and the whole, so that a configured longest pause is
//! never exceeded. It is seeded by the caller, so that a run in virtual time can be repeated.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::delivery::{Delivery, Stream};

/// Delays that start near `first`, double, and stay at most `longest`.
pub(super) fn delays(first: Duration, longest: Duration, seed: u64) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_factor(2.0)
        .with_min_delay(first.min(longest) / 2)
        .with_max_delay(longest / 2)
        .with_jitter()
        .with_jitter_seed(seed)
        .without_max_times()
        .build()
}

/// A seed of its own for every attempt of every record, so that records which failed together do not repeat together.
pub(super) fn seed(base: u64, delivery: &Delivery) -> u64 {
    let position = delivery.position();
    let place = (u64::from(position.partition) << 48) ^ position.offset;
    // The odd constant of splitmix64: neighbouring offsets get distant seeds.
    base ^ (place ^ (u64::from(delivery.attempt()) << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Sleeps; false, at once, when the partition is being given up. Whoever sets the stop flag also wakes the task.
pub(super) async fn pause(stream: &Stream, delay: Duration) -> bool {
    let mut sleep = pin!(tokio::time::sleep(delay));
    poll_fn(|cx| {
        if stream.is_stopping() {
            return Poll::Ready(false);
        }
        sleep.as_mut().poll(cx).map(|()| true)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_within_half_and_whole_of_their_step() {
        let ms = Duration::from_millis;
        let steps = [ms(50), ms(100), ms(200), ms(250), ms(250)];
        for seed in 0..50 {
            for (delay, step) in delays(ms(50), ms(250), seed).zip(steps) {
                assert!(
                    step / 2 <= delay && delay <= step,
                    "{delay:?} of {step:?}, seed {seed}"
                );
            }
        }
    }
}
