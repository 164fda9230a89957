//! Reading a dead-letter topic, in order, up to the ends seen at the start.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;

use super::DeadLetter;
use crate::backend::{Backend, BatchLimits, OffsetRange, ReadBatch, Reader, Record};
use crate::error::{Error, ErrorKind, Result};

const READ_LIMITS: BatchLimits = BatchLimits {
    messages: 256,
    bytes: 4 << 20,
};

/// The dead letters of a topic: partition by partition, each in offset order.
///
/// It ends at the end offsets that the topic had when it was opened, so that what is added meanwhile (a replayed message
/// that fails again) is not read.
pub struct DeadLetters {
    topic: Arc<str>,
    reader: Box<dyn Reader>,
    partitions: VecDeque<(u32, OffsetRange)>,
    reading: Option<Reading>,
    batch: ReadBatch,
}

/// The partition that is being read.
struct Reading {
    partition: u32,
    next: u64,
    end: u64,
    records: VecDeque<Record>,
}

/// What is met next.
#[derive(Debug)]
pub(super) enum Found {
    /// A partition begins, at this offset.
    Partition(u32),
    /// A record: its offset, and the dead letter unless it is none of ours.
    Record(u64, Option<Box<DeadLetter>>),
    /// These offsets were removed by retention before they were read.
    Removed(Range<u64>),
}

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetters")
            .field("topic", &self.topic)
            .field("partitions left", &self.partitions.len())
            .finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// All dead letters of a topic (a route's [`Topology::dead_letter`](crate::router::Topology)), in memory at once, also
    /// those that have been replayed.
    ///
    /// # Errors
    /// As [`DeadLetters::open`].
    pub async fn read(backend: &dyn Backend, topic: &Arc<str>) -> Result<Vec<DeadLetter>> {
        let mut letters = Self::open(backend, topic).await?;
        let mut all = Vec::new();
        while let Some(letter) = letters.next().await? {
            all.push(letter);
        }
        Ok(all)
    }

    /// Opens a dead-letter topic at its first record.
    ///
    /// # Errors
    /// The topic does not exist; the backend's own.
    pub async fn open(backend: &dyn Backend, topic: &Arc<str>) -> Result<Self> {
        let ranges = ranges(backend, topic).await?;
        let partitions = (0..).zip(ranges).collect();
        Self::open_at(backend, topic, partitions).await
    }

    /// Opens it to read these offsets of these partitions.
    pub(super) async fn open_at(
        backend: &dyn Backend,
        topic: &Arc<str>,
        partitions: VecDeque<(u32, OffsetRange)>,
    ) -> Result<Self> {
        Ok(Self {
            topic: Arc::clone(topic),
            reader: backend.reader().await?,
            partitions,
            reading: None,
            batch: ReadBatch::default(),
        })
    }

    /// The next one; `None` at the end. Records that are no dead letters (no origin) are passed over.
    ///
    /// A broker that is away is waited for; so is a record behind the last one where the last offsets of a partition hold none. The
    /// framework leaves no such offsets in a dead-letter topic; transactions of somebody else who writes there do.
    ///
    /// # Errors
    /// The backend's.
    pub async fn next(&mut self) -> Result<Option<DeadLetter>> {
        while let Some(found) = self.next_found().await? {
            if let Found::Record(_, Some(letter)) = found {
                return Ok(Some(*letter));
            }
        }
        Ok(None)
    }

    /// The next record, whatever it is, and what else is met on the way. Partitions without records are not told.
    pub(super) async fn next_found(&mut self) -> Result<Option<Found>> {
        loop {
            let Some(reading) = &mut self.reading else {
                return self.begin();
            };
            if let Some(record) = reading.records.pop_front() {
                let (partition, offset) = (reading.partition, record.offset);
                let letter = DeadLetter::read(partition, record).map(Box::new);
                return Ok(Some(Found::Record(offset, letter)));
            }
            if reading.next >= reading.end {
                self.reader.unassign(&self.topic, reading.partition);
                self.reading = None;
                continue;
            }
            let (reader, batch) = (&mut self.reader, &mut self.batch);
            poll_fn(|cx| reader.poll_batch(cx, READ_LIMITS, batch)).await?;
            let removed = batch.removed.take();
            if let Some(removed) = &removed {
                tracing::warn!(topic = %self.topic, partition = reading.partition, from = removed.start, to = removed.end, "dead letters were removed by retention before they were read");
                reading.next = removed.end;
            }
            if let Some(last) = batch.records.last() {
                reading.next = last.offset + 1;
            }
            let end = reading.end;
            let seen = batch.records.drain(..).filter(|record| record.offset < end);
            reading.records.extend(seen);
            if let Some(removed) = removed {
                return Ok(Some(Found::Removed(removed.start..removed.end.min(end))));
            }
        }
    }

    /// Starts the next partition that holds something.
    fn begin(&mut self) -> Result<Option<Found>> {
        while let Some((partition, range)) = self.partitions.pop_front() {
            if range.start < range.end {
                self.reader.assign(&self.topic, partition, range.start)?;
                self.reading = Some(Reading {
                    partition,
                    next: range.start,
                    end: range.end,
                    records: VecDeque::new(),
                });
                return Ok(Some(Found::Partition(partition)));
            }
        }
        Ok(None)
    }
}

/// What each partition of a dead-letter topic holds.
pub(super) async fn ranges(backend: &dyn Backend, topic: &str) -> Result<Vec<OffsetRange>> {
    let admin = backend.admin();
    let described = admin.topic(topic).await?.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            "read dead letters",
            "the topic does not exist",
        )
        .with("topic", topic)
        .remedy("A route creates it when it first runs; check topic, group and prefix")
    })?;
    let mut ranges = Vec::new();
    for partition in 0..described.partitions {
        ranges.push(admin.offsets(topic, partition).await?);
    }
    Ok(ranges)
}
