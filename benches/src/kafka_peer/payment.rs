//! The message of the workloads that decode: `{"id","account","amount","note"}`.
//!
//! Whoever fills the topic decides whether `id` and `account` are numbers or text, and whether amounts have a fraction: all of it
//! is read. Text is borrowed from the payload unless it has escapes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// One payment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Payment<'p> {
    #[serde(borrow)]
    pub(crate) id: Name<'p>,
    #[serde(borrow)]
    pub(crate) account: Name<'p>,
    pub(crate) amount: f64,
    #[serde(borrow)]
    pub(crate) note: Cow<'p, str>,
}

/// A number or a text that names something.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Name<'p> {
    Number(u64),
    Text(Cow<'p, str>),
}

impl<'de: 'p, 'p> Deserialize<'de> for Name<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Name<'de>, E> {
                Ok(Name::Number(number))
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name::Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_any(NameVisitor)
    }
}

impl Payment<'_> {
    /// What `w4` publishes of it.
    pub(crate) fn changed(mut self) -> Self {
        self.amount += 1.0;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, Payment};

    #[test]
    fn numbers_and_texts_name_things() {
        let text = r#"{"id":7,"account":"a-1","amount":2,"note":"n\n"}"#;
        let payment: Payment<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(payment.id, Name::Number(7));
        assert_eq!(payment.account, Name::Text("a-1".into()));
        assert_eq!((payment.amount, &*payment.note), (2.0, "n\n"));
        let other: Payment<'_> =
            serde_json::from_str(r#"{"note":"","id":"x","account":9,"amount":2.5}"#).unwrap();
        assert_eq!(
            (other.id, other.account),
            (Name::Text("x".into()), Name::Number(9))
        );
        assert_eq!(other.amount, 2.5);
    }
}
