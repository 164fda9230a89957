//! Which dead letters are done with, for whoever lists them: replayed, or discarded.

use std::collections::BTreeMap;

use super::DeadLetter;
use super::positions::{Access, Positions};
use crate::backend::{Backend, OffsetRange, PositionStore};
use crate::error::Result;
use crate::progress::ResumeMap;
use crate::router::Topology;

/// What the runs of a group have replayed or discarded, as of when it was read.
#[derive(Clone, Debug, Default)]
pub struct Done(BTreeMap<u32, ResumeMap>);

impl Done {
    /// Reads it; it may be read beside a run. Nothing is done on a backend that stores no positions.
    ///
    /// # Errors
    /// The dead-letter topic does not exist; what is stored cannot be read; the backend's own.
    pub async fn read(backend: &dyn Backend, topology: &Topology) -> Result<Self> {
        if backend.capability().position == PositionStore::None {
            return Ok(Self::default());
        }
        let access = Access {
            again: false,
            look: true,
        };
        let positions = Positions::open(backend, topology, access).await?;
        Ok(Self(positions.into_settled()))
    }

    /// How many of the offsets that a partition of the dead-letter topic holds are left: neither replayed nor discarded. On
    /// brokers whose topics have gaps, those are among them.
    #[must_use]
    pub fn left(&self, partition: u32, holds: OffsetRange) -> u64 {
        match self.0.get(&partition) {
            Some(settled) => settled.unsettled_in(holds.start..holds.end),
            None => holds.end - holds.start,
        }
    }

    /// Whether it has been replayed or discarded.
    #[must_use]
    pub fn has(&self, letter: &DeadLetter) -> bool {
        let settled = self.0.get(&letter.partition);
        settled.is_some_and(|settled| settled.is_settled(letter.offset))
    }
}
