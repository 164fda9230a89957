//! The first record of a partition from a moment on, by append time.
//!
//! Brokers stamp in the order in which they append, but for clocks that are set back: then the answer is one of the places at
//! which the time passes the moment.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use dotmsg::backend::{Backend, BatchLimits, ReadBatch, Reader};
use dotmsg::clock::Timestamp;

use crate::exit::Outcome;

const ONE: BatchLimits = BatchLimits {
    messages: 1,
    bytes: 1,
};
/// Nothing for so long, and what is left up to the end holds no records (transaction markers, compaction).
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// The offset of the first record that was appended at `at` or later; the end when there is none.
pub(crate) async fn first_at(
    backend: &dyn Backend,
    topic: &Arc<str>,
    partition: u32,
    at: Timestamp,
) -> Outcome<u64> {
    let range = backend.admin().offsets(topic, partition).await?;
    let mut reader = backend.reader().await?;
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        match record_at(&mut *reader, topic, partition, middle).await? {
            Some((offset, appended_at)) if appended_at < at => low = offset.max(middle) + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low.min(range.end))
}

/// The first record from an offset on, and when it was appended.
async fn record_at(
    reader: &mut dyn Reader,
    topic: &Arc<str>,
    partition: u32,
    offset: u64,
) -> Outcome<Option<(u64, Timestamp)>> {
    reader.assign(topic, partition, offset)?;
    let mut batch = ReadBatch::default();
    loop {
        let read = poll_fn(|cx| reader.poll_batch(cx, ONE, &mut batch));
        match tokio::time::timeout(SILENCE, read).await {
            Ok(read) => read?,
            Err(_) => return Ok(None),
        }
        if let Some(record) = batch.records.first() {
            return Ok(Some((record.offset, record.appended_at)));
        }
    }
}
