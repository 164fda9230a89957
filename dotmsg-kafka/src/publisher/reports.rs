//! What waits for a delivery report, and the context of a producer, which hears them.
//!
//! One call of `publish` may have records in several producers, one after the other: its outcomes come together here, each in its
//! place, and are told when the last one is there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use dotmsg_core::backend::{PublishOutcome, Published};
use dotmsg_core::clock::Timestamp;
use dotmsg_core::error::{Error, ErrorKind, Retryability};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use slab::Slab;
use tokio::sync::{Notify, oneshot};

use super::gates::Gate;
use crate::context::log_line;
use crate::error;
use crate::lock;
use crate::native;
use crate::partitioner::{self, Asked};

/// One call of `publish`: its outcomes, as they come.
#[derive(Debug)]
pub(super) struct Call {
    outcomes: Vec<Option<PublishOutcome>>,
    left: usize,
    done: Option<oneshot::Sender<Vec<PublishOutcome>>>,
}

impl Call {
    /// Of so many records; its outcomes come through the channel.
    pub(super) fn of(records: usize) -> (Arc<Mutex<Self>>, oneshot::Receiver<Vec<PublishOutcome>>) {
        let (done, outcomes) = oneshot::channel();
        let call = Self {
            outcomes: std::iter::repeat_with(|| None).take(records).collect(),
            left: records,
            done: Some(done),
        };
        (Arc::new(Mutex::new(call)), outcomes)
    }
}

/// A message that waits for its report: its call, and its place there.
#[derive(Debug)]
struct Waiting {
    call: Arc<Mutex<Call>>,
    index: usize,
    /// The one that it went through.
    gate: Option<Gate>,
}

/// Everything that waits for a report, by the number that librdkafka gives back.
#[derive(Default)]
pub(super) struct Reports {
    open: Mutex<Open>,
    /// Hears of a gate when nothing that went through it is on its way any more.
    drained: OnceLock<Box<dyn Fn(Gate) + Send + Sync>>,
    /// Handed over and not reported.
    pending: AtomicUsize,
    settled: Notify,
}

#[derive(Debug, Default)]
struct Open {
    waiting: Slab<Waiting>,
    /// For each gate: how many went through it and are on their way.
    out: Vec<usize>,
}

impl Open {
    /// One that went through the gate is not on its way any more. Gives the gate, if it was the last one there.
    fn comes_back(&mut self, gate: Option<Gate>) -> Option<Gate> {
        gate.filter(|gate| {
            self.out[gate.0] -= 1;
            self.out[gate.0] == 0
        })
    }
}

impl Reports {
    /// So many have come, and are on their way from now on.
    pub(super) fn come(&self, records: usize) {
        self.pending.fetch_add(records, Ordering::AcqRel);
    }

    /// The numbers of the records of a call, in its order.
    pub(super) fn expect(&self, call: &Arc<Mutex<Call>>, records: usize) -> Vec<usize> {
        let mut open = lock(&self.open);
        let expected = |index| {
            open.waiting.insert(Waiting {
                call: Arc::clone(call),
                index,
                gate: None,
            })
        };
        (0..records).map(expected).collect()
    }

    /// To be called once, before anything goes through a gate.
    pub(super) fn on_drained(&self, hears: impl Fn(Gate) + Send + Sync + 'static) {
        let _ = self.drained.set(Box::new(hears));
    }

    /// It goes through a gate now.
    pub(super) fn goes_through(&self, number: usize, gate: Gate) {
        let mut open = lock(&self.open);
        open.waiting[number].gate = Some(gate);
        if open.out.len() <= gate.0 {
            open.out.resize(gate.0 + 1, 0);
        }
        open.out[gate.0] += 1;
    }

    /// It has not gone after all. Gives the gate, if nothing else that went through it is on its way by now: no report says so then.
    pub(super) fn has_not_gone(&self, number: usize) -> Option<Gate> {
        let mut open = lock(&self.open);
        let gate = open.waiting[number].gate.take();
        open.comes_back(gate)
    }

    /// Whether nothing that went through a gate is on its way.
    pub(super) fn is_drained(&self, gate: Gate) -> bool {
        lock(&self.open).out.get(gate.0).is_none_or(|out| *out == 0)
    }

    /// The outcome of a message that the producer has reported.
    fn report(&self, number: usize, outcome: PublishOutcome) {
        if let Some(gate) = self.settle(number, outcome)
            && let Some(hears) = self.drained.get()
        {
            hears(gate);
        }
    }

    /// Gives the gate that it went through, if it was the last one there.
    pub(super) fn settle(&self, number: usize, outcome: PublishOutcome) -> Option<Gate> {
        let mut open = lock(&self.open);
        let waiting = open.waiting.remove(number);
        let drained = open.comes_back(waiting.gate);
        drop(open);
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
        drained
    }

    /// How many wait.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// Waits until nothing does.
    pub(super) async fn all_settled(&self) {
        loop {
            let notified = self.settled.notified();
            if self.pending() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// librdkafka's producer.
pub(crate) type Client = BaseProducer<Delivery, Asked>;

/// The context of a producer.
pub(crate) struct Delivery {
    reports: Arc<Reports>,
    partitioner: Option<Asked>,
    /// The producer, once it is made, to ask it what it died of: the event that says so may come behind the reports.
    producer: OnceLock<Weak<Client>>,
}

impl Delivery {
    pub(super) fn new(reports: Arc<Reports>, partitioner: Option<Asked>) -> Self {
        Self {
            reports,
            partitioner,
            producer: OnceLock::new(),
        }
    }

    /// To be called once, when the producer of this context is made.
    pub(super) fn belongs_to(&self, producer: &Arc<Client>) {
        let _ = self.producer.set(Arc::downgrade(producer));
    }

    /// What librdkafka said when the producer came to its end.
    fn fatal(&self) -> Option<String> {
        let producer = self.producer.get()?.upgrade()?;
        producer.client().fatal_error().map(|(_, reason)| reason)
    }

    /// `was_to_be_chosen`: nobody had said the partition. Only a partitioner then chooses one that there is not.
    pub(super) fn described(
        &self,
        error: &KafkaError,
        topic: &str,
        was_to_be_chosen: bool,
    ) -> Error {
        match error.rdkafka_error_code().unwrap_or(Code::Unknown) {
            Code::UnknownPartition if was_to_be_chosen => partitioner::no_answer(topic),
            // These say only that it was dropped; why is what ended the producer.
            code @ (Code::PurgeQueue | Code::PurgeInflight) => match self.fatal() {
                Some(reason) => ended(topic, &reason),
                None => error::of_code("publish", code).with("topic", topic),
            },
            code => error::of_code("publish", code).with("topic", topic),
        }
    }
}

/// The outcome of a message whose producer came to its end before it was confirmed. Transient: the next one is another producer's.
pub(super) fn ended(topic: &str, reason: &str) -> Error {
    let message = "the producer met a fatal error, and another one takes its place";
    Error::new(ErrorKind::Unexpected, "publish", message)
        .retryable(Retryability::Transient)
        .with("topic", topic)
        .with("reason", reason)
}

impl ClientContext for Delivery {
    fn log(&self, level: Level, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(Code::Fatal) {
            tracing::error!(reason, "a producer met a fatal error, and is made anew");
            return;
        }
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
                let described = self.described(error, message.topic(), message.partition() < 0);
                match native::possibly_persisted(message) {
                    true => PublishOutcome::Unknown(described),
                    false => PublishOutcome::Failed(described),
                }
            }
        };
        self.reports.report(number, outcome);
    }

    fn get_custom_partitioner(&self) -> Option<&Asked> {
        self.partitioner.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only other one is reported while the producer refuses this one: nothing else says that the gate may let go.
    #[test]
    fn one_that_has_not_gone_may_be_the_last_at_its_gate() {
        let (reports, gate) = (Reports::default(), Gate(3));
        let (call, _outcomes) = Call::of(2);
        reports.come(2);
        let numbers = reports.expect(&call, 2);
        let (gone, refused) = (numbers[0], numbers[1]);
        numbers
            .iter()
            .for_each(|number| reports.goes_through(*number, gate));
        let failed = PublishOutcome::Failed(Error::new(ErrorKind::Closed, "publish", "on purpose"));
        assert_eq!(reports.settle(gone, failed), None);
        assert_eq!(reports.has_not_gone(refused), Some(gate));
        assert!(reports.is_drained(gate));
    }
}
