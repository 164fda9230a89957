//! From librdkafka's messages to records: one pass per batch, one copy per message.
//!
//! A batch holds runs of messages of one partition, and each run becomes one chunk. Keys, payloads and header values are copied
//! into blocks that the records share, so that a message costs no allocation of its own; a block is small, because a record that
//! is kept keeps it whole. Names of topics and headers are few and repeat, so they are shared too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use dotmsg_core::backend::Record;
use dotmsg_core::clock::Timestamp;
use dotmsg_core::delivery::control;
use dotmsg_core::error::Error;
use dotmsg_core::message::{Headers, Message};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::error;
use crate::inbox::{Begin, Chunk, Inbox};
use crate::lock;
use crate::native::{Fetched, Messages, Queue};

/// Messages taken at once: what a route takes at once by default, so that a run is handed on whole and not moved again.
const BATCH: usize = 512;
/// Bytes of a block that records share, unless one record is larger.
const BLOCK: usize = 64 << 10;
/// Names that are remembered.
const NAMES: usize = 64;

/// A partition that is being read.
#[derive(Debug)]
struct Stream {
    topic: Arc<str>,
    partition: u32,
    grant: u64,
    start: u64,
    /// The offset that is to be read next.
    next: u64,
}

/// What came instead of a message.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// What was to be read next of a partition is not in its log.
    OutOfRange {
        topic: Arc<str>,
        partition: u32,
        grant: u64,
        position: u64,
    },
    /// Reading cannot go on.
    Failed(Error),
}

/// Reads the partitions it was told to.
#[derive(Debug)]
pub(crate) struct Fetch {
    streams: BTreeMap<(Arc<str>, u32), Stream>,
    messages: Messages,
    block: BytesMut,
    names: Vec<Arc<str>>,
}

impl Fetch {
    pub(crate) fn new() -> Self {
        Self {
            streams: BTreeMap::new(),
            messages: Messages::with_capacity(BATCH),
            block: BytesMut::new(),
            names: Vec::new(),
        }
    }

    /// From now on what comes of this partition is handed over.
    pub(crate) fn start(&mut self, topic: &Arc<str>, partition: u32, grant: u64, from: Begin) {
        let stream = Stream {
            topic: Arc::clone(topic),
            partition,
            grant,
            start: from.start,
            next: from.offset,
        };
        self.streams.insert((Arc::clone(topic), partition), stream);
    }

    /// From now on what comes of it is dropped.
    pub(crate) fn stop(&mut self, topic: &Arc<str>, partition: u32) {
        self.streams.remove(&(Arc::clone(topic), partition));
    }

    /// The offset that is to be read next of a partition that is read.
    pub(crate) fn next(&self, topic: &Arc<str>, partition: u32) -> Option<u64> {
        let stream = self.streams.get(&(Arc::clone(topic), partition))?;
        Some(stream.next)
    }

    /// Hands over one batch of what is there. `seen` is told the partition, offset and leader epoch at both ends of a run.
    /// `false`: nothing was there.
    pub(crate) fn turn<C: ConsumerContext>(
        &mut self,
        queue: &Queue<C>,
        inbox: &Mutex<Inbox>,
        troubles: &mut Vec<Trouble>,
        mut seen: impl FnMut(u32, u64, i32),
    ) -> bool {
        queue.consume(&mut self.messages);
        if self.messages.is_empty() {
            return false;
        }
        let messages = std::mem::replace(&mut self.messages, Messages::with_capacity(0));
        let mut rest = messages.iter().peekable();
        while let Some(first) = rest.next() {
            let topic = shared(&mut self.names, &first.topic());
            let stream = self
                .streams
                .get_mut(&(Arc::clone(&topic), first.partition()));
            if let Some(code) = first.error() {
                troubles.extend(trouble(first, code, &topic, stream));
                continue;
            }
            let (handle, partition) = (first.topic_handle(), first.partition());
            let of_run = |next: &Fetched<'_>| {
                next.error().is_none()
                    && next.topic_handle() == handle
                    && next.partition() == partition
            };
            let Some(stream) = stream else {
                while rest.next_if(of_run).is_some() {}
                continue;
            };
            let mut records = lock(inbox).spare();
            let mut last = first;
            let mut next = Some(first);
            while let Some(message) = next {
                last = message;
                if message.offset() >= stream.next {
                    records.push(record(message, &mut self.block, &mut self.names));
                    stream.next = message.offset() + 1;
                }
                next = rest.next_if(of_run);
            }
            for end in [first, last] {
                if let Some(epoch) = end.leader_epoch() {
                    seen(partition, end.offset(), epoch);
                }
            }
            if !records.is_empty() {
                lock(inbox).put(Chunk {
                    topic: Arc::clone(&stream.topic),
                    partition: stream.partition,
                    grant: stream.grant,
                    start: stream.start,
                    records,
                    removed: None,
                });
            }
        }
        drop(rest);
        self.messages = messages;
        true
    }
}

fn record(message: Fetched<'_>, block: &mut BytesMut, names: &mut Vec<Arc<str>>) -> Record {
    let key = message.key().map(|key| copy(block, key));
    let payload = message.payload().map(|payload| copy(block, payload));
    let mut headers = Headers::new();
    message.headers(|name, value| {
        headers.append(shared(names, name), value.map(|value| copy(block, value)));
    });
    let (at, of_append) = message.timestamp();
    // Where the broker stamps, what the producer said is in a header, on the topics that this framework writes.
    let made = of_append
        .then(|| headers.get_str(control::ORIGIN_TIMESTAMP))
        .flatten();
    let timestamp = Timestamp(made.and_then(|made| made.parse().ok()).unwrap_or(at));
    Record {
        offset: message.offset(),
        receipt: 0,
        appended_at: Timestamp(at),
        message: Message {
            key,
            payload,
            headers,
            timestamp,
        },
    }
}

fn copy(block: &mut BytesMut, bytes: &[u8]) -> Bytes {
    if block.capacity() < bytes.len() {
        *block = BytesMut::with_capacity(bytes.len().max(BLOCK));
    }
    block.extend_from_slice(bytes);
    block.split().freeze()
}

fn shared(names: &mut Vec<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.iter().find(|known| &***known == name) {
        return Arc::clone(known);
    }
    let name: Arc<str> = name.into();
    if names.len() < NAMES {
        names.push(Arc::clone(&name));
    }
    name
}

/// What an error in the place of a message comes to; nothing when librdkafka goes on by itself.
fn trouble(
    message: Fetched<'_>,
    code: Code,
    topic: &Arc<str>,
    stream: Option<&mut Stream>,
) -> Option<Trouble> {
    let partition = message.partition();
    match code {
        Code::AutoOffsetReset | Code::LogTruncation | Code::OffsetOutOfRange => {
            let stream = stream?;
            Some(Trouble::OutOfRange {
                topic: Arc::clone(&stream.topic),
                partition,
                grant: stream.grant,
                position: stream.next,
            })
        }
        Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::BadMessage
        | Code::InvalidMessage => {
            let failed = error::of_code("read", code)
                .with("topic", topic)
                .with("partition", partition)
                .with("reason", message.error_text());
            Some(Trouble::Failed(failed))
        }
        _ => {
            tracing::warn!(topic = &**topic, partition, %code, reason = message.error_text(), "reading is tried again");
            None
        }
    }
}
