//! How keys, payloads and headers stand in JSON.
//!
//! Text is a string; bytes that are no UTF-8 stand in base64 under the same name with `_base64` behind it, so that nothing is
//! lost and nothing is guessed; null is null. `produce --ndjson` reads what `tail`, `dlq show` and `dlq export` write.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dotmsg::message::Headers;
use dotmsg::{Bytes, Message};
use serde_json::{Map, Value, json};

/// Puts bytes under a name.
pub(crate) fn put(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => object.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => object.insert(name.to_owned(), text.into()),
        Some((bytes, Err(_))) => {
            object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into())
        }
    };
}

/// Takes bytes from under a name: `None` when there are none, `Some(None)` when they are null.
pub(crate) fn take(
    object: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<Option<Bytes>>, String> {
    match (
        object.remove(name),
        object.remove(&format!("{name}_base64")),
    ) {
        (None, None) => Ok(None),
        (Some(Value::Null), None) => Ok(Some(None)),
        (Some(Value::String(text)), None) => Ok(Some(Some(text.into()))),
        (None, Some(Value::String(encoded))) => match STANDARD.decode(encoded) {
            Ok(bytes) => Ok(Some(Some(bytes.into()))),
            Err(error) => Err(format!("`{name}_base64` is no base64: {error}")),
        },
        (Some(_), Some(_)) => Err(format!("has both `{name}` and `{name}_base64`")),
        _ => Err(format!("`{name}` is neither a string nor null")),
    }
}

/// Headers, in their order.
pub(crate) fn headers(headers: &Headers) -> Value {
    let entries = headers.iter().map(|(name, value)| {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), name.into());
        put(&mut entry, "value", value.map(|value| &**value));
        Value::Object(entry)
    });
    entries.collect()
}

/// What [`headers`] makes, or an object of names and values.
pub(crate) fn read_headers(value: Value) -> Result<Headers, String> {
    let mut headers = Headers::new();
    let entries = match value {
        Value::Null => Vec::new(),
        Value::Array(entries) => entries,
        Value::Object(object) => {
            let entries = object.into_iter();
            entries
                .map(|(name, value)| json!({ "name": name, "value": value }))
                .collect()
        }
        _ => return Err("`headers` is neither a list nor an object".to_owned()),
    };
    for entry in entries {
        let Value::Object(mut entry) = entry else {
            return Err("a header is no object".to_owned());
        };
        let Some(Value::String(name)) = entry.remove("name") else {
            return Err("a header has no name".to_owned());
        };
        let value =
            take(&mut entry, "value").map_err(|wrong| format!("header {name:?}: {wrong}"))?;
        headers.append(name, value.flatten());
    }
    Ok(headers)
}

/// Puts key, payload, headers and time of a message.
pub(crate) fn put_message(object: &mut Map<String, Value>, message: &Message) {
    put(object, "key", message.key.as_deref());
    put(object, "payload", message.payload.as_deref());
    object.insert("headers".to_owned(), headers(&message.headers));
    object.insert(
        "timestamp".to_owned(),
        crate::time::instant(message.timestamp).into(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_back() {
        let bytes: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"text"), Some(b"\xff\x00")];
        for bytes in bytes {
            let mut object = Map::new();
            put(&mut object, "key", bytes);
            let back = take(&mut object, "key").unwrap().unwrap();
            assert_eq!(back.as_deref(), bytes);
        }
        let mut message = Headers::new();
        message.append("a", Some("1".into()));
        message.append("a", None);
        message.append("b", Some(Bytes::from_static(b"\xfe")));
        assert_eq!(read_headers(headers(&message)).unwrap(), message);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut both = serde_json::from_str(r#"{"key":"a","key_base64":"YQ=="}"#).unwrap();
        assert!(take(&mut both, "key").unwrap_err().contains("both"));
        let mut number = serde_json::from_str(r#"{"key":7}"#).unwrap();
        assert!(take(&mut number, "key").unwrap_err().contains("neither"));
        assert!(
            read_headers(json!([{ "value": "x" }]))
                .unwrap_err()
                .contains("name")
        );
    }
}
