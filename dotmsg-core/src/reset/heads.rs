//! Which of the named heads are still in their tiers.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::time::Duration;

use crate::backend::{Backend, BatchLimits, OffsetRange, ReadBatch};
use crate::error::{ErrorKind, Result};
use crate::progress::{Name, TierId};
use crate::router::Topology;

const READ_LIMITS: BatchLimits = BatchLimits {
    messages: 256,
    bytes: 1 << 20,
};

/// The names of which the tier does not hold the record.
pub(super) async fn lost(
    backend: &dyn Backend,
    topology: &Topology,
    partition: u32,
    names: Vec<Name>,
) -> Result<Vec<Name>> {
    let mut by_tier: BTreeMap<TierId, Vec<Name>> = BTreeMap::new();
    for name in names {
        by_tier.entry(name.tier).or_default().push(name);
    }
    let mut lost = Vec::new();
    for (tier, names) in by_tier {
        let topic = topology.tier_topic(Duration::from_millis(tier.0));
        let range = range(backend, &topic, partition).await?;
        let wanted = names
            .iter()
            .filter(|name| (range.start..range.end).contains(&name.offset))
            .map(|name| (name.offset, *name))
            .collect();
        let held = held(backend, &topic, partition, wanted).await?;
        lost.extend(
            names
                .into_iter()
                .filter(|name| !held.contains(&name.offset)),
        );
    }
    Ok(lost)
}

/// What a partition holds; nothing when there is no such topic.
pub(super) async fn range(
    backend: &dyn Backend,
    topic: &str,
    partition: u32,
) -> Result<OffsetRange> {
    match backend.admin().offsets(topic, partition).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(OffsetRange { start: 0, end: 0 }),
        range => range,
    }
}

/// The offsets of those names, all within the partition, whose record is there.
async fn held(
    backend: &dyn Backend,
    topic: &std::sync::Arc<str>,
    partition: u32,
    wanted: BTreeMap<u64, Name>,
) -> Result<BTreeSet<u64>> {
    let (Some((&first, _)), Some((&last, _))) = (wanted.first_key_value(), wanted.last_key_value())
    else {
        return Ok(BTreeSet::new());
    };
    let mut reader = backend.reader().await?;
    reader.assign(topic, partition, first)?;
    let (mut batch, mut held, mut next) = (ReadBatch::default(), BTreeSet::new(), first);
    while next <= last {
        poll_fn(|cx| reader.poll_batch(cx, READ_LIMITS, &mut batch)).await?;
        next = next.max(batch.removed.take().map_or(0, |removed| removed.end));
        for record in batch.records.drain(..) {
            next = record.offset + 1;
            let name = wanted.get(&record.offset);
            if name.is_some_and(|name| name.is_of(&record.message.headers)) {
                held.insert(record.offset);
            }
        }
    }
    Ok(held)
}
