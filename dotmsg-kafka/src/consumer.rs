//! A consumer as a polling thread has it, a member's or a reader's.
//!
//! What is fetched comes into a queue of its own, apart from librdkafka's events, and either rings the thread's bell. What
//! librdkafka forgets is said again here: the forwarding into that queue, when it stops reading a partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dotmsg_core::error::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::bell::Bell;
use crate::context::Context;
use crate::error;
use crate::native::{self, Queue};
use crate::now;

/// The longest wait: also how often librdkafka is polled when nothing happens.
const IDLE: Duration = Duration::from_millis(200);
/// The pause before a start that was refused is tried again.
const AGAIN: Duration = Duration::from_millis(10);
/// How long a seek may take; it is answered by librdkafka's own threads.
const SEEK: Duration = Duration::from_secs(1);

/// A consumer, its queue of messages, and what wakes its thread.
pub(crate) struct PolledConsumer {
    pub(crate) client: Arc<BaseConsumer<Context>>,
    /// What is fetched.
    pub(crate) messages: Queue<Context>,
    pub(crate) bell: Arc<Bell>,
    /// librdkafka has events.
    events: Arc<AtomicBool>,
    polled: Option<Instant>,
}

impl PolledConsumer {
    /// A consumer of this configuration, which reads nothing yet.
    pub(crate) fn open(operation: &'static str, config: &ClientConfig) -> Result<Self> {
        Self::with_bell(operation, config, Arc::default())
    }

    /// The same for a thread that has a bell already.
    pub(crate) fn with_bell(
        operation: &'static str,
        config: &ClientConfig,
        bell: Arc<Bell>,
    ) -> Result<Self> {
        let events = Arc::new(AtomicBool::new(true));
        let mut client: BaseConsumer<Context> = config
            .create_with_context(Context::default())
            .map_err(|error| error::of_client(operation, error))?;
        let (ring, flag) = (Arc::clone(&bell), Arc::clone(&events));
        client.set_nonempty_callback(move || {
            flag.store(true, Ordering::Release);
            ring.ring();
        });
        let client = Arc::new(client);
        let messages = ringing(&client, &bell);
        Ok(Self {
            client,
            messages,
            bell,
            events,
            polled: None,
        })
    }

    /// One more queue that rings the bell.
    pub(crate) fn queue(&self) -> Queue<Context> {
        ringing(&self.client, &self.bell)
    }

    /// Whether librdkafka is to be polled for events now.
    pub(crate) fn is_due(&mut self) -> bool {
        let waited = self.polled.is_none_or(|polled| polled.elapsed() >= IDLE);
        let due = self.events.swap(false, Ordering::AcqRel) || waited;
        if due {
            self.polled = Some(now());
        }
        due
    }

    /// How often it is polled then: once for each that waits, and once at least, which is a sign of life.
    pub(crate) fn polls(&self) -> usize {
        native::waiting(&self.client).max(1)
    }

    /// To be said after these polls. librdkafka calls only when its queue was empty, so what came during them is taken next time.
    pub(crate) fn polled(&self) {
        if native::waiting(&self.client) > 0 {
            self.events.store(true, Ordering::Release);
            self.bell.ring();
        }
    }

    /// Waits for the bell; not for long when a start is to be tried again.
    pub(crate) fn wait(&self, is_starting: bool) {
        self.bell.wait(if is_starting { AGAIN } else { IDLE });
    }

    /// What is fetched of these comes into the queue of messages. To be said before a partition is assigned, and again after:
    /// when librdkafka has just stopped reading it, the first is forgotten. The second also moves what arrived in between.
    pub(crate) fn receive(&self, topic: &str, partitions: &[u32]) {
        for partition in partitions {
            self.messages.receive(topic, *partition);
        }
    }

    /// Goes on reading at the offsets of the list.
    ///
    /// # Errors
    /// librdkafka's: among others, that it is still taking the partition.
    pub(crate) fn seek(&self, to: TopicPartitionList) -> Result<(), KafkaError> {
        let sought = self.client.seek_partitions(to, SEEK)?;
        let elements = sought.elements();
        elements.iter().try_for_each(|element| element.error())
    }

    /// The first offset that the log of a partition holds.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) fn first_offset(&self, topic: &str, partition: u32) -> Result<u64> {
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        let described = |error| -> Error {
            error::of_client("look up the log's start", error)
                .with("topic", topic)
                .with("partition", partition)
        };
        let looked = self.client.fetch_watermarks(topic, number, native::CALL);
        let (start, _) = looked.map_err(described)?;
        Ok(u64::try_from(start).unwrap_or(0))
    }
}

fn ringing(client: &Arc<BaseConsumer<Context>>, bell: &Arc<Bell>) -> Queue<Context> {
    let (mut queue, bell) = (Queue::new(client), Arc::clone(bell));
    queue.on_arrival(move || bell.ring());
    queue
}

/// A list of partitions of one topic, each at this offset.
pub(crate) fn list(topic: &str, partitions: &[u32], offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let partition = i32::try_from(*partition).unwrap_or(i32::MAX);
        let mut element = list.add_partition(topic, partition);
        // Refused only for offsets that are none.
        let _ = element.set_offset(offset);
    }
    list
}

/// The partitions of a list.
pub(crate) fn partitions_of(list: &TopicPartitionList) -> Vec<u32> {
    let elements = list.elements();
    let partitions = elements.iter().map(|element| element.partition());
    partitions
        .filter_map(|partition| u32::try_from(partition).ok())
        .collect()
}

/// An offset as librdkafka writes it.
pub(crate) fn at(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}
