//! Who has a key: a lane, or the slot that stands for one.

use std::convert::Infallible;
use std::hash::BuildHasher;

use bytes::Bytes;
use tower_service::Service;

use super::Worker;
use crate::backend::Record;
use crate::delivery::Delivery;
use crate::message::Message;
use crate::middleware::Outcome;
use crate::router::Ordering;
use crate::runtime::lanes::{Holder, LaneId, LaneState};
use crate::runtime::slots::Turn;

impl<S> Worker<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible>,
{
    /// Who has a key.
    #[inline]
    pub(super) fn holder(&self, hash: u64, partition: u32, key: &[u8]) -> Option<Holder> {
        self.lanes.find(hash, partition, key, |slot| {
            let slot = &self.slots[slot];
            slot.ticket.partition == partition
                && lane_key(self.policy.ordering, slot.delivery.message()) == Some(key)
        })
    }

    /// The lane of a record's key, if the key is in hand; made, if a slot has stood for it.
    pub(super) fn lane_of(&mut self, hash: u64, partition: u32, record: &Record) -> Option<LaneId> {
        let key = lane_key(self.policy.ordering, &record.message)?;
        match self.holder(hash, partition, key)? {
            Holder::Lane(lane) => Some(lane),
            Holder::Slot(slot) => Some(self.widen(hash, slot)),
        }
    }

    /// Makes the lane of a key that a slot has stood for.
    #[cold]
    pub(super) fn widen(&mut self, hash: u64, index: usize) -> LaneId {
        let slot = &mut self.slots[index];
        let partition = slot.ticket.partition;
        let key = owned_key(self.policy.ordering, slot.delivery.message())
            .expect("a slot stands for a key");
        let lane = self
            .lanes
            .widen(hash, index, partition, key, LaneState::Running);
        self.lanes.get(lane).stopped = self.stopping.has(partition);
        slot.turn = Turn::Lane(lane);
        lane
    }

    #[inline]
    pub(super) fn hash(&self, partition: u32, key: &[u8]) -> u64 {
        self.hasher.hash_one(key) ^ u64::from(partition).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// The bytes that a message's lane is found by; `None`: it has no order.
#[inline]
pub(super) fn lane_key(ordering: Ordering, message: &Message) -> Option<&[u8]> {
    match ordering {
        Ordering::Key => message.key.as_deref(),
        Ordering::Partition => Some(&[]),
        Ordering::None => None,
    }
}

/// The same, to be kept.
pub(super) fn owned_key(ordering: Ordering, message: &Message) -> Option<Bytes> {
    match ordering {
        Ordering::Key => message.key.clone(),
        Ordering::Partition => Some(Bytes::new()),
        Ordering::None => None,
    }
}
