//! A loop that allocates once a message, by construction: the method of counting, counted.

use std::hint::black_box;

use super::{Outcome, Workload, timed};

pub(super) const WORKLOAD: Workload = Workload {
    name: "calibration",
    messages: 10_000_000,
    warm_up: 100_000,
    run,
};

#[allow(clippy::unnecessary_wraps)] // The type of every workload.
fn run(messages: u64) -> Result<Outcome, String> {
    // Allocations outside of the region, as many as inside and from the same function: they must not show.
    let kept: Vec<Box<u64>> = (0..messages.min(100_000)).map(allocate).collect();
    let outcome = timed(messages, || {
        for message in 0..messages {
            drop(black_box(allocate(message)));
        }
    });
    drop(black_box(kept));
    Ok(outcome)
}

#[inline(never)]
fn allocate(message: u64) -> Box<u64> {
    Box::new(message)
}
