//! A reader's place in one partition.
//!
//! Shared by group members and readers outside groups. A cursor below the first kept record goes on at the first; one
//! beyond the end waits until the log gets there.

use super::topic::{Partition, Topic};
use crate::backend::{BatchLimits, Record};
use crate::error::Result;

/// A reader's place in one partition.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    next: u64,
}

impl Cursor {
    /// A cursor at `offset`.
    pub(super) fn at(offset: u64) -> Self {
        Self { next: offset }
    }

    /// Adds the next records to `out` (empty), within the limits; none at the end of the partition.
    pub(super) fn read(
        &mut self,
        topic: &Topic,
        partition: u32,
        limits: BatchLimits,
        out: &mut Vec<Record>,
    ) -> Result<()> {
        topic.with(|partitions| match &partitions[partition as usize] {
            Partition::Memory(memory) => self.next = memory.read(self.next, limits, out),
        });
        Ok(())
    }
}
