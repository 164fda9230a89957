//! What committed position records say.

use std::collections::BTreeMap;
use std::sync::Arc;

use dotmsg_core::backend::Backend;
use dotmsg_core::progress::{Origin, PositionRecord};

use crate::trial::range;
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

/// Messages that are not settled: log end − watermark, over all partitions.
pub(crate) async fn lag(backend: &dyn Backend, topic: &Arc<str>, group: &str, of: u32) -> u64 {
    let committed = committed(backend, topic, group).await;
    let mut lag = 0;
    for partition in 0..of {
        let watermark = committed
            .get(&partition)
            .map_or(0, PositionRecord::watermark);
        lag += range(backend, topic, partition).await.end - watermark;
    }
    lag
}
