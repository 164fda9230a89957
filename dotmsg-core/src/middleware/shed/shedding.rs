//! The rule: what is shed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::delivery::{Delivery, Role};
use crate::middleware::identity::{self, Identity};

/// Parts of a million.
const MILLION: u32 = 1_000_000;
/// Shedding by age that pauses for so long begins anew.
const PAUSE: Duration = Duration::from_secs(60);
/// Nothing was shed by age.
const NEVER: i64 = i64::MIN;

/// What a [`Shedding`] is made of.
#[derive(Clone, Debug)]
pub struct ShedParts {
    /// The handler's name, for the log.
    pub handler: Arc<str>,
    /// Messages kept of a million; a million or more: all.
    pub keep_ppm: u32,
    /// Older messages are shed, by the producer's timestamp; `None`: none are.
    pub older_than: Option<Duration>,
    /// What the timestamps are compared with.
    pub clock: Arc<dyn Clock>,
}

/// Which messages are shed. Shared by all who shed for one route, so that the log tells of it once.
#[derive(Debug)]
pub struct Shedding {
    parts: ShedParts,
    /// When a message was shed by age last.
    by_age: AtomicI64,
}

impl Shedding {
    /// A rule of these parts.
    #[must_use]
    pub const fn new(parts: ShedParts) -> Self {
        Self {
            parts,
            by_age: AtomicI64::new(NEVER),
        }
    }

    /// Whether a message is shed.
    #[inline]
    pub(super) fn sheds(&self, delivery: &Delivery) -> bool {
        delivery.stream().role == Role::Source
            && (self.is_left_out(delivery) || self.is_too_old(delivery))
    }

    fn is_left_out(&self, delivery: &Delivery) -> bool {
        let keep = self.parts.keep_ppm;
        keep < MILLION && share_of_delivery(delivery) >= keep
    }

    fn is_too_old(&self, delivery: &Delivery) -> bool {
        let Some(older_than) = self.parts.older_than else {
            return false;
        };
        let now = self.parts.clock.now();
        let age = now.since(delivery.timestamp());
        let too_old = age > older_than;
        if too_old {
            self.tell(now, age, older_than, delivery);
        }
        too_old
    }

    #[cold]
    fn tell(&self, now: Timestamp, age: Duration, older_than: Duration, delivery: &Delivery) {
        let before = self.by_age.swap(now.0, Ordering::Relaxed);
        if before != NEVER && now.since(Timestamp(before)) < PAUSE {
            return;
        }
        let position = delivery.position();
        tracing::warn!(
            handler = &*self.parts.handler,
            %position,
            ?age,
            ?older_than,
            "messages are shed because they are too old (shed.older_than); the counter `shed` has how many"
        );
    }
}

fn share_of_delivery(delivery: &Delivery) -> u32 {
    match identity::of(delivery) {
        Identity::Id(id) => share_of(id),
        Identity::Origin(origin) => share_of(&origin.bytes()),
    }
}

/// Where an id lies among a million equal shares. The finalizer of MurmurHash3 over eight bytes at a time: the same on every
/// machine and in every version, and not what partitions are chosen by, or whole partitions would be shed.
fn share_of(id: &[u8]) -> u32 {
    let mut hash = id.len() as u64 ^ 0x9E37_79B9_7F4A_7C15;
    for word in id.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        hash = mixed(hash ^ u64::from_le_bytes(bytes));
    }
    // The upper half as a fraction of 2^32, times a million.
    (((hash >> 32) * u64::from(MILLION)) >> 32) as u32
}

fn mixed(mut word: u64) -> u64 {
    word ^= word >> 33;
    word = word.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    word ^= word >> 33;
    word = word.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Stream;
    use crate::message::Message;

    #[test]
    fn shares_are_equal_and_never_change() {
        let kept = (0..100_000).filter(|n| share_of(format!("order-{n}").as_bytes()) < 100_000);
        let kept = kept.count();
        assert!((9_700..10_300).contains(&kept), "{kept}");
        let known = ["", "a", "order-7", "00000000-0000-0000-0000-000000000000"];
        let shares = known.map(|id| share_of(id.as_bytes()));
        assert_eq!(shares, [618_033, 592_123, 547_773, 818_349]);
    }

    #[test]
    fn messages_without_an_id_have_shares_that_never_change() {
        let at = |partition, offset| {
            let stream = Stream::new("orders".into(), partition, 1, Role::Source);
            let message = Message::new("x").with_timestamp(Timestamp(1_790_000_000_000));
            Delivery::new(Arc::new(stream), offset, Timestamp(0), message)
        };
        let shares = [at(0, 0), at(3, 41), at(3, 42)].map(|one| share_of_delivery(&one));
        assert_eq!(shares, [311_624, 288_969, 491_771]);
        let kept = (0..10_000).filter(|offset| share_of_delivery(&at(7, *offset)) < 100_000);
        let kept = kept.count();
        assert!((900..1_100).contains(&kept), "{kept}");
    }
}
