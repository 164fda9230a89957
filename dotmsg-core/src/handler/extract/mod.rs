//! Extractors: what a handler's arguments may be.
//!
//! Parts stand in any order and implement [`FromDelivery`]; the payload stands last and implements [`FromPayload`]. Each
//! has a typed rejection that becomes a *permanent* error: bytes that do not decode now will not decode later. A
//! rejection's text never carries bytes of the message, because it travels into headers and logs.
//!
//! | Argument | Gives | Kinds of rejection |
//! |---|---|---|
//! | [`Json<T>`](Json) | the payload as JSON | `decode`, `null_payload` |
//! | `Bytes`, `&[u8]` | the payload as it is | `null_payload` |
//! | `Option` of one of these | `None` for a tombstone | `decode` |
//! | an enum under `#[derive(dotmsg::FromPayload)]` | one of several payloads, by a name in a header or a field | `unknown_type`, and those of its variants |
//! | [`Key<T>`](Key) | the key as text, number, bytes | `key`, `null_key` |
//! | `Headers`, `&Headers` | all headers | none |
//! | `Position<'_>`, [`OwnedPosition`] | where the record in hand lies | none |
//! | [`Origin`] | where the message was first read | none |
//! | [`Attempt`] | which call this is for this message | none |
//! | [`MessageId`] | its identity | none |
//! | `Timestamp` | when the producer made it | none |
//! | [`State<T>`](State) | the app's state or a part of it | none |
//! | [`Publisher`], `&Publisher` | publishes to the route's backend at once | `publisher` |
//! | `Delivery`, `&Delivery` | everything | none |
//! | `Result<T, T::Rejection>` of any of these | the rejection, for the handler to decide | none |
//!
//! ```
//! use dotmsg_core::delivery::Settlement;
//! use dotmsg_core::handler::{HandlerError, Json, JsonRejection};
//!
//! /// What is not a number is discarded; a tombstone is still a dead letter.
//! async fn add(number: Result<Json<u64>, JsonRejection>) -> Result<Settlement, HandlerError> {
//!     match number {
//!         Ok(Json(number)) => println!("{number} more"),
//!         Err(JsonRejection::Decode(_)) => return Ok(Settlement::Discard),
//!         Err(rejection) => return Err(rejection.into()),
//!     }
//!     Ok(Settlement::Ack)
//! }
//!
//! # fn is_handler<T>(_: impl dotmsg_core::handler::Handler<T, ()>) {}
//! # is_handler(add);
//! ```

mod attempt;
mod bytes;
mod delivery;
mod headers;
mod id;
mod json;
mod key;
mod option;
mod position;
mod publisher;
mod rejection;
mod result;
mod state;
mod timestamp;
mod type_name;

pub use attempt::Attempt;
pub use id::MessageId;
pub use json::{Json, JsonRejection};
pub use key::{FromKey, Key, KeyRejection};
pub use position::{Origin, OwnedPosition};
pub use publisher::NoPublisher;
pub use rejection::{DecodeError, NullPayload};
pub use state::{FromRef, State};
#[doc(hidden)]
pub use type_name::TypeName;

// Named here for the documentation above.
#[cfg(doc)]
use super::{FromDelivery, FromPayload};
#[cfg(doc)]
use crate::publisher::Publisher;

#[cfg(test)]
pub(crate) mod testing {
    //! Deliveries for the tests of the extractors.

    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use crate::clock::Timestamp;
    use crate::delivery::{Delivery, Role, Stream};
    use crate::message::Message;

    /// The message at `orders/3/41`.
    pub(crate) fn delivery(message: Message) -> Delivery {
        in_role(Role::Source, message)
    }

    /// The message at offset 41 of partition 3 in a stream of this role.
    pub(crate) fn in_role(role: Role, message: Message) -> Delivery {
        let topic = match role {
            Role::Source => "orders",
            Role::Tier { .. } => "orders.billing.retry.5s",
            Role::Replay => "orders.billing.replay",
        };
        let stream = Stream::new(topic.into(), 3, 1, role);
        Delivery::new(Arc::new(stream), 41, Timestamp(0), message)
    }

    /// The output of a future that is ready at its first poll.
    pub(crate) fn now<F: Future>(future: F) -> F::Output {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(future).poll(&mut context) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future is pending"),
        }
    }
}
