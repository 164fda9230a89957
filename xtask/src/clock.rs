//! The one place of xtask that reads a clock or sleeps.
//!
//! `clippy.toml` forbids both everywhere else, because the project's state machines take time as an argument. xtask
//! measures steps and kills processes at random moments: real time is its subject.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The current instant, for durations.
#[expect(clippy::disallowed_methods, reason = "xtask's one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A seed that differs from run to run; whoever takes one prints it, so that the run can be repeated.
#[expect(clippy::disallowed_methods, reason = "xtask's one clock")]
pub(crate) fn fresh_seed() -> u64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::from(elapsed.subsec_nanos()) ^ elapsed.as_secs()
}

/// Waits while another process works.
#[expect(
    clippy::disallowed_methods,
    reason = "waits for a child process, which has no async form in std"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
