//! The trial around the handler: the audit of its calls, and disturbances on request.
//!
//! A service has nothing of this. It is here so that whoever runs the example can see the promises kept: failures and delays
//! are injected before the work, and each call leaves a line in the audit when it ends, before its settlement. A failure is
//! a function of (seed, row, attempt) and never hits a row's last attempt, so the table is the same at any rate.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dotmsg::router::RetrySpec;
use dotmsg::{Delivery, HandlerError};
use serde::Serialize;

use crate::journal::Journal;

/// What is done to handler calls, and where they are noted; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    disturbances: Disturbances,
    /// Attempts that a row has; the last one is left alone. Known once the configuration is.
    attempts: Arc<OnceLock<u32>>,
    audit: Option<Journal>,
}

/// What is injected into handler calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disturbances {
    /// How long every call sleeps.
    pub(crate) delay: Duration,
    /// The share of calls that fail with a transient error, from 0 to 1.
    pub(crate) fail_rate: f64,
    /// Which calls these are.
    pub(crate) seed: u64,
}

/// One call of the handler, as it ended. Position and attempt are those of the origin; times are Unix time.
#[derive(Serialize)]
struct Call<'a> {
    row: u64,
    key: Option<&'a str>,
    topic: &'a str,
    partition: u32,
    offset: u64,
    attempt: u32,
    outcome: &'static str,
    epoch: u64,
    start_us: u64,
    end_us: u64,
    pid: u32,
}

impl Trial {
    /// A trial whose audit goes to a file of this process in `audit`, if that is given.
    pub(crate) fn new(disturbances: Disturbances, audit: Option<&Path>) -> io::Result<Self> {
        let audit = audit.map(|directory| Journal::create(directory, "audit"));
        Ok(Self {
            disturbances,
            attempts: Arc::default(),
            audit: audit.transpose()?,
        })
    }

    /// Failures begin when this is known.
    pub(crate) fn set_retry(&self, retry: &RetrySpec) {
        let rounds = 1 + u32::try_from(retry.tiers.len()).unwrap_or(u32::MAX - 1);
        let attempts = retry.in_place.attempts.saturating_mul(rounds);
        self.attempts.get_or_init(|| attempts);
    }

    /// Does the work, unless a failure is injected in its place, and notes how the call ended.
    pub(crate) async fn watch<T>(
        &self,
        delivery: &Delivery,
        row: u64,
        work: impl FnOnce() -> Result<T, HandlerError>,
    ) -> Result<T, HandlerError> {
        let start_us = now_us();
        if !self.disturbances.delay.is_zero() {
            tokio::time::sleep(self.disturbances.delay).await;
        }
        let result = if self.fails(row, delivery.attempt()) {
            Err(HandlerError::transient("a failure on request (--fail-rate)").kind("injected"))
        } else {
            work()
        };
        if let Some(audit) = &self.audit {
            let origin = delivery.origin();
            audit.append(&Call {
                row,
                key: delivery.key().and_then(|key| std::str::from_utf8(key).ok()),
                topic: origin.topic,
                partition: origin.partition,
                offset: origin.offset,
                attempt: delivery.attempt(),
                outcome: match &result {
                    Ok(_) => "handled",
                    Err(error) if error.is_transient() => "retry",
                    Err(_) => "dead",
                },
                epoch: delivery.epoch(),
                start_us,
                end_us: now_us(),
                pid: std::process::id(),
            })?;
        }
        result
    }

    fn fails(&self, row: u64, attempt: u32) -> bool {
        let Disturbances {
            fail_rate, seed, ..
        } = self.disturbances;
        let last = self.attempts.get().copied().unwrap_or(1);
        attempt < last && unit(mix(seed ^ mix(row ^ mix(attempt.into())))) < fail_rate
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood 2014): every input bit changes half of the output bits.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// From 0 up to, but not including, 1: the upper 53 bits, which is what an `f64` holds exactly.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Unix time in microseconds. It never goes back within a process, whatever happens to the machine's clock.
#[expect(clippy::disallowed_methods, reason = "the audit's clock")]
pub(crate) fn now_us() -> u64 {
    static START: OnceLock<(Duration, Instant)> = OnceLock::new();
    let (unix, start) = START.get_or_init(|| {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        (unix.unwrap_or_default(), Instant::now())
    });
    u64::try_from((*unix + start.elapsed()).as_micros()).unwrap_or(u64::MAX)
}
