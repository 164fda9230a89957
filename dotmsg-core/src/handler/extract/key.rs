//! The key, as the type that the handler wants.
//!
//! A key is bytes on the wire and, on most topics, text: numbers are therefore read from their decimal text. Null and
//! empty are distinct: only `Key<Option<T>>` takes a null key.

use std::fmt;

use bytes::Bytes;

use crate::delivery::Delivery;
use crate::handler::{FromDelivery, HandlerError};

/// The key as a `T`: text, bytes, a number in decimal text, or an `Option` of one for keys that may be null.
///
/// ```
/// use dotmsg_core::handler::Key;
///
/// async fn bill(Key(customer): Key<u64>) {
///     println!("customer {customer}");
/// }
///
/// async fn audit(Key(key): Key<Option<String>>) {
///     println!("{}", key.as_deref().unwrap_or("no key"));
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key<T>(pub T);

/// A type that a key can be read as.
///
/// ```
/// use dotmsg_core::handler::{FromKey, KeyRejection};
///
/// struct Customer(u64);
///
/// impl<'d> FromKey<'d> for Customer {
///     fn from_key(key: Option<&'d bytes::Bytes>) -> Result<Self, KeyRejection> {
///         let text = <&str>::from_key(key)?;
///         let number = text.strip_prefix("customer-").and_then(|number| number.parse().ok());
///         number.map(Self).ok_or(KeyRejection::not("customer-<number>"))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a key cannot be read as `{Self}`",
    label = "not a type of key",
    note = "keys are read as `String`, `&str`, `Bytes`, `&[u8]`, integers, an `Option` of one, and what implements `FromKey`"
)]
pub trait FromKey<'d>: Sized {
    /// Reads the key; `None` is null.
    ///
    /// # Errors
    /// When it is null or has another form.
    fn from_key(key: Option<&'d Bytes>) -> Result<Self, KeyRejection>;
}

/// Why a key could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRejection {
    /// It is null. Kind `null_key`.
    Null,
    /// It has another form than this one. Kind `key`.
    #[non_exhaustive]
    Not {
        /// What was expected, in words or as a type's name.
        expected: &'static str,
    },
}

impl KeyRejection {
    /// The key is there but is not of this form.
    #[must_use]
    pub fn not(expected: &'static str) -> Self {
        Self::Not { expected }
    }
}

impl fmt::Display for KeyRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str(
                "the key is null; to handle messages without a key, take `Key<Option<T>>`",
            ),
            Self::Not { expected } => write!(f, "the key is not `{expected}`"),
        }
    }
}

impl From<KeyRejection> for HandlerError {
    fn from(rejection: KeyRejection) -> Self {
        let kind = match rejection {
            KeyRejection::Null => "null_key",
            KeyRejection::Not { .. } => "key",
        };
        Self::permanent(rejection.to_string()).kind(kind)
    }
}

impl<'d, S, T: FromKey<'d>> FromDelivery<'d, S> for Key<T> {
    type Rejection = KeyRejection;

    fn from_delivery(delivery: &'d Delivery, _: &'d S) -> Result<Self, KeyRejection> {
        T::from_key(delivery.key()).map(Self)
    }
}

impl<'d, T: FromKey<'d>> FromKey<'d> for Option<T> {
    fn from_key(key: Option<&'d Bytes>) -> Result<Self, KeyRejection> {
        key.map(|key| T::from_key(Some(key))).transpose()
    }
}

impl<'d> FromKey<'d> for Bytes {
    fn from_key(key: Option<&'d Bytes>) -> Result<Self, KeyRejection> {
        key.cloned().ok_or(KeyRejection::Null)
    }
}

impl<'d> FromKey<'d> for &'d [u8] {
    fn from_key(key: Option<&'d Bytes>) -> Result<Self, KeyRejection> {
        key.map(|key| &key[..]).ok_or(KeyRejection::Null)
    }
}

impl<'d> FromKey<'d> for &'d str {
    fn from_key(key: Option<&'d Bytes>) -> Result<Self, KeyRejection> {
        std::str::from_utf8(key.ok_or(KeyRejection::Null)?)
            .map_err(|_| KeyRejection::not("UTF-8 text"))
    }
}

impl<'d> FromKey<'d> for String {
    fn from_key(key: Option<&'d Bytes>) -> Result<Self, KeyRejection> {
        <&str>::from_key(key).map(Self::from)
    }
}

macro_rules! integers {
    ($($integer:ident)*) => {$(
        impl<'d> FromKey<'d> for $integer {
            fn from_key(key: Option<&'d Bytes>) -> Result<Self, KeyRejection> {
                let text = <&str>::from_key(key)?;
                text.parse().map_err(|_| KeyRejection::not(stringify!($integer)))
            }
        }
    )*};
}

integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::message::Message;

    fn key<T: for<'d> FromKey<'d>>(message: Message) -> Result<T, KeyRejection> {
        Key::from_delivery(&delivery(message), &()).map(|Key(key)| key)
    }

    #[test]
    fn every_form_of_a_key() {
        let keyed = || Message::new("x").with_key("42");
        assert_eq!(key::<String>(keyed()), Ok("42".to_owned()));
        assert_eq!(key::<Bytes>(keyed()), Ok(Bytes::from("42")));
        assert_eq!(key::<u64>(keyed()), Ok(42));
        assert_eq!(key::<i8>(keyed()), Ok(42));
        assert_eq!(key::<Option<u64>>(keyed()), Ok(Some(42)));
        let given = delivery(keyed());
        assert_eq!(Key::from_delivery(&given, &()), Ok(Key("42")));
        assert_eq!(Key::from_delivery(&given, &()), Ok(Key(&b"42"[..])));
    }

    #[test]
    fn null_is_not_empty() {
        assert_eq!(key::<String>(Message::new("x")), Err(KeyRejection::Null));
        assert_eq!(key::<Option<String>>(Message::new("x")), Ok(None));
        let empty = Message::new("x").with_key("");
        assert_eq!(key::<Option<String>>(empty), Ok(Some(String::new())));
    }

    #[test]
    fn a_rejection_names_the_form_and_not_the_key() {
        let error =
            HandlerError::from(key::<u64>(Message::new("x").with_key("hunter2")).unwrap_err());
        assert_eq!(error.to_string(), "the key is not `u64`");
        assert_eq!(error.kind_name(), "key");
        assert!(!error.is_transient());
        let bytes = Message::new("x").with_key(&b"\xff"[..]);
        assert_eq!(key::<String>(bytes), Err(KeyRejection::not("UTF-8 text")));
        let null = HandlerError::from(KeyRejection::Null);
        assert_eq!(null.kind_name(), "null_key");
        assert!(null.to_string().contains("Key<Option<T>>"));
    }
}
