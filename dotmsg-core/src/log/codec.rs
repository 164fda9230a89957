//! A record as bytes.
//!
//! Length, then timestamp (zigzag), key, payload and headers, all lengths as LEB128 varints. An optional field is 0 for
//! null, else its length plus one: null and empty stay distinct. The offset is not stored: it is the batch's first
//! offset plus the record's place. Decoding slices the batch's bytes and copies nothing but header names, which are
//! shared among the records of a reader.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::message::{HeaderName, Headers, Message};

/// How many header names a reader shares among its records.
const SHARED_NAMES: usize = 64;

/// Appends the encoded record, under this timestamp instead of the message's.
pub(super) fn encode(message: &Message, timestamp: Timestamp, out: &mut Vec<u8>) {
    put_varint(out, body_len(message, timestamp) as u64);
    put_varint(out, zigzag(timestamp.0));
    put_optional(out, message.key.as_ref());
    put_optional(out, message.payload.as_ref());
    put_varint(out, message.headers.len() as u64);
    for (name, value) in message.headers.iter() {
        put_varint(out, name.len() as u64);
        out.extend_from_slice(name.as_bytes());
        put_optional(out, value);
    }
}

fn body_len(message: &Message, timestamp: Timestamp) -> usize {
    let headers: usize = message
        .headers
        .iter()
        .map(|(name, value)| varint_len(name.len() as u64) + name.len() + optional_len(value))
        .sum();
    varint_len(zigzag(timestamp.0))
        + optional_len(message.key.as_ref())
        + optional_len(message.payload.as_ref())
        + varint_len(message.headers.len() as u64)
        + headers
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    if value < 0x80 {
        return out.push(value.to_le_bytes()[0]);
    }
    // Gathered first: each push looks for room of its own.
    let mut bytes = [0; 10];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value.to_le_bytes()[0] | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value.to_le_bytes()[0];
    out.extend_from_slice(&bytes[..=len]);
}

pub(super) fn put_optional(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            put_varint(out, bytes.len() as u64 + 1);
            out.extend_from_slice(bytes);
        }
    }
}

fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn optional_len(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(1, |bytes| varint_len(bytes.len() as u64 + 1) + bytes.len())
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Reads fields from a slice of shared bytes; every read answers `None` beyond the end.
#[derive(Debug)]
pub(super) struct Input<'a> {
    bytes: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Input<'a> {
    /// The fields of `bytes` from `at` to `end`.
    pub(super) fn new(bytes: &'a Bytes, at: usize, end: usize) -> Self {
        let end = end.min(bytes.len());
        Self { bytes, at, end }
    }

    /// The place of the next field.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes[..self.end].get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn take(&mut self, len: u64) -> Option<Bytes> {
        let from = self.at;
        self.at = self.skip(len)?;
        Some(self.bytes.slice(from..self.at))
    }

    /// `None`: malformed; `Some(None)`: null.
    #[allow(
        clippy::option_option,
        reason = "null is a value here, malformed is not"
    )]
    pub(super) fn optional(&mut self) -> Option<Option<Bytes>> {
        match self.varint()? {
            0 => Some(None),
            len => self.take(len - 1).map(Some),
        }
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = self.varint()?;
        let from = self.at;
        self.at = self.skip(len)?;
        std::str::from_utf8(&self.bytes[from..self.at]).ok()
    }

    fn skip(&self, len: u64) -> Option<usize> {
        let to = self.at.checked_add(usize::try_from(len).ok()?)?;
        (to <= self.end).then_some(to)
    }
}

/// Header names seen lately.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<HeaderName>);

impl Names {
    fn share(&mut self, name: &str) -> HeaderName {
        if let Some(known) = self.0.iter().find(|known| ***known == *name) {
            return Arc::clone(known);
        }
        let name: HeaderName = name.into();
        if self.0.len() < SHARED_NAMES {
            self.0.push(Arc::clone(&name));
        }
        name
    }
}

/// Decodes the record at the input's place; `None` when it is malformed.
pub(super) fn decode(input: &mut Input<'_>, names: &mut Names) -> Option<Message> {
    let len = input.varint()?;
    let end = input.skip(len)?;
    let mut fields = Input::new(input.bytes, input.at, end);
    let timestamp = Timestamp(unzigzag(fields.varint()?));
    let key = fields.optional()?;
    let payload = fields.optional()?;
    let mut headers = Headers::new();
    for _ in 0..fields.varint()? {
        let name = names.share(fields.text()?);
        headers.append(name, fields.optional()?);
    }
    input.at = end;
    (fields.at == end).then_some(Message {
        key,
        payload,
        headers,
        timestamp,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Option<Bytes>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|bytes| bytes.map(Bytes::from))
    }

    proptest! {
        #[test]
        fn any_message_is_read_back(
            key in bytes(), payload in bytes(), timestamp in any::<i64>(),
            headers in proptest::collection::vec(("[a-cü]{0,3}", bytes()), 0..5),
        ) {
            let message = Message {
                key, payload, headers: headers.into_iter().collect(), timestamp: Timestamp(timestamp),
            };
            let mut out = Vec::new();
            encode(&message, message.timestamp, &mut out);
            let out = Bytes::from(out);
            let mut input = Input::new(&out, 0, out.len());
            prop_assert_eq!(decode(&mut input, &mut Names::default()), Some(message));
            prop_assert_eq!(input.at(), out.len());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            let _ = decode(&mut Input::new(&bytes, 0, bytes.len()), &mut Names::default());
        }
    }
}
