//! Payloads of several types in one topic: where the name of a payload's type stands.
//!
//! `#[derive(dotmsg::FromPayload)]` on an enum reads the name, decodes the payload as the variant of that name, and asks
//! here for the error when there is none. A header is shown in that error, escaped and cut short; what stands in the payload
//! is not, because errors travel into headers and logs.

use std::any::type_name;
use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::NullPayload;
use super::json::decode_error;
use crate::delivery::Delivery;
use crate::handler::HandlerError;

/// Bytes of a header's value that an error shows.
const SHOWN_BYTES_MAX: usize = 64;

/// Where the name of a payload's type stands.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum TypeName {
    /// In the header of this name.
    Header(&'static str),
    /// In the payload, which is a JSON object: the text in its field of this name.
    Field(&'static str),
}

impl TypeName {
    /// The name, if there is one. Of a header or a field that is there twice it is as everywhere: the last header, the first
    /// field.
    #[must_use]
    pub fn read(self, delivery: &Delivery) -> Option<Cow<'_, str>> {
        match self {
            Self::Header(header) => delivery.headers().get_str(header).map(Cow::Borrowed),
            Self::Field(field) => {
                let mut json = serde_json::Deserializer::from_slice(delivery.payload()?);
                json.deserialize_map(Field(field)).ok().flatten()
            }
        }
    }

    /// The error of a delivery whose payload is of no type that `T` has, or is not said to be.
    #[cold]
    #[must_use]
    pub fn unknown<T>(self, delivery: &Delivery) -> HandlerError {
        match self {
            Self::Header(header) => match delivery.headers().get(header) {
                Some(value) => {
                    no_variant::<T>(&format!("the header `{header}` is `{}`", shown(value)))
                }
                None => no_variant::<T>(&format!("the header `{header}` is missing")),
            },
            Self::Field(field) => {
                let Some(payload) = delivery.payload() else {
                    return NullPayload::of(type_name::<T>()).into();
                };
                if let Err(error) = serde_json::from_slice::<IgnoredAny>(payload) {
                    return decode_error::<T>(&error).into();
                }
                no_variant::<T>(&match self.read(delivery) {
                    Some(_) => format!("the payload's field `{field}` has another name"),
                    None => format!("the payload has no text in a field `{field}`"),
                })
            }
        }
    }
}

fn no_variant<T>(found: &str) -> HandlerError {
    let target = type_name::<T>();
    let message = format!(
        "{found}, so that the type of the payload is unknown to `{target}`; a variant with `#[payload(other)]` would take it"
    );
    HandlerError::permanent(message).kind("unknown_type")
}

fn shown(value: &[u8]) -> String {
    let shown = &value[..value.len().min(SHOWN_BYTES_MAX)];
    let rest = if shown.len() < value.len() { "..." } else { "" };
    format!("{}{rest}", shown.escape_ascii())
}

/// Text that is borrowed from the input where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'d>(#[serde(borrow)] Cow<'d, str>);

/// Reads the text in one field of an object.
struct Field(&'static str);

impl<'d> Visitor<'d> for Field {
    type Value = Option<Cow<'d, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with text in a field `{}`", self.0)
    }

    fn visit_map<A: MapAccess<'d>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(name)) = fields.next_key()? {
            if found.is_none() && name == self.0 {
                let Text(text) = fields.next_value()?;
                found = Some(text);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::message::Message;

    struct Event;

    const HEADER: TypeName = TypeName::Header("type");
    const FIELD: TypeName = TypeName::Field("type");

    fn unknown(name: TypeName, message: Message) -> (String, String) {
        let error = name.unknown::<Event>(&delivery(message));
        assert!(!error.is_transient());
        (error.kind_name().to_owned(), format!("{error} {error:?}"))
    }

    #[test]
    fn the_name_is_in_a_header() {
        let named = |value: &'static [u8]| delivery(Message::new("x").with_header("type", value));
        assert_eq!(HEADER.read(&named(b"placed")).as_deref(), Some("placed"));
        assert_eq!(HEADER.read(&named(b"\xff")), None);
        assert_eq!(HEADER.read(&delivery(Message::new("x"))), None);
    }

    #[test]
    fn the_name_is_in_a_field_and_borrowed() {
        let read = |payload: &'static str| {
            let given = delivery(Message::new(payload));
            let read = FIELD.read(&given)?;
            Some((read.to_string(), matches!(read, Cow::Borrowed(_))))
        };
        let a = |is_borrowed| Some(("a".to_owned(), is_borrowed));
        assert_eq!(read(r#"{"n":[{"type":"b"}],"type":"a","m":{}}"#), a(true));
        assert_eq!(read(r#"{"\u0074ype":"\u0061"}"#), a(false));
        assert_eq!(read(r#"{"type":"a","type":"b"}"#), a(true));
        for other in [
            "",
            "{",
            "[]",
            "7",
            r#"{"n":{"type":"a"}}"#,
            r#"{"type":7}"#,
            r#"{"type":{"type":"a"}}"#,
        ] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(FIELD.read(&delivery(Message::tombstone())), None);
    }

    #[test]
    fn an_unknown_header_is_shown_escaped_and_cut() {
        let named = |value: &[u8]| Message::new("x").with_header("type", value.to_vec());
        let (kind, text) = unknown(HEADER, named(b"a\n\xff"));
        assert_eq!(kind, "unknown_type");
        assert!(text.contains(r"the header `type` is `a\n\xff`"), "{text}");
        assert!(text.contains("Event"), "{text}");
        let (_, text) = unknown(HEADER, named(&[b'x'; 1000]));
        assert!(text.contains("x...`") && text.len() < 1000, "{text}");
        let (kind, text) = unknown(HEADER, Message::new("x"));
        assert_eq!(kind, "unknown_type");
        assert!(text.contains("the header `type` is missing"), "{text}");
    }

    #[test]
    fn an_unknown_field_is_not_shown() {
        for (payload, wanted) in [
            (r#"{"type":"hunter2"}"#, "unknown_type"),
            (r#"{"type":["hunter2"]}"#, "unknown_type"),
            (r#"{"hunter2":1}"#, "unknown_type"),
            (r#"["hunter2"]"#, "unknown_type"),
            ("hunter2", "decode"),
            (r#"{"type":"hunter2""#, "decode"),
        ] {
            let (kind, text) = unknown(FIELD, Message::new(payload));
            assert_eq!(kind, wanted, "{payload}");
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("Event"), "{text}");
        }
        let (kind, _) = unknown(FIELD, Message::tombstone());
        assert_eq!(kind, "null_payload");
    }
}
