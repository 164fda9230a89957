//! A delivery: a message in hand.
//!
//! It adds to the message where it came from (position, ownership epoch, origin of a retried one) and which attempt this
//! is. It is a shared handle: the runtime keeps one in the slot, so that a message can be dead-lettered even when the
//! handler panicked or was dropped by a timeout; layers and handlers may keep clones.

mod lineage;
mod provided;
mod settlement;
mod source;
mod story;

pub use lineage::{Lineage, control, is_control_header};
pub use provided::Provided;
pub use settlement::Settlement;
pub use source::{Position, Role, Stream};
pub use story::{Sent, Span, SpanEnd, Story};

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::message::{Headers, Message, Pen};

/// A message in hand: what it is, where it is from, which attempt this is.
#[derive(Clone, Debug)]
pub struct Delivery {
    inner: Arc<Inner>,
    attempt: u32,
    /// Where `attempt` leaves room.
    mark: Mark,
}

/// What whoever holds a delivery notes on this handle of it. What it means is theirs to know; 0 is that nothing was noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) u32);

struct Inner {
    message: Message,
    offset: u64,
    appended_at: Timestamp,
    stream: Arc<Stream>,
    lineage: Option<Box<Lineage>>,
    condemned: Option<&'static str>,
    companion: Option<Companion>,
    /// Only on a copy that [`Delivery::traced`] made, so that whoever uses a handle again finds none.
    story: Option<Arc<dyn Story>>,
}

/// Something of the runtime's own that accompanies a delivery to a layer.
pub(crate) type Companion = Arc<dyn Any + Send + Sync>;

impl Delivery {
    /// The first delivery of a record of `stream` at `offset`. Control headers are honoured only when the stream is one
    /// of the group's own topics (retry, replay); elsewhere they are inert.
    #[must_use]
    pub fn new(stream: Arc<Stream>, offset: u64, appended_at: Timestamp, message: Message) -> Self {
        let lineage = Inner::lineage_of(&stream, &message);
        let attempt = lineage
            .as_ref()
            .map_or(1, |lineage| lineage.attempts.saturating_add(1));
        Self {
            inner: Arc::new(Inner {
                message,
                offset,
                appended_at,
                stream,
                lineage,
                condemned: None,
                companion: None,
                story: None,
            }),
            attempt,
            mark: Mark::default(),
        }
    }

    /// Puts another record into this handle, reusing its allocation unless a clone of it is still alive.
    pub fn refill(
        &mut self,
        stream: &Arc<Stream>,
        offset: u64,
        appended_at: Timestamp,
        message: Message,
    ) {
        let Some(inner) = Arc::get_mut(&mut self.inner) else {
            *self = Self::new(Arc::clone(stream), offset, appended_at, message);
            return;
        };
        inner.message = message;
        inner.offset = offset;
        inner.appended_at = appended_at;
        inner.condemned = None;
        inner.companion = None;
        inner.story = None;
        if !Arc::ptr_eq(&inner.stream, stream) {
            inner.stream = Arc::clone(stream);
        }
        self.attempt = 1;
        if inner.stream.role != Role::Source || inner.lineage.is_some() {
            inner.lineage = Inner::lineage_of(&inner.stream, &inner.message);
            self.attempt = inner
                .lineage
                .as_ref()
                .map_or(1, |lineage| lineage.attempts.saturating_add(1));
        }
    }

    /// The same with a message that is exchanged for the one before: nothing is built or dropped here.
    #[inline]
    pub(crate) fn exchange(
        &mut self,
        stream: &Arc<Stream>,
        offset: u64,
        appended_at: Timestamp,
        message: &mut Message,
    ) {
        if let Some(inner) = Arc::get_mut(&mut self.inner)
            && stream.role == Role::Source
            && inner.lineage.is_none()
        {
            debug_assert!(inner.companion.is_none(), "only a refilled one has it");
            debug_assert!(inner.story.is_none(), "only a copy has it");
            std::mem::swap(&mut inner.message, message);
            inner.offset = offset;
            inner.appended_at = appended_at;
            inner.condemned = None;
            if !Arc::ptr_eq(&inner.stream, stream) {
                inner.stream = Arc::clone(stream);
            }
            self.attempt = 1;
            return;
        }
        self.refill(stream, offset, appended_at, std::mem::take(message));
    }

    /// A handle without a message, to be refilled.
    #[must_use]
    pub fn vacant() -> Self {
        let stream = Stream::new("".into(), 0, 0, Role::Source);
        Self::new(Arc::new(stream), 0, Timestamp(0), Message::default())
    }

    /// Lets go of the message, so that an idle handle holds no memory. Does nothing while a clone of it is alive.
    pub fn clear(&mut self) {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.message = Message::default();
            inner.lineage = None;
            inner.companion = None;
        }
    }

    /// Sets the message aside: it goes to the dead-letter topic with this kind of failure, without a call of the
    /// handler. Does nothing while a clone of the handle is alive.
    pub fn condemn(&mut self, kind: &'static str) {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.condemned = Some(kind);
        }
    }

    /// Sends this along. Does nothing while a clone of the handle is alive.
    pub(crate) fn accompany(&mut self, companion: Companion) {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.companion = Some(companion);
        }
    }

    /// What was sent along.
    pub(crate) fn companion(&self) -> Option<Companion> {
        self.inner.companion.clone()
    }

    /// The same by reference, when it is of this type.
    pub(crate) fn companion_ref<T: Any>(&self) -> Option<&T> {
        self.inner.companion.as_deref()?.downcast_ref()
    }

    /// What was noted on this handle.
    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// To note something on this handle; its clones have what it had when they were made.
    #[inline]
    pub(crate) fn mark_mut(&mut self) -> &mut Mark {
        &mut self.mark
    }

    /// The same delivery in a handle of its own, which is traced.
    #[cold]
    #[must_use]
    pub(crate) fn traced(&self, story: Arc<dyn Story>) -> Self {
        let inner = &*self.inner;
        Self {
            inner: Arc::new(Inner {
                message: inner.message.clone(),
                offset: inner.offset,
                appended_at: inner.appended_at,
                stream: Arc::clone(&inner.stream),
                lineage: inner.lineage.clone(),
                condemned: inner.condemned,
                companion: inner.companion.clone(),
                story: Some(story),
            }),
            attempt: self.attempt,
            mark: self.mark,
        }
    }

    /// Who traces it; `None`: nobody, or it is not sampled.
    #[must_use]
    pub fn story(&self) -> Option<&Arc<dyn Story>> {
        self.inner.story.as_ref()
    }

    /// The kind of failure it was set aside with.
    #[must_use]
    pub fn condemned(&self) -> Option<&'static str> {
        self.inner.condemned
    }

    /// The same message at a later attempt (attempts count from 1, over all tiers).
    #[must_use]
    pub fn with_attempt(&self, attempt: u32) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            attempt,
            mark: Mark::default(),
        }
    }

    /// The message as its producer sent it (with control headers, when it is from a retry or replay topic).
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.inner.message
    }

    /// The key; `None` is null.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.inner.message.key.as_ref()
    }

    /// The payload; `None` is a tombstone.
    #[must_use]
    pub fn payload(&self) -> Option<&Bytes> {
        self.inner.message.payload.as_ref()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.inner.message.headers
    }

    /// When the producer made the message.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.inner.message.timestamp
    }

    /// When the record in hand was appended, by the broker's clock.
    #[must_use]
    pub fn appended_at(&self) -> Timestamp {
        self.inner.appended_at
    }

    /// Which call of the handler this is for this message: 1 for the first, in-place repeats and tiers included.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Where the record in hand lies (in a tier topic, when it is a retry).
    #[must_use]
    pub fn position(&self) -> Position<'_> {
        Position {
            topic: &self.inner.stream.topic,
            partition: self.inner.stream.partition,
            offset: self.inner.offset,
        }
    }

    /// Where the message was first read: the position in its source topic, through every retry and replay.
    #[must_use]
    pub fn origin(&self) -> Position<'_> {
        match &self.inner.lineage {
            Some(lineage) => Position {
                topic: &lineage.topic,
                partition: lineage.partition,
                offset: lineage.offset,
            },
            None => self.position(),
        }
    }

    /// The stream it was read from.
    #[must_use]
    pub fn stream(&self) -> &Arc<Stream> {
        &self.inner.stream
    }

    /// The ownership epoch of its partition.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inner.stream.epoch
    }

    /// What earlier failures left with it, when it is from a retry or replay topic.
    #[must_use]
    pub fn lineage(&self) -> Option<&Lineage> {
        self.inner.lineage.as_deref()
    }

    /// Its identity: the header `dotmsg-id`, else `topic/partition/offset` of its origin.
    #[must_use]
    pub fn id(&self) -> Cow<'_, [u8]> {
        match self.inner.message.id() {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(self.origin().to_string().into_bytes()),
        }
    }

    /// Writes its identity.
    pub(crate) fn write_id(&self, to: &mut Pen<'_>) -> std::io::Result<()> {
        match self.inner.message.id() {
            Some(id) => to.write_all(id),
            None => self.origin().write(to),
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("message", &self.message)
            .field("offset", &self.offset)
            .field("appended_at", &self.appended_at)
            .field("stream", &self.stream)
            .field("lineage", &self.lineage)
            .field("condemned", &self.condemned)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn lineage_of(stream: &Stream, message: &Message) -> Option<Box<Lineage>> {
        match stream.role {
            Role::Source => None,
            Role::Tier { .. } | Role::Replay => Lineage::read(&message.headers).map(Box::new),
        }
    }
}
