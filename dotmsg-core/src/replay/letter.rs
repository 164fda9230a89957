//! One dead letter: the message, where it is from, and why it was given up.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::backend::Record;
use crate::clock::Timestamp;
use crate::delivery::{Lineage, Position, control, is_control_header};
use crate::message::Message;

/// A dead letter as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Partition of the dead-letter topic, which is that of the origin.
    pub partition: u32,
    /// Offset in the dead-letter topic.
    pub offset: u64,
    /// When it was appended, by the broker's clock.
    pub appended_at: Timestamp,
    /// The message as its producer sent it, without control headers. By reference it lacks its payload, and what else did
    /// not fit.
    pub message: Message,
    /// Origin, group, handler, attempts, times replayed, first failure.
    pub lineage: Lineage,
    /// The kind of the last failure, a short word such as `decode`.
    pub kind: String,
    /// What the last failure said.
    pub reason: String,
    /// The last failure and its causes, outermost first.
    pub chain: Vec<String>,
    /// When the last attempt failed.
    pub last_failure: Option<Timestamp>,
    /// It was too large to carry its payload: the message lies at its origin.
    pub by_reference: bool,
}

impl DeadLetter {
    /// What a record of a dead-letter topic says; `None` when it carries no origin, so that nobody of us wrote it.
    #[must_use]
    pub fn read(partition: u32, record: Record) -> Option<Self> {
        let headers = &record.message.headers;
        let text = |name: &str| headers.get_str(name).unwrap_or_default();
        Some(Self {
            partition,
            offset: record.offset,
            appended_at: record.appended_at,
            lineage: Lineage::read(headers)?,
            kind: text(control::FAILURE_KIND).to_owned(),
            reason: text(control::FAILURE_MESSAGE).to_owned(),
            chain: text(control::FAILURE_CHAIN)
                .lines()
                .map(str::to_owned)
                .collect(),
            last_failure: text(control::LAST_FAILURE).parse().ok().map(Timestamp),
            by_reference: headers.get(control::BY_REFERENCE).is_some(),
            message: producers(record.message),
        })
    }

    /// Where the message was first read.
    #[must_use]
    pub fn origin(&self) -> Position<'_> {
        Position {
            topic: &self.lineage.topic,
            partition: self.lineage.partition,
            offset: self.lineage.offset,
        }
    }

    /// Its identity: the header `dotmsg-id`, else `topic/partition/offset` of its origin.
    #[must_use]
    pub fn id(&self) -> Cow<'_, [u8]> {
        match self.message.id() {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(self.origin().to_string().into_bytes()),
        }
    }

    /// Calls of the handler until it was given up; 0 when it was never called.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.lineage.attempts
    }

    /// How often it was replayed before.
    #[must_use]
    pub fn replays(&self) -> u32 {
        self.lineage.replays
    }
}

/// One line for a person: where, what, why. No payload.
impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} id {} key {}: {} after {} attempts: {}",
            self.origin(),
            self.id().escape_ascii(),
            match &self.message.key {
                Some(key) => format!("\"{}\"", key.escape_ascii()),
                None => "null".to_owned(),
            },
            self.kind,
            self.attempts(),
            self.reason
        )
    }
}

/// The message without the framework's own headers.
pub(super) fn producers(mut message: Message) -> Message {
    message.headers.remove_where(is_control_header);
    message
}

/// What the group's replay topic is to hold for a dead letter.
pub(super) fn replayed(letter: &DeadLetter, message: &Message) -> Message {
    let mut message = message.clone();
    let lineage = Lineage {
        attempts: 0,
        replay_offset: None,
        replays: letter.lineage.replays + 1,
        first_failure: None,
        ..letter.lineage.clone()
    };
    lineage.write(&mut message.headers);
    message
}

/// What the origin topic is to hold for it: no control headers, and its identity as a header even if it had none, since
/// its position is another one there.
pub(super) fn sent_again(letter: &DeadLetter, message: &Message) -> Message {
    let mut message = producers(message.clone());
    if message.id().is_none() {
        let id = letter.origin().to_string();
        message = message.with_id(Bytes::from(id));
    }
    message
}
