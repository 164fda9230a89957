//! Publishing: pipelined, in order, one delivery report per message.
//!
//! Messages are handed to librdkafka when `publish` is called, not when its future is polled, so that overlapping calls keep
//! their order. What librdkafka has no room for waits in order behind what it has, and goes out as reports come in. A message
//! whose report says that it *may* be in the log is unknown, not failed (`rd_kafka_message_status`).

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dotmsg_core::backend::{
    BoxFuture, Partitioner, PublishOutcome, PublishRecord, Published, Publisher,
};
use dotmsg_core::clock::Timestamp;
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig,
};
use slab::Slab;
use tokio::sync::{Notify, oneshot};

use crate::context::log_line;
use crate::error;
use crate::lock;
use crate::native;
use crate::partitioner::{self, Asked};
use crate::settings::Settings;

/// How long the thread waits for reports; what ends it is looked at as often.
const POLL: Duration = Duration::from_millis(100);
/// How long a close waits for what is on its way.
const FLUSH: Duration = Duration::from_secs(10);

/// One call of `publish`: its outcomes, as they come.
#[derive(Debug)]
struct Call {
    outcomes: Vec<Option<PublishOutcome>>,
    left: usize,
    done: Option<oneshot::Sender<Vec<PublishOutcome>>>,
}

/// A message that waits for its report: its call, and its place there.
#[derive(Debug)]
struct Waiting {
    call: Arc<Mutex<Call>>,
    index: usize,
}

/// Everything that waits for a report, by the number that librdkafka gives back.
#[derive(Debug, Default)]
struct Reports {
    waiting: Mutex<Slab<Waiting>>,
    /// Handed over and not reported.
    pending: AtomicUsize,
    settled: Notify,
}

impl Reports {
    fn expect(&self, waiting: Waiting) -> usize {
        self.pending.fetch_add(1, Ordering::AcqRel);
        lock(&self.waiting).insert(waiting)
    }

    fn settle(&self, number: usize, outcome: PublishOutcome) {
        let waiting = lock(&self.waiting).remove(number);
        let mut call = lock(&waiting.call);
        call.outcomes[waiting.index] = Some(outcome);
        call.left -= 1;
        if call.left == 0
            && let Some(done) = call.done.take()
        {
            let outcomes = std::mem::take(&mut call.outcomes);
            let _ = done.send(outcomes.into_iter().flatten().collect());
        }
        drop(call);
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_waiters();
        }
    }
}

/// The context of the producer.
#[derive(Debug)]
pub(crate) struct Delivery {
    reports: Arc<Reports>,
    partitioner: Option<Asked>,
}

impl ClientContext for Delivery {
    fn log(&self, level: Level, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka client");
    }
}

impl ProducerContext<Asked> for Delivery {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(message) => PublishOutcome::Ok(Published {
                partition: u32::try_from(message.partition()).unwrap_or(0),
                offset: u64::try_from(message.offset()).unwrap_or(0),
                appended_at: Timestamp(message.timestamp().to_millis().unwrap_or(0)),
                duplicate: false,
            }),
            Err((error, message)) => {
                let described = described(error, message.topic(), message.partition() < 0);
                match native::possibly_persisted(message) {
                    true => PublishOutcome::Unknown(described),
                    false => PublishOutcome::Failed(described),
                }
            }
        };
        self.reports.settle(number, outcome);
    }

    fn get_custom_partitioner(&self) -> Option<&Asked> {
        self.partitioner.as_ref()
    }
}

/// `was_to_be_chosen`: nobody had said the partition. Only a partitioner then chooses one that there is not.
fn described(error: &KafkaError, topic: &str, was_to_be_chosen: bool) -> Error {
    match error.rdkafka_error_code().unwrap_or(Code::Unknown) {
        Code::UnknownPartition if was_to_be_chosen => partitioner::no_answer(topic),
        code => error::of_code("publish", code).with("topic", topic),
    }
}

pub(crate) type Client = BaseProducer<Delivery, Asked>;

/// Publishes to any topic of a cluster.
pub(crate) struct KafkaPublisher {
    producer: Arc<Client>,
    reports: Arc<Reports>,
    /// What librdkafka had no room for, with the numbers it waits under.
    backlog: Arc<Mutex<VecDeque<(PublishRecord, usize)>>>,
    closed: Arc<AtomicBool>,
    max_record_bytes: usize,
}

impl std::fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaPublisher").finish_non_exhaustive()
    }
}

impl KafkaPublisher {
    /// One whose records without a partition go where the partitioner says, or else murmur2.
    pub(crate) fn open(
        settings: &Settings,
        partitioner: Option<Arc<dyn Partitioner>>,
    ) -> Result<Self> {
        Self::with(
            &settings.producer(),
            settings.max_record_bytes(),
            partitioner,
        )
    }

    /// One with this configuration.
    pub(crate) fn with(
        config: &ClientConfig,
        max_record_bytes: usize,
        partitioner: Option<Arc<dyn Partitioner>>,
    ) -> Result<Self> {
        let reports = Arc::new(Reports::default());
        let producer: Client = config
            .create_with_context(Delivery {
                reports: Arc::clone(&reports),
                partitioner: partitioner.map(Asked::new),
            })
            .map_err(|error| error::of_client("open kafka", error))?;
        let publisher = Self {
            producer: Arc::new(producer),
            reports,
            backlog: Arc::default(),
            closed: Arc::default(),
            max_record_bytes,
        };
        let (producer, backlog) = (
            Arc::clone(&publisher.producer),
            Arc::clone(&publisher.backlog),
        );
        let (reports, closed) = (
            Arc::clone(&publisher.reports),
            Arc::clone(&publisher.closed),
        );
        thread::Builder::new()
            .name("kafka publisher".to_owned())
            .spawn(move || {
                while !closed.load(Ordering::Acquire) || reports.pending.load(Ordering::Acquire) > 0
                {
                    producer.poll(POLL);
                    drain(&producer, &reports, &mut lock(&backlog));
                }
            })
            .map_err(|error| {
                Error::new(ErrorKind::Unexpected, "open kafka", "no thread").source_error(error)
            })?;
        Ok(publisher)
    }

    /// Waits for what is on its way, and takes nothing more.
    pub(crate) async fn close(&self) -> Result<()> {
        let flushed = self.flush(FLUSH).await;
        self.closed.store(true, Ordering::Release);
        flushed
    }

    /// librdkafka's producer.
    pub(crate) fn client(&self) -> &Client {
        &self.producer
    }

    /// Nothing more is wanted of it: what is on its way is dropped, and its thread ends.
    pub(crate) fn give_up(&self) {
        self.closed.store(true, Ordering::Release);
        lock(&self.backlog).clear();
        self.producer
            .purge(PurgeConfig::default().queue().inflight());
    }

    /// Hands records over, now; gives their outcomes when all have one.
    pub(crate) fn hand_over(
        &self,
        records: Vec<PublishRecord>,
    ) -> impl Future<Output = Vec<PublishOutcome>> + Send + use<> {
        let count = records.len();
        let outcomes = self.take(records);
        async move {
            let gone = |_| {
                std::iter::repeat_with(|| PublishOutcome::Unknown(closed()))
                    .take(count)
                    .collect()
            };
            outcomes.await.unwrap_or_else(gone)
        }
    }

    fn take(&self, records: Vec<PublishRecord>) -> oneshot::Receiver<Vec<PublishOutcome>> {
        let (done, outcomes) = oneshot::channel();
        let call = Arc::new(Mutex::new(Call {
            outcomes: std::iter::repeat_with(|| None)
                .take(records.len())
                .collect(),
            left: records.len(),
            done: Some(done),
        }));
        // The lock keeps the order of overlapping calls.
        let mut backlog = lock(&self.backlog);
        for (index, record) in records.into_iter().enumerate() {
            let call = Arc::clone(&call);
            let number = self.reports.expect(Waiting { call, index });
            if let Some(error) = self.too_large(&record) {
                self.reports.settle(number, PublishOutcome::Failed(error));
                continue;
            }
            if !backlog.is_empty() {
                backlog.push_back((record, number));
            } else if let Some(record) = send(&self.producer, &self.reports, record, number) {
                backlog.push_back((record, number));
            }
        }
        outcomes
    }
}

impl KafkaPublisher {
    fn too_large(&self, record: &PublishRecord) -> Option<Error> {
        let bytes = record.message.size();
        (bytes > self.max_record_bytes).then(|| {
            Error::new(ErrorKind::TooLarge, "publish", "the record is larger than is allowed")
                .with("topic", &record.topic)
                .with("bytes", bytes)
                .with("limit", self.max_record_bytes)
                .remedy("Raise \"message.max.bytes\" in [backend.<name>.kafka], on the topic and on the broker")
        })
    }
}

impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "publish", "the backend was closed")
}

/// Sends what waits, as far as there is room.
fn drain(producer: &Client, reports: &Reports, backlog: &mut VecDeque<(PublishRecord, usize)>) {
    while let Some((record, number)) = backlog.pop_front() {
        if let Some(record) = send(producer, reports, record, number) {
            backlog.push_front((record, number));
            return;
        }
    }
}

/// Hands one record to librdkafka; gives it back when there is no room.
fn send(
    producer: &Client,
    reports: &Reports,
    record: PublishRecord,
    number: usize,
) -> Option<PublishRecord> {
    let message = &record.message;
    let mut out: BaseRecord<'_, [u8], [u8], usize> =
        BaseRecord::with_opaque_to(&record.topic, number);
    if let Some(partition) = record.partition {
        out = out.partition(i32::try_from(partition).unwrap_or(i32::MAX));
    }
    if let Some(key) = &message.key {
        out = out.key(key);
    }
    if let Some(payload) = &message.payload {
        out = out.payload(payload);
    }
    if message.timestamp.0 != 0 {
        out = out.timestamp(message.timestamp.0);
    }
    if !message.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(message.headers.len());
        for (name, value) in message.headers.iter() {
            headers = headers.insert(Header {
                key: name,
                value: value.map(|value| &value[..]),
            });
        }
        out = out.headers(headers);
    }
    let Err((error, _)) = producer.send(out) else {
        return None;
    };
    if error.rdkafka_error_code() == Some(Code::QueueFull) {
        return Some(record);
    }
    reports.settle(
        number,
        PublishOutcome::Failed(described(&error, &record.topic, record.partition.is_none())),
    );
    None
}

impl Publisher for KafkaPublisher {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        if records.is_empty() {
            return Box::pin(std::future::ready(Vec::new()));
        }
        if self.closed.load(Ordering::Acquire) {
            let refused = records
                .iter()
                .map(|_| PublishOutcome::Failed(closed()))
                .collect();
            return Box::pin(std::future::ready(refused));
        }
        Box::pin(self.hand_over(records))
    }

    fn flush(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let settled = async {
                loop {
                    let notified = self.reports.settled.notified();
                    if self.reports.pending.load(Ordering::Acquire) == 0 {
                        return;
                    }
                    notified.await;
                }
            };
            tokio::time::timeout(deadline, settled).await.map_err(|_| {
                Error::new(
                    ErrorKind::Timeout,
                    "flush",
                    "messages are still on their way",
                )
                .with("messages", self.reports.pending.load(Ordering::Acquire))
                .with("in the client", self.producer.in_flight_count())
            })
        })
    }
}
