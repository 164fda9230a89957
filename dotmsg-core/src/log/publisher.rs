//! Publishing.
//!
//! Records are handed over when `publish` is *called*; the future only waits for the answer. So overlapping calls keep
//! their order, and dropping the future leaves the outcome unknown, never a record half written. On disk, encoding and
//! checking is done on the caller's thread; the writer only numbers what is finished. A partitioner of the user's runs there
//! too, and before a topic's lock is taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::codec;
use super::frame::Frame;
use super::shared::Shared;
use super::topic::{Partition, Topic, no_such_topic};
use super::writer::{Done, Firsts, Order, Part, Writer};
use crate::backend::{BoxFuture, Partitioner, PublishOutcome, PublishRecord, Published, Publisher};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;

/// Bytes after which a batch ends: the unit that is checked and read as a whole.
const BATCH_BYTES: usize = 64 << 10;

/// Publishes to any topic of the log.
#[derive(Debug)]
pub(super) struct LogPublisher {
    pub(super) shared: Arc<Shared>,
    pub(super) partitioner: Option<Arc<dyn Partitioner>>,
}

impl Publisher for LogPublisher {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        let now = self.shared.options.clock.now();
        match self.shared.writer() {
            None => Box::pin(std::future::ready(self.append(records, now))),
            Some(writer) => self.send(writer, records, now),
        }
    }

    fn flush(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let settled = tokio::time::timeout(deadline, self.shared.settle("flush"));
            settled.await.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Timeout,
                    "flush",
                    "the disk did not answer in time",
                )
                .with("deadline", format!("{deadline:?}")))
            })
        })
    }
}

impl LogPublisher {
    /// Where a record goes; or why it cannot be appended.
    fn place(&self, topic: &Topic, record: &PublishRecord) -> Result<u32> {
        let size = record.message.size();
        let limit = self.shared.options.max_record_bytes;
        if size > limit {
            return Err(
                Error::new(ErrorKind::TooLarge, "publish", "record above the limit")
                    .with("topic", &topic.name)
                    .with("bytes", size)
                    .with("max_record_bytes", limit)
                    .remedy("Raise max_record_bytes, or send a reference to the payload"),
            );
        }
        topic.choose(record, self.partitioner.as_deref())
    }

    /// Gives each run of records of one topic to `append`, and the outcomes of the others.
    fn by_topic<T>(
        &self,
        mut records: Vec<PublishRecord>,
        outcomes: &mut Vec<T>,
        failed: impl Fn(Error) -> T,
        mut append: impl FnMut(&Arc<Topic>, &mut [PublishRecord], &mut Vec<T>),
    ) {
        for run in records.chunk_by_mut(|one, next| same(&one.topic, &next.topic)) {
            let name = &run[0].topic;
            match self.shared.topic_or_create("publish", name) {
                Ok(topic) => append(&topic, run, outcomes),
                Err(error) => {
                    // Errors are not cloned: the others of the run are answered by asking again.
                    let mut first = Some(error);
                    outcomes.extend(run.iter().map(|record| {
                        let name = &record.topic;
                        let again = || self.shared.topic_or_create("publish", name).err();
                        let error = first.take().or_else(again);
                        failed(error.unwrap_or_else(|| no_such_topic("publish", name)))
                    }));
                }
            }
        }
    }

    /// Appends in memory.
    fn append(&self, records: Vec<PublishRecord>, now: Timestamp) -> Vec<PublishOutcome> {
        let mut outcomes = Vec::with_capacity(records.len());
        self.by_topic(
            records,
            &mut outcomes,
            PublishOutcome::Failed,
            |topic, run, outcomes| {
                let retention = self.shared.retention(topic);
                let places: Vec<_> = run.iter().map(|record| self.place(topic, record)).collect();
                topic.grow(|partitions| {
                    for (record, placed) in run.iter_mut().zip(places) {
                        outcomes.push(match placed {
                            Err(error) => PublishOutcome::Failed(error),
                            Ok(number) => {
                                let mut message = std::mem::take(&mut record.message);
                                message.timestamp = stamped(&message, now);
                                let partition = &mut partitions[number as usize];
                                let Partition::Memory(memory) = partition else {
                                    continue;
                                };
                                let (offset, rolled) = memory.append(message, now);
                                if rolled {
                                    memory.apply(&retention);
                                }
                                published(number, offset, now)
                            }
                        });
                    }
                });
            },
        );
        outcomes
    }

    /// Encodes, and hands over to the writer.
    fn send(
        &self,
        writer: &Writer,
        records: Vec<PublishRecord>,
        now: Timestamp,
    ) -> BoxFuture<'_, Vec<PublishOutcome>> {
        let mut parts = Parts::new(now);
        let mut places = Vec::with_capacity(records.len());
        self.by_topic(records, &mut places, Place::Failed, |topic, run, places| {
            for record in run {
                places.push(match self.place(topic, record) {
                    Err(error) => Place::Failed(error),
                    Ok(partition) => parts.push(topic, partition, &record.message),
                });
            }
        });
        let parts = parts.finish();
        let where_to: Vec<(u32, Arc<Topic>)> = parts
            .iter()
            .map(|part| (part.partition, Arc::clone(&part.topic)))
            .collect();
        let (waiter, answer) = oneshot::channel();
        if parts.is_empty() {
            let _ = waiter.send(Done::Ok(Vec::new()));
        } else {
            writer.send(Order::Append(parts, waiter));
        }
        Box::pin(async move {
            let done = answer.await.unwrap_or(Done::Unknown);
            let outcome = |place| self.outcome(place, &done, &where_to, now);
            places.into_iter().map(outcome).collect()
        })
    }

    fn outcome(
        &self,
        place: Place,
        done: &Done<Firsts>,
        parts: &[(u32, Arc<Topic>)],
        now: Timestamp,
    ) -> PublishOutcome {
        let (part, index) = match place {
            Place::Failed(error) => return PublishOutcome::Failed(error),
            Place::At { part, index } => (part, index),
        };
        let (partition, topic) = &parts[part];
        match done {
            Done::Ok(firsts) => match firsts[part] {
                Some(first) => published(*partition, first + index, now),
                None => PublishOutcome::Failed(no_such_topic("publish", &topic.name)),
            },
            Done::Unknown => PublishOutcome::Unknown(self.shared.health.error("publish")),
            Done::Failed => PublishOutcome::Failed(self.shared.health.error("publish")),
        }
    }
}

/// Nearly always the same allocation.
fn same(one: &Arc<str>, other: &Arc<str>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// When a message was made: what its producer says, else now.
fn stamped(message: &Message, now: Timestamp) -> Timestamp {
    match message.timestamp {
        Timestamp(0) => now,
        said => said,
    }
}

fn published(partition: u32, offset: u64, appended_at: Timestamp) -> PublishOutcome {
    PublishOutcome::Ok(Published {
        partition,
        offset,
        appended_at,
        duplicate: false,
    })
}

/// What one record of a call waits for.
enum Place {
    Failed(Error),
    /// The record of this place in a part.
    At {
        part: usize,
        index: u64,
    },
}

/// The records of one call, gathered by partition into batches.
struct Parts {
    now: Timestamp,
    parts: Vec<Part>,
    /// Records of each part.
    counts: Vec<u64>,
    /// The part of a topic and partition.
    known: BTreeMap<(u64, u32), usize>,
    /// The one that was used last: often the next one, too.
    last: Option<((u64, u32), usize)>,
}

impl Parts {
    fn new(now: Timestamp) -> Self {
        Self {
            now,
            parts: Vec::new(),
            counts: Vec::new(),
            known: BTreeMap::new(),
            last: None,
        }
    }

    fn push(&mut self, topic: &Arc<Topic>, partition: u32, message: &Message) -> Place {
        let key = (topic.number, partition);
        let part = match self.last {
            Some((last, part)) if last == key => part,
            _ => self.find(topic, key),
        };
        let frames = &mut self.parts[part].frames;
        let room = frames
            .last()
            .is_some_and(|frame| frame.len() + message.size() <= BATCH_BYTES);
        if !room {
            frames.push(Frame::new());
        }
        if let Some(frame) = frames.last_mut() {
            let timestamp = stamped(message, self.now);
            frame.push(|out| codec::encode(message, timestamp, out));
        }
        let index = self.counts[part];
        self.counts[part] += 1;
        Place::At { part, index }
    }

    fn find(&mut self, topic: &Arc<Topic>, key: (u64, u32)) -> usize {
        let part = *self.known.entry(key).or_insert_with(|| {
            self.counts.push(0);
            self.parts.push(Part {
                topic: Arc::clone(topic),
                partition: key.1,
                frames: Vec::new(),
                stamp: self.now,
            });
            self.parts.len() - 1
        });
        self.last = Some((key, part));
        part
    }

    fn finish(mut self) -> Vec<Part> {
        for frame in self.parts.iter_mut().flat_map(|part| &mut part.frames) {
            frame.finish(self.now);
        }
        self.parts
    }
}
