//! `w4` by hand: consume, decode, change, produce, with up to 10,000 messages on their way.
//!
//! A commit must not pass a message whose delivery is not reported, and reports come out of order. So messages are counted in
//! epochs: every interval, the positions are noted and a new epoch begins; the noted positions are committed when the epoch and
//! all before it have no message on its way any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};

use crate::bare::now;
use crate::client::{self, COMMIT};
use crate::environment::Environment;
use crate::meter::Meter;
use crate::payment::Payment;

/// Messages on their way, at most.
const WINDOW: u64 = 10_000;
/// Epochs that may be open at once; a report comes long before as many commit intervals have passed.
const EPOCHS: usize = 1_024;
/// Messages between two looks at reports and the clock.
const LOOK: u64 = 256;

/// What the reports say.
struct Reports {
    /// By epoch: messages whose delivery was reported.
    confirmed: Vec<AtomicU64>,
    all: AtomicU64,
    failed: AtomicU64,
}

/// The context of the producer.
struct Delivery(Arc<Reports>);

impl ClientContext for Delivery {}

impl ProducerContext for Delivery {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, epoch: usize) {
        let Reports {
            confirmed,
            all,
            failed,
        } = &*self.0;
        if result.is_err() {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        confirmed[epoch % EPOCHS].fetch_add(1, Ordering::Relaxed);
        all.fetch_add(1, Ordering::Relaxed);
    }
}

type Producer = BaseProducer<Delivery>;

/// An epoch that no message is added to any more.
struct Closed {
    epoch: usize,
    sent: u64,
    positions: TopicPartitionList,
}

/// What was sent, and how far it may be committed.
struct Progress {
    reports: Arc<Reports>,
    epoch: usize,
    sent_in_epoch: u64,
    sent: u64,
    closed: VecDeque<Closed>,
}

/// Runs until all is published and committed.
///
/// # Errors
/// What the client says; a payload that is no payment; a message that was not published.
pub(crate) fn run(environment: &Environment) -> Result<(), String> {
    let out = environment.out_topic()?;
    let meter = Meter::new(environment.messages);
    let reports = Arc::new(Reports {
        confirmed: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(),
        all: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let producer: Producer =
        client::producer(&environment.boot, Delivery(Arc::clone(&reports)), "lz4")?;
    let consumer = client::consumer(environment)?;
    let mut progress = Progress {
        reports,
        epoch: 0,
        sent_in_epoch: 0,
        sent: 0,
        closed: VecDeque::new(),
    };
    let mut closed = now();
    let mut buffer = Vec::new();
    while progress.sent < environment.messages {
        while progress.on_their_way() >= WINDOW {
            producer.poll(Duration::from_millis(1));
        }
        if let Some(message) = consumer.poll(Duration::from_millis(1)) {
            let message = message.map_err(|error| format!("cannot read: {error}"))?;
            meter.enter();
            let payment: Payment<'_> =
                serde_json::from_slice(message.payload().unwrap_or_default())
                    .map_err(|error| format!("no payment: {error}"))?;
            meter.add(payment.amount);
            buffer.clear();
            serde_json::to_writer(&mut buffer, &payment.changed())
                .map_err(|error| format!("cannot encode: {error}"))?;
            send(&producer, out, message.key(), &buffer, progress.epoch)?;
            progress.sent += 1;
            progress.sent_in_epoch += 1;
            if !progress.sent.is_multiple_of(LOOK) {
                continue;
            }
        }
        producer.poll(Duration::ZERO);
        if closed.elapsed() >= COMMIT {
            closed = now();
            progress.close(&consumer)?;
        }
        progress.commit(&consumer, CommitMode::Async)?;
    }
    while progress.on_their_way() > 0 {
        producer.poll(Duration::from_millis(1));
    }
    meter.end();
    progress.close(&consumer)?;
    progress.commit(&consumer, CommitMode::Sync)?;
    if progress.reports.failed.load(Ordering::Relaxed) > 0 {
        return Err("a message was not published".to_owned());
    }
    drop(consumer);
    meter.print("bare", environment)
}

/// Hands one message over, and waits for room if there is none.
fn send(
    producer: &Producer,
    topic: &str,
    key: Option<&[u8]>,
    payload: &[u8],
    epoch: usize,
) -> Result<(), String> {
    let mut record: BaseRecord<'_, [u8], [u8], usize> =
        BaseRecord::with_opaque_to(topic, epoch).payload(payload);
    if let Some(key) = key {
        record = record.key(key);
    }
    while let Err((error, again)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(format!("cannot publish: {error}"));
        }
        record = again;
        producer.poll(Duration::from_millis(1));
    }
    Ok(())
}

impl Progress {
    fn on_their_way(&self) -> u64 {
        self.sent - self.reports.all.load(Ordering::Relaxed)
    }

    /// Notes the positions and begins a new epoch. Everything that was polled is sent when this is called.
    fn close(&mut self, consumer: &BaseConsumer) -> Result<(), String> {
        let positions = consumer.position().map_err(|error| error.to_string())?;
        self.closed.push_back(Closed {
            epoch: self.epoch,
            sent: std::mem::take(&mut self.sent_in_epoch),
            positions,
        });
        self.epoch += 1;
        match self.closed.len() < EPOCHS {
            true => Ok(()),
            false => Err("deliveries are not reported".to_owned()),
        }
    }

    /// Commits up to the last epoch before which everything is confirmed.
    fn commit(&mut self, consumer: &BaseConsumer, mode: CommitMode) -> Result<(), String> {
        let mut last = None;
        while let Some(first) = self.closed.front() {
            let confirmed = &self.reports.confirmed[first.epoch % EPOCHS];
            if confirmed.load(Ordering::Relaxed) < first.sent {
                break;
            }
            confirmed.store(0, Ordering::Relaxed);
            last = self.closed.pop_front().map(|first| first.positions);
        }
        let Some(positions) = last else {
            return Ok(());
        };
        let mut known = TopicPartitionList::new();
        for element in positions.elements() {
            if let Offset::Offset(_) = element.offset() {
                let (topic, partition) = (element.topic(), element.partition());
                let added = known.add_partition_offset(topic, partition, element.offset());
                added.map_err(|error| error.to_string())?;
            }
        }
        consumer
            .commit(&known, mode)
            .map_err(|error| format!("cannot commit: {error}"))
    }
}
