//! Messages that a handler returns.
//!
//! They are published and confirmed before the delivery is settled. Their ids derive from (parent id, handler, index),
//! so that a message which is published again after a crash is recognisable as the same.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::HandlerError;
use crate::message::{Message, cut};

/// A message to publish once the handler has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The topic as the app names it (the backend's prefix is added when it is published).
    pub topic: Cow<'static, str>,
    /// The message. Without an id it gets a derived one.
    pub message: Message,
}

impl Outgoing {
    /// A message with these bytes as payload.
    #[must_use]
    pub fn new(topic: impl Into<Cow<'static, str>>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            message: Message::new(payload),
        }
    }

    /// A message with a null payload.
    #[must_use]
    pub fn tombstone(topic: impl Into<Cow<'static, str>>) -> Self {
        Self {
            topic: topic.into(),
            message: Message::tombstone(),
        }
    }

    /// A message whose payload is `value` as JSON.
    ///
    /// # Errors
    /// A permanent error of kind `encode` when `value` cannot be represented as JSON.
    pub fn json<T: Serialize + ?Sized>(
        topic: impl Into<Cow<'static, str>>,
        value: &T,
    ) -> Result<Self, HandlerError> {
        let payload = cut(|to| serde_json::to_writer(to, value))
            .map_err(|error| HandlerError::permanent(error).kind("encode"))?;
        Ok(Self::new(topic, payload))
    }

    /// The same message with this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.message.key = Some(key.into());
        self
    }

    /// The same message with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Bytes>) -> Self {
        self.message = self.message.with_header(name, value);
        self
    }

    /// The same message with an id of its own, instead of the derived one.
    #[must_use]
    pub fn id(mut self, id: impl Into<Bytes>) -> Self {
        self.message = self.message.with_id(id);
        self
    }
}
