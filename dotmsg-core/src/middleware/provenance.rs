//! Whose record it is: the names that control headers are checked against and written with.
//!
//! Control headers are honoured only when they name this group and this route's source topic. Anything else on a retry
//! or replay topic was written by somebody else, and its origin is its own position.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::delivery::{Delivery, Lineage, Role};

/// Handler, group and source topic of a route.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The handler's name.
    pub handler: Arc<str>,
    /// The consumer group.
    pub group: Arc<str>,
    /// The source topic, as the broker knows it.
    pub source: Arc<str>,
}

impl Provenance {
    /// Whether a record of a source topic, or of a retry or replay topic with an origin that this group wrote.
    #[must_use]
    pub fn is_ours(&self, delivery: &Delivery) -> bool {
        delivery.stream().role == Role::Source || self.trusted(delivery).is_some()
    }

    fn trusted<'d>(&self, delivery: &'d Delivery) -> Option<&'d Lineage> {
        delivery.lineage().filter(|lineage| {
            lineage.group == self.group
                && lineage.topic == self.source
                && lineage.partition == delivery.stream().partition
        })
    }

    /// What the next record of this message says about where it comes from.
    pub(super) fn lineage(
        &self,
        delivery: &Delivery,
        attempts: u32,
        first_failure: Timestamp,
    ) -> Lineage {
        let stream = delivery.stream();
        let mut lineage = match self.trusted(delivery) {
            Some(lineage) => lineage.clone(),
            None => Lineage {
                topic: Arc::clone(&stream.topic),
                partition: stream.partition,
                offset: delivery.position().offset,
                timestamp: delivery.timestamp(),
                attempts,
                replay_offset: None,
                replays: 0,
                group: Arc::clone(&self.group),
                handler: Arc::clone(&self.handler),
                epoch: stream.epoch,
                first_failure: None,
                trace: None,
            },
        };
        if stream.role == Role::Replay {
            lineage.replay_offset = Some(delivery.position().offset);
        }
        lineage.attempts = attempts;
        lineage.handler = Arc::clone(&self.handler);
        lineage.epoch = stream.epoch;
        lineage.first_failure.get_or_insert(first_failure);
        // Without a tracer here, what an earlier one left stays.
        if let Some(story) = delivery.story() {
            lineage.trace = Some(story.origin());
        }
        lineage
    }
}
