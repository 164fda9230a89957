//! Reading a dead-letter topic, in order, up to the ends seen at the start.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;

use super::{DeadLetter, ReplayCursor};
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

/// A record of the topic: its place, and the dead letter unless it is none of ours.
pub(super) type Found = (u32, u64, Option<DeadLetter>);

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetters")
            .field("topic", &self.topic)
            .field("partitions left", &self.partitions.len())
            .finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// All dead letters of a topic (a route's [`Topology::dead_letter`](crate::router::Topology)), in memory at once.
    ///
    /// # Errors
    /// As [`DeadLetters::open`].
    pub async fn read(backend: &dyn Backend, topic: &Arc<str>) -> Result<Vec<DeadLetter>> {
        let mut letters = Self::open(backend, topic, &ReplayCursor::start()).await?;
        let mut all = Vec::new();
        while let Some(letter) = letters.next().await? {
            all.push(letter);
        }
        Ok(all)
    }

    /// Opens a dead-letter topic at a cursor.
    ///
    /// # Errors
    /// The topic does not exist; it ends before the cursor, so that the cursor is of another one; the backend's own.
    pub async fn open(
        backend: &dyn Backend,
        topic: &Arc<str>,
        from: &ReplayCursor,
    ) -> Result<Self> {
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
        let mut partitions = VecDeque::new();
        for partition in 0..described.partitions {
            let mut range = admin.offsets(topic, partition).await?;
            if from.next(partition) > range.end {
                return Err(beyond_the_end(topic, partition, from, range.end));
            }
            range.start = range.start.max(from.next(partition));
            partitions.push_back((partition, range));
        }
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
    /// # Errors
    /// The backend's.
    pub async fn next(&mut self) -> Result<Option<DeadLetter>> {
        while let Some((_, _, letter)) = self.next_found().await? {
            if letter.is_some() {
                return Ok(letter);
            }
        }
        Ok(None)
    }

    /// The next record, whatever it is.
    pub(super) async fn next_found(&mut self) -> Result<Option<Found>> {
        loop {
            let Some(reading) = &mut self.reading else {
                if !self.begin()? {
                    return Ok(None);
                }
                continue;
            };
            if let Some(record) = reading.records.pop_front() {
                let (partition, offset) = (reading.partition, record.offset);
                return Ok(Some((
                    partition,
                    offset,
                    DeadLetter::read(partition, record),
                )));
            }
            if reading.next >= reading.end {
                self.reader.unassign(&self.topic, reading.partition);
                self.reading = None;
                continue;
            }
            let (reader, batch) = (&mut self.reader, &mut self.batch);
            poll_fn(|cx| reader.poll_batch(cx, READ_LIMITS, batch)).await?;
            if let Some(removed) = batch.removed.take() {
                tracing::warn!(topic = %self.topic, partition = reading.partition, from = removed.start, to = removed.end, "dead letters were removed by retention before they were read");
                reading.next = removed.end;
            }
            if let Some(last) = batch.records.last() {
                reading.next = last.offset + 1;
            }
            let end = reading.end;
            let seen = batch.records.drain(..).filter(|record| record.offset < end);
            reading.records.extend(seen);
        }
    }

    /// Starts the next partition that holds something; `false`: there is none.
    fn begin(&mut self) -> Result<bool> {
        while let Some((partition, range)) = self.partitions.pop_front() {
            if range.start < range.end {
                self.reader.assign(&self.topic, partition, range.start)?;
                self.reading = Some(Reading {
                    partition,
                    next: range.start,
                    end: range.end,
                    records: VecDeque::new(),
                });
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The error of a cursor that is not about this topic: everything before it would be passed over unread.
fn beyond_the_end(topic: &str, partition: u32, cursor: &ReplayCursor, end: u64) -> Error {
    Error::new(
        ErrorKind::PositionLost,
        "read dead letters",
        "the cursor lies beyond the end of the topic, which was perhaps created anew",
    )
    .with("topic", topic)
    .with("partition", partition)
    .with("cursor", cursor.next(partition))
    .with("end", end)
    .remedy("Start at the first record, without a cursor")
}
