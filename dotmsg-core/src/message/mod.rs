//! A message: what a producer sent, on whatever broker.
//!
//! Key and payload are optional bytes, and *null* and *empty* stay distinct on every backend: a null payload is a
//! tombstone, an empty one is an empty body. Identity is data and travels in the header [`ID_HEADER`], so it survives
//! every hop; a message without it is identified by its origin position.

mod cut;
mod headers;
mod trace_parent;

pub(crate) use cut::{Pen, cut};

pub use headers::{HeaderName, Headers};
pub(crate) use trace_parent::pass_on;
pub use trace_parent::{TRACE_HEADER_BYTES_MAX, TRACEPARENT, TRACESTATE, TraceParent};

use bytes::Bytes;

use crate::clock::Timestamp;

/// The header that carries a message's identity.
pub const ID_HEADER: &str = "dotmsg-id";

/// Key, payload, headers and time of one message.
///
/// Cloning is cheap: bytes and headers are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Routing and ordering key. `None` (null) has no order.
    pub key: Option<Bytes>,
    /// The body. `None` is a tombstone.
    pub payload: Option<Bytes>,
    /// Ordered multi-map of headers.
    pub headers: Headers,
    /// When the producer made it, in milliseconds since the Unix epoch.
    pub timestamp: Timestamp,
}

impl Message {
    /// A message with this payload, without key and headers, stamped zero (a publisher stamps it then).
    #[must_use]
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: Some(payload.into()),
            ..Self::default()
        }
    }

    /// A message with a null payload.
    #[must_use]
    pub fn tombstone() -> Self {
        Self::default()
    }

    /// The same message with this key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same message with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Bytes>) -> Self {
        self.headers.append(name, Some(value.into()));
        self
    }

    /// The same message with this identity (header [`ID_HEADER`]).
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Bytes>) -> Self {
        self.headers.identify(id.into());
        self
    }

    /// The same message with this timestamp.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// The identity it carries, if it carries one.
    #[must_use]
    pub fn id(&self) -> Option<&Bytes> {
        self.headers.get(ID_HEADER)
    }

    /// Copies key, payload and header values out of whatever larger buffer they are slices of, so that holding this
    /// message holds only its own bytes.
    pub fn detach(&mut self) {
        for bytes in [&mut self.key, &mut self.payload].into_iter().flatten() {
            *bytes = Bytes::copy_from_slice(bytes);
        }
        self.headers.detach();
    }

    /// Bytes of key, payload and headers: what memory limits count.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.payload.as_ref().map_or(0, Bytes::len)
            + self.headers.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_are_distinct() {
        assert_ne!(Message::new(""), Message::tombstone());
        assert_eq!(Message::new("").payload, Some(Bytes::new()));
    }

    #[test]
    fn the_identity_is_a_header() {
        let message = Message::new("x").with_id("a").with_id("b");
        assert_eq!(message.id(), Some(&Bytes::from("b")));
        assert_eq!(message.headers.len(), 1);
    }
}
