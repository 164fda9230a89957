//! Which dead letters are done with, for whoever lists them: replayed, or discarded.

use std::collections::BTreeMap;

use super::DeadLetter;
use super::positions::{Access, Positions};
use crate::backend::{Backend, PositionStore};
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

    /// Whether it has been replayed or discarded.
    #[must_use]
    pub fn has(&self, letter: &DeadLetter) -> bool {
        let settled = self.0.get(&letter.partition);
        settled.is_some_and(|settled| settled.is_settled(letter.offset))
    }
}
