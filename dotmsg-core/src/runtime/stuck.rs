//! Calls of a handler that do not end.
//!
//! Nothing is noted when a call begins: a look, now and then, finds which messages are in hand, and remembers when it saw each
//! of them first. So an age is too small by up to the time between two looks, and no message pays for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;

/// A call that has run for so long is stuck.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The most stuck calls that are told of one by one.
pub const STUCK_MAX: usize = 16;

/// A call of a handler that has run for long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StuckCall {
    /// The topic that its message was read from, as the broker knows it: the source, a tier, or the replay topic.
    pub topic: Arc<str>,
    /// The partition of its message.
    pub partition: u32,
    /// The offset of its message.
    pub offset: u64,
    /// A hash of its key, the same for all messages of the key while the process runs: logs and metrics show no keys. `None`: it
    /// has no key.
    pub key_hash: Option<u64>,
    /// It runs since then, at least.
    pub since: Timestamp,
}

impl StuckCall {
    /// Whether both are of one message.
    pub(crate) fn is_of_same(&self, other: &Self) -> bool {
        let place = |one: &Self| (Arc::clone(&one.topic), one.partition, one.offset);
        place(self) == place(other)
    }
}

/// Which message it is, in which ownership of its partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) ownership: u32,
    pub(crate) offset: u64,
}

/// A message whose handler runs, as its worker sees it.
#[derive(Clone, Debug)]
pub(crate) struct InHand {
    pub(crate) place: Place,
    pub(crate) key_hash: Option<u64>,
}

/// What is known of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) key_hash: Option<u64>,
    pub(crate) since: Instant,
}

/// What one worker had in hand at the last look.
#[derive(Debug, Default)]
pub(crate) struct Calls(BTreeMap<Place, Running>);

impl Calls {
    /// Takes over what is in hand now. What was there before is older than now.
    pub(crate) fn look(&mut self, now: Instant, in_hand: Vec<InHand>) {
        let before = std::mem::take(&mut self.0);
        let running = |InHand { place, key_hash }: InHand| {
            let since = before.get(&place).map_or(now, |known| known.since);
            (place, Running { key_hash, since })
        };
        self.0 = in_hand.into_iter().map(running).collect();
    }

    /// Those that are stuck.
    pub(crate) fn stuck(&self, now: Instant) -> impl Iterator<Item = (&Place, &Running)> {
        let long = move |since: Instant| now.saturating_duration_since(since) >= STUCK_AFTER;
        self.0.iter().filter(move |(_, call)| long(call.since))
    }

    /// Whether anything is in hand.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_hand(topic: &str, offset: u64) -> InHand {
        let place = Place {
            topic: topic.into(),
            partition: 3,
            ownership: 1,
            offset,
        };
        InHand {
            place,
            key_hash: Some(offset),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_stuck_once_it_was_in_hand_for_a_minute() {
        let mut calls = Calls::default();
        let start = Instant::now();
        calls.look(start, vec![in_hand("orders", 7), in_hand("orders", 8)]);
        let later = start + Duration::from_secs(30);
        // 8 has ended; what was read from a tier at the same offset is another message.
        let now = ["orders.billing.retry.5s", "orders"].map(|topic| in_hand(topic, 7));
        calls.look(
            later,
            now.into_iter().chain([in_hand("orders", 9)]).collect(),
        );
        let at = start + STUCK_AFTER;
        let stuck: Vec<_> = calls
            .stuck(at)
            .map(|(place, call)| (&*place.topic, place.offset, call.since))
            .collect();
        assert_eq!(stuck, [("orders", 7, start)]);
        assert_eq!(calls.stuck(at - Duration::from_nanos(1)).count(), 0);
        assert_eq!(calls.stuck(later + STUCK_AFTER).count(), 3);
        calls.look(later + STUCK_AFTER, Vec::new());
        assert!(!calls.any());
    }
}
