//! Waiting for conditions, never for time alone: each wait has a deadline and says what did not happen.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long a case waits for one thing to happen. Generous, because a machine that runs many tests is slow, and because
/// nothing waits for it to pass when all is well.
pub const DEADLINE: Duration = Duration::from_secs(45);

/// How often a condition that nobody announces is looked at.
const LOOK: Duration = Duration::from_millis(3);

/// The outcome of `future`.
///
/// # Panics
/// When it takes longer than [`DEADLINE`].
#[track_caller]
pub(crate) fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move {
        match timeout(DEADLINE, future).await {
            Ok(value) => value,
            Err(_) => panic!("{at}: not within {DEADLINE:?}: {what}"),
        }
    }
}

/// Waits until `look` gives something.
///
/// # Panics
/// When it does not within [`DEADLINE`].
#[track_caller]
pub(crate) fn until<T, Fut: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> Fut,
) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(value) = look().await {
                return value;
            }
            assert!(
                Instant::now() < deadline,
                "{at}: not within {DEADLINE:?}: {what}"
            );
            sleep(LOOK).await;
        }
    }
}
