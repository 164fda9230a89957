//! The payload as JSON.
//!
//! What `serde_json` says of a value that does not fit quotes that value, so its text is not passed on: a rejection tells
//! the sort of fault, the type, line and column.

use std::fmt;

use serde::Deserialize;
use serde_json::error::Category;

use super::{DecodeError, NullPayload};
use crate::delivery::Delivery;
use crate::handler::{FromPayload, HandlerError};

/// The payload, decoded from JSON. Under the attribute `#[dotmsg::handler]`, `T` may borrow from it.
///
/// ```
/// use dotmsg_core::handler::Json;
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     id: u64,
/// }
///
/// async fn bill(Json(order): Json<Order>) {
///     println!("order {}", order.id);
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// Why a payload could not be taken as [`Json`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonRejection {
    /// It is null. Kind `null_payload`.
    Null(NullPayload),
    /// It is not JSON, or not of this type. Kind `decode`.
    Decode(DecodeError),
}

impl<'d, S, T: Deserialize<'d>> FromPayload<'d, S> for Json<T> {
    type Rejection = JsonRejection;

    fn from_payload(delivery: &'d Delivery, _: &'d S) -> Result<Self, JsonRejection> {
        let Some(payload) = delivery.payload() else {
            return Err(JsonRejection::Null(NullPayload::of("Json<T>")));
        };
        // One check of the whole is cheaper than one of every string and field name. What is not UTF-8 is left to the
        // decoder: it knows the place, and whether the value is one that matters.
        let decoded = match std::str::from_utf8(payload) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(payload),
        };
        match decoded {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(JsonRejection::Decode(decode_error::<T>(&error))),
        }
    }
}

/// The rejection, without the decoder's words.
#[cold]
pub(super) fn decode_error<T>(error: &serde_json::Error) -> DecodeError {
    let fault = match error.classify() {
        Category::Eof => "is JSON that ends too early",
        Category::Data => "is JSON of another shape",
        Category::Syntax | Category::Io => "is not JSON",
    };
    DecodeError::new::<T>(fault).at(error.line(), error.column())
}

impl fmt::Display for JsonRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null(rejection) => rejection.fmt(f),
            Self::Decode(rejection) => rejection.fmt(f),
        }
    }
}

impl From<JsonRejection> for HandlerError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::Null(rejection) => rejection.into(),
            JsonRejection::Decode(rejection) => rejection.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::message::Message;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Order<'d> {
        id: u64,
        account: &'d str,
    }

    fn rejection<T: for<'d> Deserialize<'d> + fmt::Debug>(message: Message) -> HandlerError {
        Json::<T>::from_payload(&delivery(message), &())
            .unwrap_err()
            .into()
    }

    #[test]
    fn a_type_may_borrow_from_the_payload() {
        let delivery = delivery(Message::new(r#"{"id":7,"account":"a"}"#));
        let Json(order) = Json::<Order<'_>>::from_payload(&delivery, &()).unwrap();
        assert_eq!(
            order,
            Order {
                id: 7,
                account: "a"
            }
        );
        let payload = delivery.payload().unwrap().as_ptr_range();
        assert!(payload.contains(&order.account.as_ptr()));
    }

    #[test]
    fn a_rejection_tells_the_place_and_never_the_payload() {
        for (payload, fault) in [
            ("\n\"hunter2\"", "is JSON of another shape"),
            ("\nhunter2", "is not JSON"),
            ("\n[12", "is JSON of another shape"),
            ("", "is JSON that ends too early"),
        ] {
            let error = rejection::<u64>(Message::new(payload));
            assert_eq!(error.kind_name(), "decode");
            assert!(!error.is_transient());
            let text = format!("{error} {error:?}");
            assert!(text.contains(fault) && text.contains("line "), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_field_that_does_not_fit_is_not_quoted_either() {
        let delivery = delivery(Message::new(r#"{"id":"hunter2","account":"a"}"#));
        let rejection = Json::<Order<'_>>::from_payload(&delivery, &()).unwrap_err();
        assert!(!rejection.to_string().contains("hunter2"));
        assert!(rejection.to_string().contains("Order"));
    }

    #[test]
    fn null_is_a_rejection_of_its_own() {
        let error = rejection::<Option<u64>>(Message::tombstone());
        assert_eq!(error.kind_name(), "null_payload");
        assert!(error.to_string().contains("`Option<Json<T>>`"));
        assert!(!error.is_transient());
    }
}
