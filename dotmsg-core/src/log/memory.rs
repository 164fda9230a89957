//! A partition in memory: chunks of records, oldest first.
//!
//! A chunk keeps its records as they are handed out, beside the running sum of their sizes; a batch is then one binary
//! search and one `extend` over a slice, a few reference counts per record. Chunks are the segments of this storage:
//! retention removes whole ones and never the last.

use std::collections::VecDeque;

use super::retention::{Retained, Retention};
use crate::backend::{BatchLimits, OffsetRange, Record};
use crate::clock::Timestamp;
use crate::message::Message;

/// Records after which a chunk ends.
const CHUNK_RECORDS: usize = 1024;

/// A partition in memory.
#[derive(Debug)]
pub(super) struct MemoryPartition {
    chunks: VecDeque<Chunk>,
    start: u64,
    end: u64,
    chunk_bytes: u64,
}

#[derive(Debug)]
struct Chunk {
    base: u64,
    records: Vec<Record>,
    /// Bytes of the records up to and with this one.
    sums: Vec<u64>,
    newest: Timestamp,
}

impl Chunk {
    fn bytes(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    fn is_full(&self, chunk_bytes: u64) -> bool {
        self.records.len() >= CHUNK_RECORDS || self.bytes() >= chunk_bytes
    }
}

impl MemoryPartition {
    /// An empty partition whose chunks end after `chunk_bytes`.
    pub(super) fn new(chunk_bytes: u64) -> Self {
        Self {
            chunks: VecDeque::new(),
            start: 0,
            end: 0,
            chunk_bytes,
        }
    }

    pub(super) fn range(&self) -> OffsetRange {
        OffsetRange {
            start: self.start,
            end: self.end,
        }
    }

    /// Appends a message; gives its offset, and whether a new chunk was begun (the moment for retention).
    pub(super) fn append(&mut self, message: Message, appended_at: Timestamp) -> (u64, bool) {
        let rolled = self
            .chunks
            .back()
            .is_none_or(|last| last.is_full(self.chunk_bytes));
        if rolled {
            self.chunks.push_back(Chunk {
                base: self.end,
                records: Vec::new(),
                sums: Vec::new(),
                newest: appended_at,
            });
        }
        let offset = self.end;
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.sums.push(chunk.bytes() + message.size() as u64);
            chunk.newest = chunk.newest.max(appended_at);
            chunk.records.push(Record {
                offset,
                receipt: 0,
                appended_at,
                message,
            });
        }
        self.end += 1;
        (offset, rolled)
    }

    /// Adds records from offset `from` on to `out`, within the limits (at least one); gives the offset to go on at.
    pub(super) fn read(&self, from: u64, limits: BatchLimits, out: &mut Vec<Record>) -> u64 {
        let mut next = from.max(self.start);
        if next >= self.end {
            return from;
        }
        let mut messages = limits.messages.max(1);
        let mut bytes = limits.bytes as u64;
        let first = self.chunks.partition_point(|chunk| chunk.base <= next) - 1;
        for chunk in self.chunks.range(first..) {
            // A chunk starts where the one before ends, so this is below its length.
            let skip = usize::try_from(next - chunk.base).unwrap_or(usize::MAX);
            let before = skip.checked_sub(1).map_or(0, |last| chunk.sums[last]);
            let fitting = chunk.sums[skip..].partition_point(|sum| sum - before <= bytes);
            let least = usize::from(out.is_empty());
            let count = fitting.max(least).min(messages);
            let taken = &chunk.records[skip..skip + count];
            out.extend(taken.iter().cloned());
            next += count as u64;
            messages -= count;
            if messages == 0 || skip + count < chunk.records.len() {
                break;
            }
            bytes = bytes.saturating_sub(chunk.bytes() - before);
        }
        next
    }

    /// Removes the oldest chunks that `retention` lets go.
    pub(super) fn apply(&mut self, retention: &Retention) {
        let chunks = self.chunks.iter().map(|chunk| Retained {
            bytes: chunk.bytes(),
            newest: chunk.newest,
        });
        let expired = retention.expired(chunks);
        self.chunks.drain(..expired);
        if let Some(first) = self.chunks.front() {
            self.start = first.base;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(records: u64) -> MemoryPartition {
        let mut partition = MemoryPartition::new(u64::MAX);
        for _ in 0..records {
            partition.append(Message::new("0123456789"), Timestamp(0));
        }
        partition
    }

    fn read(partition: &MemoryPartition, from: u64, messages: usize, bytes: usize) -> Vec<u64> {
        let mut out = Vec::new();
        let next = partition.read(from, BatchLimits { messages, bytes }, &mut out);
        let offsets: Vec<u64> = out.iter().map(|record| record.offset).collect();
        assert_eq!(next, offsets.last().map_or(from, |last| last + 1));
        offsets
    }

    #[test]
    fn a_batch_crosses_chunks() {
        let partition = partition(3000);
        let want: Vec<u64> = (1000..2500).collect();
        assert_eq!(read(&partition, 1000, 1500, usize::MAX), want);
        assert_eq!(read(&partition, 2999, 10, usize::MAX), [2999]);
        assert!(read(&partition, 3000, 10, usize::MAX).is_empty());
    }

    #[test]
    fn bytes_limit_a_batch_but_one_record_always_passes() {
        let partition = partition(2000);
        assert_eq!(read(&partition, 5, 100, 35), [5, 6, 7]);
        assert_eq!(read(&partition, 5, 100, 0), [5]);
        assert_eq!(read(&partition, 1023, 100, 10), [1023]);
        assert_eq!(read(&partition, 1023, 100, 20), [1023, 1024]);
    }
}
