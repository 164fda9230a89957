//! What tells a message from another.
//!
//! It is the message's id. One without an id is known by the position of its origin, and a topic that was deleted and made anew has
//! the positions of the old one: so the time that its producer gave it belongs to it, which the new records do not share.

use crate::clock::Timestamp;
use crate::delivery::{Delivery, Position};

/// As many are [`Origin::bytes`].
pub(super) const ORIGIN_BYTES: usize = 21;

/// What a message is known by.
pub(super) enum Identity<'d> {
    Id(&'d [u8]),
    Origin(Origin<'d>),
}

/// Where and when a message without an id was made. Of a retry or a replay it is what the message had at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin<'d> {
    pub(super) position: Position<'d>,
    pub(super) made_at: Timestamp,
}

/// The identity of a delivery's message.
#[inline]
pub(super) fn of(delivery: &Delivery) -> Identity<'_> {
    match delivery.message().id() {
        Some(id) => Identity::Id(id),
        None => Identity::Origin(Origin {
            position: delivery.origin(),
            made_at: match delivery.lineage() {
                Some(lineage) => lineage.timestamp,
                None => delivery.timestamp(),
            },
        }),
    }
}

impl Origin<'_> {
    /// Everything but the topic, as bytes that are no text. A promise: messages are shed by them, by members of two versions alike.
    #[inline]
    pub(super) fn bytes(&self) -> [u8; ORIGIN_BYTES] {
        let mut bytes = [0xFF; ORIGIN_BYTES];
        bytes[1..5].copy_from_slice(&self.position.partition.to_le_bytes());
        bytes[5..13].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes[13..].copy_from_slice(&self.made_at.0.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::middleware::testing::{delivery_of, lineage, tier};

    fn origin(delivery: &Delivery) -> (String, Timestamp) {
        match of(delivery) {
            Identity::Id(id) => panic!("{id:?}"),
            Identity::Origin(origin) => (origin.position.to_string(), origin.made_at),
        }
    }

    #[test]
    fn it_is_the_id_of_the_message_or_where_and_when_it_was_made() {
        let message = Message::new("body").with_timestamp(Timestamp(5));
        let with_id = delivery_of(message.clone().with_id("order-7"));
        assert!(matches!(of(&with_id), Identity::Id(b"order-7")));
        let without = delivery_of(message);
        assert_eq!(origin(&without), ("orders/3/0".to_owned(), Timestamp(5)));
    }

    #[test]
    fn a_retry_has_that_of_its_origin() {
        let mut message = Message::new("body").with_timestamp(Timestamp(99));
        lineage().write(&mut message.headers);
        let retry = tier(5, message);
        assert_eq!(origin(&retry), ("orders/3/41".to_owned(), Timestamp(5)));
    }

    #[test]
    fn all_that_tells_an_origin_is_in_its_bytes() {
        let bytes = |partition, offset, made_at| {
            let position = Position {
                topic: "orders",
                partition,
                offset,
            };
            let made_at = Timestamp(made_at);
            Origin { position, made_at }.bytes()
        };
        let all = [
            bytes(1, 2, 3),
            bytes(2, 2, 3),
            bytes(1, 3, 3),
            bytes(1, 2, -3),
            bytes(u32::MAX, u64::MAX, i64::MAX),
        ];
        for (one, bytes) in all.iter().enumerate() {
            let same = all.iter().position(|other| other == bytes);
            assert_eq!(same, Some(one));
        }
    }
}
