//! Lag: how far a group is behind a topic, partition by partition, and why.
//!
//! One shape for both ways to look. A running route is looked at by its pump, now and then and when it is asked
//! ([`AppHandle::lag`](crate::app::AppHandle::lag)): what this process owns, as it stands in memory. A group is looked at from
//! outside ([`of`]) by what it has committed. Either takes the ends of the log and the append time of the oldest unsettled
//! record from the backend contract and nothing from an adapter, so that the numbers mean the same on every backend.
//!
//! What must stay true: nothing here is on a message's path. The machines (`rate`, `standing`, `course`, `diagnosis`,
//! `notice`) hold no clock and do no IO; `look` asks the backend and decides nothing.

mod course;
mod diagnosis;
mod look;
mod notice;
mod outside;
mod rate;
mod standing;
mod table;

pub use diagnosis::{Diagnosis, Rest, Why};
pub use outside::of;
pub use table::{CatchUp, Lag, Oldest, PartitionLag, Skew};

pub(crate) use course::Course;
pub(crate) use look::{Asked, Seen, look};
pub(crate) use notice::Notice;
pub(crate) use standing::Standing;

use std::time::Duration;

use crate::clock::Timestamp;

/// `duration` before `at`.
pub(crate) fn ago(at: Timestamp, duration: Duration) -> Timestamp {
    let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Timestamp(at.0.saturating_sub(ms))
}

/// A duration in whole seconds, without spaces: `1h2m3s`.
fn text(duration: Duration) -> String {
    let seconds = Duration::from_secs(duration.as_secs());
    humantime::format_duration(seconds)
        .to_string()
        .replace(' ', "")
}
