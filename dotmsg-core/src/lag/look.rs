//! Asking the backend: where partitions end, and when their oldest unsettled records were appended.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use super::Standing;
use crate::backend::{Backend, BatchLimits, History, OffsetRange, ReadBatch, Reader};
use crate::clock::Timestamp;
use crate::error::Result;

/// Append times that are not read within this are not known: a partition may end with offsets that hold no record.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// The first record is all that is wanted; it is handed over whatever its size.
const ONE: BatchLimits = BatchLimits {
    messages: 1,
    bytes: 1,
};

/// A partition that is looked at.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) standing: Standing,
    /// An append time that is known already, and of which offset.
    pub(crate) known: Option<(u64, Timestamp)>,
}

/// What the backend says of it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) partition: u32,
    pub(crate) log: OffsetRange,
    /// The oldest record behind: its offset and, where that could be read, its append time.
    pub(crate) oldest: Option<(u64, Timestamp)>,
}

/// Looks at partitions of a topic; one answer for each, in order. The reader is kept for the next look: opening one may cost
/// a connection.
///
/// # Errors
/// The backend's. An append time that does not come in time is no error: it is not known.
pub(crate) async fn look(
    backend: &dyn Backend,
    topic: &Arc<str>,
    reader: &mut Option<Box<dyn Reader>>,
    asked: &[Asked],
) -> Result<Vec<Seen>> {
    let admin = backend.admin();
    let mut seen = Vec::with_capacity(asked.len());
    let mut unread = BTreeMap::new();
    for Asked { standing, known } in asked {
        let partition = standing.partition;
        let log = admin.offsets(topic, partition).await?;
        let oldest = standing.oldest(log);
        let known = known.filter(|(offset, _)| Some(*offset) == oldest);
        if let (Some(offset), None) = (oldest, known) {
            unread.insert(partition, offset);
        }
        seen.push(Seen {
            partition,
            log,
            oldest: known,
        });
    }
    if unread.is_empty() || backend.capability().history != History::Retained {
        return Ok(seen);
    }
    let mut found = BTreeMap::new();
    if let Err(error) = read(backend, topic, reader, &unread, &mut found).await {
        *reader = None;
        return Err(error);
    }
    for one in &mut seen {
        let at = found.get(&one.partition).copied();
        let offset = unread.get(&one.partition).copied();
        one.oldest = one.oldest.or(offset.zip(at));
    }
    Ok(seen)
}

/// Reads the append time of the first record at or behind each offset, as far as they come in time.
async fn read(
    backend: &dyn Backend,
    topic: &Arc<str>,
    reader: &mut Option<Box<dyn Reader>>,
    unread: &BTreeMap<u32, u64>,
    found: &mut BTreeMap<u32, Timestamp>,
) -> Result<()> {
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(backend.reader().await?),
    };
    for (partition, offset) in unread {
        reader.assign(topic, *partition, *offset)?;
    }
    let all = async {
        let mut batch = ReadBatch::default();
        let mut left = unread.len();
        while left > 0 {
            poll_fn(|cx| reader.poll_batch(cx, ONE, &mut batch)).await?;
            let Some(first) = batch.records.first() else {
                continue;
            };
            if unread.contains_key(&batch.partition) && !found.contains_key(&batch.partition) {
                found.insert(batch.partition, first.appended_at);
                reader.unassign(topic, batch.partition);
                left -= 1;
            }
        }
        Ok(())
    };
    let read = tokio::time::timeout(READ_WITHIN, all).await;
    for partition in unread.keys().filter(|one| !found.contains_key(one)) {
        reader.unassign(topic, *partition);
    }
    // A broker that stamps nothing says zero.
    found.retain(|_, at| at.0 > 0);
    read.unwrap_or(Ok(()))
}
