//! Sets aside, before anything is decoded, what must not reach the handler.
//!
//! - a payload, key or headers beyond the route's limits: permanent, kind `too_large`;
//! - a record of a retry or replay topic whose origin is missing, or names another group, topic or partition: permanent,
//!   kind `foreign_record`. Nobody but this group writes there, so its control headers mean nothing;
//! - a delivery that the runtime condemned (it killed the process again and again): permanent, of the kind given.

mod future;
mod layer;

pub use future::ResponseFuture;
pub use layer::CheckLimitsLayer;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tower_service::Service;

use super::{Failed, Provenance};
use crate::delivery::{Delivery, Role};
use crate::handler::HandlerError;

/// The largest sizes handed to a handler, in bytes; a message at a limit is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// Of the payload.
    pub payload_bytes: usize,
    /// Of the key.
    pub key_bytes: usize,
    /// Of all header names and values together, the framework's own control headers aside.
    pub header_bytes: usize,
}

/// What is checked.
#[derive(Clone, Debug)]
pub struct LimitParts {
    /// The sizes.
    pub limits: SizeLimits,
    /// Whose records belong on the retry and replay topics.
    pub provenance: Provenance,
}

/// Refuses what is beyond the limits, without a call of its inner service.
#[derive(Clone, Debug)]
pub struct CheckLimits<S> {
    inner: S,
    parts: Arc<LimitParts>,
}

impl<S> CheckLimits<S> {
    /// Around `inner`.
    pub const fn new(inner: S, parts: Arc<LimitParts>) -> Self {
        Self { inner, parts }
    }
}

impl<S> Service<Delivery> for CheckLimits<S>
where
    S: Service<Delivery>,
    S::Error: From<Failed>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        match self.parts.refuse(&delivery) {
            None => ResponseFuture::running(self.inner.call(delivery)),
            // This attempt was not made.
            Some(error) => {
                ResponseFuture::refused(Failed::new(error, delivery.attempt().saturating_sub(1)))
            }
        }
    }
}

/// Why a delivery was set aside.
#[derive(Debug)]
enum Refused {
    TooLarge {
        part: &'static str,
        bytes: usize,
        limit: usize,
        setting: &'static str,
    },
    Foreign {
        place: String,
    },
    Condemned,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge {
                part,
                bytes,
                limit,
                setting,
            } => write!(
                f,
                "{part} of {bytes} bytes, the limit is {limit} (setting {setting})"
            ),
            Self::Foreign { place } => write!(
                f,
                "the record at {place} has no origin in this route's topic written by this group; \
                 nobody else may write to the group's retry and replay topics"
            ),
            Self::Condemned => f.write_str(
                "set aside without a call of the handler: the process ended uncleanly again and again while it ran",
            ),
        }
    }
}

impl std::error::Error for Refused {}

impl LimitParts {
    /// Whether nothing has to be looked at more closely.
    #[inline]
    pub(crate) fn admits(&self, delivery: &Delivery) -> bool {
        let message = delivery.message();
        let limits = &self.limits;
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let fits = size(&message.payload) <= limits.payload_bytes
            && size(&message.key) <= limits.key_bytes
            && (message.headers.is_empty() || message.headers.size() <= limits.header_bytes);
        let source = delivery.stream().role == Role::Source;
        fits && source && delivery.condemned().is_none()
    }

    #[inline]
    fn refuse(&self, delivery: &Delivery) -> Option<HandlerError> {
        if self.admits(delivery) {
            return None;
        }
        self.refuse_slow(delivery)
    }

    /// The same, with the reason. Control headers are the framework's own and do not count against the limit.
    #[cold]
    fn refuse_slow(&self, delivery: &Delivery) -> Option<HandlerError> {
        if let Some(kind) = delivery.condemned() {
            return Some(HandlerError::permanent(Refused::Condemned).kind(kind));
        }
        if !self.provenance.is_ours(delivery) {
            let place = delivery.position().to_string();
            return Some(
                HandlerError::permanent(Refused::Foreign { place }).kind("foreign_record"),
            );
        }
        let message = delivery.message();
        let limits = &self.limits;
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let parts = [
            (
                "payload",
                size(&message.payload),
                limits.payload_bytes,
                "max_payload_bytes",
            ),
            ("key", size(&message.key), limits.key_bytes, "max_key_bytes"),
            (
                "headers",
                self.counted_header_bytes(delivery),
                limits.header_bytes,
                "max_header_bytes",
            ),
        ];
        let (part, bytes, limit, setting) = parts
            .into_iter()
            .find(|(_, bytes, limit, _)| bytes > limit)?;
        let refused = Refused::TooLarge {
            part,
            bytes,
            limit,
            setting,
        };
        Some(HandlerError::permanent(refused).kind("too_large"))
    }

    fn counted_header_bytes(&self, delivery: &Delivery) -> usize {
        if delivery.stream().role == Role::Source {
            return delivery.headers().size();
        }
        delivery
            .headers()
            .iter()
            .filter(|(name, _)| !crate::delivery::is_control_header(name))
            .map(|(name, value)| name.len() + value.map_or(0, Bytes::len))
            .sum()
    }
}

#[cfg(test)]
mod tests;
