//! The records on their way: in the producer, and in order behind it what it has no room for.
//!
//! A fatal error ends a producer of librdkafka for good: what an idempotent one may still promise is lost with its state at the
//! broker. What it had then comes back as failed or as unknown, and only when all of that is told is another producer made, for
//! whoever publishes next: what is newer never passes what is still undecided. Nothing is sent anew here, since that would be a
//! second copy of what is unknown; whoever published knows whether it may.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg_core::backend::{Partitioner, PublishOutcome, PublishRecord};
use dotmsg_core::error::{Error, ErrorKind, Result, Retryability};
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig};

use super::reports::{Client, Delivery, Reports, ended};
use crate::error;
use crate::lock;
use crate::partitioner::Asked;

/// How long the thread waits for reports; what ends it, and a fatal error, is looked for as often.
const POLL: Duration = Duration::from_millis(100);

/// What producers are made of, one after the other.
pub(super) struct Making {
    pub(super) config: ClientConfig,
    pub(super) partitioner: Option<Arc<dyn Partitioner>>,
    /// Whether one that met a fatal error is followed by another one. A transaction is not: whoever leads it begins anew.
    pub(super) is_followed: bool,
}

impl Making {
    fn producer(&self, reports: &Arc<Reports>) -> Result<Arc<Client>> {
        let partitioner = self.partitioner.clone().map(Asked::new);
        let context = Delivery::new(Arc::clone(reports), partitioner);
        let made: Client = self
            .config
            .create_with_context(context)
            .map_err(|error| error::of_client("open kafka", error))?;
        let producer = Arc::new(made);
        producer.context().belongs_to(&producer);
        Ok(producer)
    }
}

/// The producer and what waits behind it.
pub(super) struct Line {
    making: Making,
    reports: Arc<Reports>,
    state: Mutex<State>,
    closed: AtomicBool,
}

struct State {
    producer: Arc<Client>,
    /// The producer met a fatal error.
    ended: bool,
    /// What it has no room for, with the numbers under which it waits.
    backlog: VecDeque<(PublishRecord, usize)>,
}

impl Line {
    pub(super) fn open(making: Making, reports: Arc<Reports>) -> Result<Self> {
        let state = State {
            producer: making.producer(&reports)?,
            ended: false,
            backlog: VecDeque::new(),
        };
        Ok(Self {
            making,
            reports,
            state: Mutex::new(state),
            closed: AtomicBool::new(false),
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes nothing more; what is on its way still goes.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The producer, as of now.
    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&lock(&self.state).producer)
    }

    /// What waits behind the producer has failed.
    pub(super) fn withdraw(&self) {
        self.fail(&mut lock(&self.state), |record| {
            Error::new(ErrorKind::Closed, "publish", "it was withdrawn")
                .with("topic", &record.topic)
        });
    }

    /// What the producer has not reported.
    pub(super) fn in_producer(&self) -> i32 {
        self.client().in_flight_count()
    }

    /// Sends records, each under its number, behind whatever came before. `records` is asked for under the lock that keeps the
    /// order of overlapping calls.
    pub(super) fn send(&self, records: impl Iterator<Item = (PublishRecord, usize)>) {
        let mut state = lock(&self.state);
        for (record, number) in records {
            let waits = state.ended || !state.backlog.is_empty();
            if waits || !self.hand_over(&mut state, &record, number) {
                state.backlog.push_back((record, number));
            }
        }
        if state.ended && !self.making.is_followed {
            self.fail_for_good(&mut state);
        }
    }

    /// Hears reports until it is closed and nothing is on its way.
    pub(super) fn run(&self) {
        while !self.is_closed() || self.reports.pending() > 0 {
            let producer = self.client();
            producer.poll(POLL);
            self.go_on(&producer);
        }
    }

    fn go_on(&self, producer: &Client) {
        let mut state = lock(&self.state);
        state.ended |= producer.client().fatal_error().is_some();
        if !state.ended {
            self.drain(&mut state);
            return;
        }
        if !self.making.is_followed {
            self.fail_for_good(&mut state);
        }
        let undecided = self.reports.pending() > state.backlog.len();
        if undecided {
            drop(state);
            // Also what comes back to its queue when a connection ends: it would lie there until it times out.
            producer.purge(PurgeConfig::default().queue());
        } else if !state.backlog.is_empty() && self.making.is_followed {
            self.replace(&mut state);
        }
    }

    /// Another producer for what waits; if there can be none, that has failed.
    fn replace(&self, state: &mut State) {
        match self.making.producer(&self.reports) {
            Ok(producer) => {
                state.producer = producer;
                state.ended = false;
                self.drain(state);
            }
            Err(error) => self.fail(state, |record| no_producer(record, &error)),
        }
    }

    /// What waits behind a producer that nobody follows has failed with it.
    fn fail_for_good(&self, state: &mut State) {
        let fatal = state.producer.client().fatal_error();
        let reason = fatal.map(|(_, reason)| reason).unwrap_or_default();
        self.fail(state, |record| ended(&record.topic, &reason));
    }

    fn fail(&self, state: &mut State, error: impl Fn(&PublishRecord) -> Error) {
        for (record, number) in std::mem::take(&mut state.backlog) {
            let failed = PublishOutcome::Failed(error(&record));
            self.reports.settle(number, failed);
        }
    }

    /// Sends what waits, as far as there is room.
    fn drain(&self, state: &mut State) {
        while let Some((record, number)) = state.backlog.pop_front() {
            if !self.hand_over(state, &record, number) {
                state.backlog.push_front((record, number));
                return;
            }
        }
    }

    /// Hands one record to librdkafka. False when it has to wait: for room, or for another producer.
    fn hand_over(&self, state: &mut State, record: &PublishRecord, number: usize) -> bool {
        let Err((error, _)) = state.producer.send(outgoing(record, number)) else {
            return true;
        };
        if error.rdkafka_error_code() == Some(Code::QueueFull) {
            return false;
        }
        if state.producer.client().fatal_error().is_some() {
            state.ended = true;
            return false;
        }
        let described =
            state
                .producer
                .context()
                .described(&error, &record.topic, record.partition.is_none());
        self.reports
            .settle(number, PublishOutcome::Failed(described));
        true
    }
}

/// A record as librdkafka takes it; it copies what it is lent.
fn outgoing(record: &PublishRecord, number: usize) -> BaseRecord<'_, [u8], [u8], usize> {
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
    out
}

fn no_producer(record: &PublishRecord, error: &Error) -> Error {
    let message = "the producer met a fatal error, and none can be made in its place";
    Error::new(ErrorKind::Unexpected, "publish", message)
        .retryable(Retryability::Transient)
        .with("topic", &record.topic)
        .with("reason", error)
}
