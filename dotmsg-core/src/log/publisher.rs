//! Publishing.
//!
//! Records are handed over when `publish` is *called*; the future only waits for the answer. So overlapping calls keep
//! their order, and dropping the future leaves the outcome unknown, never the record half written.

use std::sync::Arc;
use std::time::Duration;

use super::broker::Shared;
use super::topic::{Partition, Topic, no_such_topic};
use crate::backend::{BoxFuture, PublishOutcome, PublishRecord, Published, Publisher};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;

/// Publishes to any topic of the log.
#[derive(Debug)]
pub(super) struct LogPublisher {
    pub(super) shared: Arc<Shared>,
}

impl LogPublisher {
    /// The topic of a record, its partition, and the message stamped; or why it cannot be appended.
    fn place(
        &self,
        topic: &Topic,
        record: PublishRecord,
        now: Timestamp,
    ) -> Result<(u32, Message)> {
        let mut message = record.message;
        let size = message.size();
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
        let partition = topic.choose(record.partition, &message)?;
        if message.timestamp == Timestamp::default() {
            message.timestamp = now;
        }
        Ok((partition, message))
    }

    fn append(
        &self,
        topic: &Topic,
        records: impl Iterator<Item = PublishRecord>,
        now: Timestamp,
        outcomes: &mut Vec<PublishOutcome>,
    ) {
        let retention = self.shared.retention(topic);
        topic.grow(|partitions| {
            for record in records {
                let outcome = self.place(topic, record, now).map(|(number, message)| {
                    let Partition::Memory(partition) = &mut partitions[number as usize];
                    let (offset, rolled) = partition.append(message, now);
                    if rolled {
                        partition.apply(&retention);
                    }
                    Published {
                        partition: number,
                        offset,
                        appended_at: now,
                        duplicate: false,
                    }
                });
                outcomes.push(match outcome {
                    Ok(published) => PublishOutcome::Ok(published),
                    Err(error) => PublishOutcome::Failed(error),
                });
            }
        });
    }

    fn publish_memory(&self, records: Vec<PublishRecord>) -> Vec<PublishOutcome> {
        let now = self.shared.options.clock.now();
        let mut outcomes = Vec::with_capacity(records.len());
        let mut records = records.into_iter().peekable();
        while let Some(name) = records.peek().map(|first| Arc::clone(&first.topic)) {
            let same = |record: &PublishRecord| record.topic == name;
            let run = std::iter::from_fn(|| records.next_if(same));
            match self.shared.topic_or_create("publish", &name) {
                Ok(topic) => self.append(&topic, run, now, &mut outcomes),
                Err(error) => {
                    // Errors are not cloned: the others of the run are answered by asking again.
                    let mut first = Some(error);
                    outcomes.extend(run.map(|record| {
                        let again = || self.shared.topic_or_create("publish", &record.topic).err();
                        let error = first.take().or_else(again);
                        PublishOutcome::Failed(
                            error.unwrap_or_else(|| no_such_topic("publish", &record.topic)),
                        )
                    }));
                }
            }
        }
        outcomes
    }
}

impl Publisher for LogPublisher {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        let outcomes = self.publish_memory(records);
        Box::pin(std::future::ready(outcomes))
    }

    fn flush(&self, _deadline: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(self.shared.health.check("flush")))
    }
}
