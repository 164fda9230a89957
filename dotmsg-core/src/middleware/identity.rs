//! The identity of a message as bytes, without an allocation for it.
//!
//! It is [`Delivery::id`]. A message without an id of its own is known by its position, and a topic that was deleted and made
//! anew has the positions of the old one: so the producer's timestamp follows it, which the new records do not share.

use std::cell::RefCell;
use std::io::{self, Write};

use bytes::{BufMut, BytesMut};

use crate::delivery::Delivery;
use crate::message::Pen;

thread_local! {
    static WRITTEN: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(256));
}

/// Calls `with` with the identity.
#[inline]
pub(super) fn with<R>(delivery: &Delivery, with: impl FnOnce(&[u8]) -> R) -> R {
    match delivery.message().id() {
        Some(id) => with(id),
        None => with_position(delivery, with),
    }
}

fn with_position<R>(delivery: &Delivery, with: impl FnOnce(&[u8]) -> R) -> R {
    WRITTEN.with(|written| {
        // Whoever is called within has one of its own.
        let mut buffer = match written.try_borrow_mut() {
            Ok(mut buffer) => std::mem::take(&mut *buffer),
            Err(_) => BytesMut::new(),
        };
        buffer.clear();
        write(delivery, &mut (&mut buffer).writer()).expect("memory takes all");
        let result = with(&buffer);
        if let Ok(mut kept) = written.try_borrow_mut() {
            *kept = buffer;
        }
        result
    })
}

fn write(delivery: &Delivery, to: &mut Pen<'_>) -> io::Result<()> {
    let mut digits = itoa::Buffer::new();
    // Of a retry or a replay it is the one that the message had at its origin.
    let timestamp = match delivery.lineage() {
        Some(lineage) => lineage.timestamp,
        None => delivery.timestamp(),
    };
    delivery.write_id(to)?;
    to.write_all(b"@")?;
    to.write_all(digits.format(timestamp.0).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::message::Message;
    use crate::middleware::testing::{delivery_of, lineage, tier};

    fn of(delivery: &Delivery) -> String {
        with(delivery, |id| String::from_utf8_lossy(id).into_owned())
    }

    #[test]
    fn it_is_the_id_of_the_message_or_where_and_when_it_was_made() {
        let message = Message::new("body").with_timestamp(Timestamp(5));
        assert_eq!(
            of(&delivery_of(message.clone().with_id("order-7"))),
            "order-7"
        );
        assert_eq!(of(&delivery_of(message)), "orders/3/0@5");
    }

    #[test]
    fn a_retry_has_that_of_its_origin() {
        let mut message = Message::new("body").with_timestamp(Timestamp(99));
        lineage().write(&mut message.headers);
        assert_eq!(of(&tier(5, message)), "orders/3/41@5");
    }

    #[test]
    fn one_within_another_is_right_too() {
        let (a, b) = (
            delivery_of(Message::new("a")),
            delivery_of(Message::new("b").with_timestamp(Timestamp(2))),
        );
        let both = with(&a, |outer| (outer.to_vec(), of(&b)));
        assert_eq!(both, (b"orders/3/0@0".to_vec(), "orders/3/0@2".to_owned()));
    }
}
