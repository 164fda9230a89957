//! What committed position records say.

use std::collections::BTreeMap;

use dotmsg_core::backend::Backend;
use dotmsg_core::clock::{Clock, SystemClock};
use dotmsg_core::lag::{self, Lag};
use dotmsg_core::progress::{Origin, PositionRecord};

use crate::wait::within;

/// The committed position records of a group, by partition.
pub(crate) async fn committed(
    backend: &dyn Backend,
    topic: &str,
    group: &str,
) -> BTreeMap<u32, PositionRecord> {
    let admin = backend.admin();
    let positions = within("positions are listed", admin.positions(group, topic)).await;
    let positions = positions.unwrap_or_else(|error| panic!("positions of {topic}: {error}"));
    positions
        .into_iter()
        .map(|(partition, bytes)| (partition, decoded(&bytes)))
        .collect()
}

pub(crate) fn decoded(bytes: &[u8]) -> PositionRecord {
    PositionRecord::decode(bytes)
        .unwrap_or_else(|error| panic!("a stored position record is none: {error}"))
}

/// Whether a record says that nobody owes the message at this source offset any more.
pub(crate) fn is_settled(record: &PositionRecord, offset: u64) -> bool {
    let is_away = |offset| {
        let mut names = record.names.iter();
        names.any(|name| name.origin == Origin::Source(offset))
    };
    record.source.is_settled(offset) && !is_away(offset)
}

/// The lag of a group by what it has committed.
pub(crate) async fn outside(backend: &dyn Backend, topic: &str, group: &str) -> Lag {
    let now = SystemClock.now();
    let lag = within("the lag is told", lag::of(backend, topic, group, now)).await;
    lag.unwrap_or_else(|error| panic!("the lag of {group} on {topic}: {error}"))
}
