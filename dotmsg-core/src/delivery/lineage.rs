//! Lineage: what travels with a message through retry tiers, replay and into the dead-letter topic.
//!
//! It is carried by *control headers*. They are honoured only on topics that the framework itself writes; on a source
//! topic a producer may have forged them, so there they are inert, and they are stripped before the framework writes its
//! own.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::message::{Headers, TraceParent};

/// The names of the control headers.
pub mod control {
    /// How many times the handler was called for this message.
    pub const ATTEMPT: &str = "dotmsg-attempt";
    /// The topic of the origin.
    pub const ORIGIN_TOPIC: &str = "dotmsg-origin-topic";
    /// The partition of the origin.
    pub const ORIGIN_PARTITION: &str = "dotmsg-origin-partition";
    /// The offset of the origin.
    pub const ORIGIN_OFFSET: &str = "dotmsg-origin-offset";
    /// The timestamp the producer gave the message.
    pub const ORIGIN_TIMESTAMP: &str = "dotmsg-origin-timestamp";
    /// The offset in the group's replay topic, for a record whose head came from there.
    pub const REPLAY_OFFSET: &str = "dotmsg-replay-offset";
    /// The span that retries and replays of a traced message go on from, as `traceparent` has it.
    pub const TRACE: &str = "dotmsg-trace";
    /// How many times it was replayed.
    pub const REPLAY_COUNT: &str = "dotmsg-replay-count";
    /// The consumer group.
    pub const GROUP: &str = "dotmsg-group";
    /// The handler.
    pub const HANDLER: &str = "dotmsg-handler";
    /// The ownership epoch under which the record was written.
    pub const EPOCH: &str = "dotmsg-epoch";
    /// When the first attempt failed.
    pub const FIRST_FAILURE: &str = "dotmsg-failure-first";
    /// When the last attempt failed.
    pub const LAST_FAILURE: &str = "dotmsg-failure-last";
    /// The kind of the last failure.
    pub const FAILURE_KIND: &str = "dotmsg-failure-kind";
    /// The message of the last failure.
    pub const FAILURE_MESSAGE: &str = "dotmsg-failure-message";
    /// The causes of the last failure, outermost first, one per line.
    pub const FAILURE_CHAIN: &str = "dotmsg-failure-chain";
    /// Present on a dead letter that was too large to carry its payload: read it at the origin.
    pub const BY_REFERENCE: &str = "dotmsg-by-reference";
}

/// Whether a header is the framework's own control data (everything under `dotmsg-` but the identity).
#[must_use]
pub fn is_control_header(name: &str) -> bool {
    name.starts_with("dotmsg-") && name != crate::message::ID_HEADER
}

/// What the control headers of a retry, replay or dead-letter record say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// Topic of the origin.
    pub topic: Arc<str>,
    /// Partition of the origin.
    pub partition: u32,
    /// Offset of the origin.
    pub offset: u64,
    /// The producer's timestamp.
    pub timestamp: Timestamp,
    /// Calls of the handler so far (0 after a replay).
    pub attempts: u32,
    /// Offset in the replay topic, when the head came from there.
    pub replay_offset: Option<u64>,
    /// Times replayed.
    pub replays: u32,
    /// The group that wrote the record.
    pub group: Arc<str>,
    /// The handler that failed.
    pub handler: Arc<str>,
    /// The ownership epoch under which it was written.
    pub epoch: u64,
    /// When the first attempt failed.
    pub first_failure: Option<Timestamp>,
    /// The span that the next attempt goes on from, when the message is traced.
    pub trace: Option<TraceParent>,
}

impl Lineage {
    /// Reads the control headers; `None` when the origin is missing or malformed.
    #[must_use]
    pub fn read(headers: &Headers) -> Option<Self> {
        Some(Self {
            topic: headers.get_str(control::ORIGIN_TOPIC)?.into(),
            partition: number(headers, control::ORIGIN_PARTITION)?,
            offset: number(headers, control::ORIGIN_OFFSET)?,
            timestamp: Timestamp(number(headers, control::ORIGIN_TIMESTAMP)?),
            attempts: number(headers, control::ATTEMPT).unwrap_or(0),
            replay_offset: number(headers, control::REPLAY_OFFSET),
            replays: number(headers, control::REPLAY_COUNT).unwrap_or(0),
            group: headers.get_str(control::GROUP).unwrap_or_default().into(),
            handler: headers.get_str(control::HANDLER).unwrap_or_default().into(),
            epoch: number(headers, control::EPOCH).unwrap_or(0),
            first_failure: number(headers, control::FIRST_FAILURE).map(Timestamp),
            trace: headers
                .get(control::TRACE)
                .and_then(|value| TraceParent::parse(value)),
        })
    }

    /// Writes the control headers, in place of any that are there.
    pub fn write(&self, headers: &mut Headers) {
        headers.remove_where(is_control_header);
        let mut put = |name: &str, value: String| headers.append(name, Some(Bytes::from(value)));
        put(control::ORIGIN_TOPIC, self.topic.to_string());
        put(control::ORIGIN_PARTITION, self.partition.to_string());
        put(control::ORIGIN_OFFSET, self.offset.to_string());
        put(control::ORIGIN_TIMESTAMP, self.timestamp.to_string());
        put(control::ATTEMPT, self.attempts.to_string());
        put(control::GROUP, self.group.to_string());
        put(control::HANDLER, self.handler.to_string());
        put(control::EPOCH, self.epoch.to_string());
        if let Some(offset) = self.replay_offset {
            put(control::REPLAY_OFFSET, offset.to_string());
        }
        if self.replays > 0 {
            put(control::REPLAY_COUNT, self.replays.to_string());
        }
        if let Some(first) = self.first_failure {
            put(control::FIRST_FAILURE, first.to_string());
        }
        if let Some(trace) = self.trace {
            put(control::TRACE, trace.to_string());
        }
    }
}

fn number<N: std::str::FromStr>(headers: &Headers, name: &str) -> Option<N> {
    headers.get_str(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_forged_headers_are_gone() {
        let lineage = Lineage {
            topic: "orders".into(),
            partition: 3,
            offset: 41,
            timestamp: Timestamp(-5),
            attempts: 2,
            replay_offset: Some(7),
            replays: 1,
            group: "billing".into(),
            handler: "bill".into(),
            epoch: 9,
            first_failure: Some(Timestamp(12)),
            trace: TraceParent::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        };
        assert!(lineage.trace.is_some());
        let mut headers = Headers::new();
        headers.append(control::ATTEMPT, Some("99".into()));
        headers.append("dotmsg-id", Some("i".into()));
        headers.append("x", None);
        lineage.write(&mut headers);
        assert_eq!(Lineage::read(&headers), Some(lineage));
        assert_eq!(headers.get_str("dotmsg-id"), Some("i"));
        assert_eq!(
            headers
                .iter()
                .filter(|(name, _)| *name == control::ATTEMPT)
                .count(),
            1
        );
    }

    #[test]
    fn without_an_origin_there_is_no_lineage() {
        let mut headers = Headers::new();
        headers.append(control::ATTEMPT, Some("3".into()));
        assert_eq!(Lineage::read(&headers), None);
    }
}
