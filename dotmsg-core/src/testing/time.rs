//! Virtual time: tokio's clock, paused. It moves when every task waits, to the next timer, and never else.

use std::future::Future;
use std::task::{Context, Poll, Waker};

use crate::clock::Timestamp;

/// What the clock shows when a test starts: 2026-01-01T00:00:00Z.
pub(crate) const START: Timestamp = Timestamp(1_767_225_600_000);

/// Runs a test in a runtime of its own whose time is virtual, so that the test needs no attribute of tokio.
///
/// Inside `#[tokio::test]` it is not needed: the harness pauses the time itself.
///
/// # Panics
/// When the operating system gives no runtime; and whenever the test does.
pub fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread can be made")
        .block_on(test)
}

/// Pauses the time of the current runtime if it is not.
#[allow(
    clippy::disallowed_methods,
    reason = "tells a clock that runs from one that is paused"
)]
pub(super) fn pause() {
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    assert!(
        flavor == tokio::runtime::RuntimeFlavor::CurrentThread,
        "virtual time needs a runtime of one thread: use dotmsg::testing::run, or #[tokio::test] without a flavor"
    );
    let virtual_time = tokio::time::Instant::now();
    let real = std::time::Instant::now();
    while real.elapsed().is_zero() {}
    if !virtual_time.elapsed().is_zero() {
        tokio::time::pause();
    }
}

/// The value of a future that a memory broker answers at once.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a memory broker answers at once"),
    }
}
