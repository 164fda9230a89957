//! Makes a topic and fills it: payloads of one size, or payments as JSON, with 100,000 keys in turn.
//!
//! The content depends on the message's number alone, so that every run reads the same bytes. Not compressed: what a consumer
//! would spend on decompression says nothing about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext};

use crate::client;
use crate::environment::Environment;

/// Distinct keys.
const KEYS: u64 = 100_000;
/// How long the cluster may take to make a topic, or to say how long it is.
const CALL: Duration = Duration::from_secs(10);

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// So many bytes.
    Bytes(usize),
    /// A payment.
    Json,
}

impl Shape {
    /// # Errors
    /// A name that is none.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        match name {
            "100b" => Ok(Self::Bytes(100)),
            "1k" => Ok(Self::Bytes(1_024)),
            "json" => Ok(Self::Json),
            other => Err(format!("no shape `{other}`: there are 100b, 1k and json")),
        }
    }

    fn write(self, number: u64, into: &mut Vec<u8>) {
        into.clear();
        match self {
            Self::Bytes(bytes) => {
                into.extend_from_slice(&number.to_be_bytes());
                into.resize(bytes, b'.');
            }
            Self::Json => {
                let (account, amount) = (number % KEYS, number % 1_000);
                let note = "thirty bytes of text, or more.";
                let text = format!(
                    r#"{{"id":{number},"account":"account-{account:08}","amount":{amount},"note":"{note}"}}"#
                );
                into.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// Counts what was refused.
struct Refused(Arc<AtomicU64>);

impl ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The mode `fill`.
///
/// # Errors
/// What [`topic`] says.
pub(crate) fn run(environment: &Environment, shape: &str, partitions: &str) -> Result<(), String> {
    let shape = Shape::named(shape)?;
    let partitions = partitions
        .parse()
        .map_err(|_| format!("`{partitions}` is no number of partitions"))?;
    make(&environment.boot, &environment.topic, partitions)?;
    topic(
        &environment.boot,
        &environment.topic,
        shape,
        environment.messages,
    )
}

/// Makes a topic.
///
/// # Errors
/// What the cluster says, also when the topic exists.
pub(crate) fn make(boot: &str, topic: &str, partitions: i32) -> Result<(), String> {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    let made = wait(admin(boot)?.create_topics([&new], &AdminOptions::new()))?;
    let made = made.map_err(|error| format!("cannot make topic {topic}: {error}"))?;
    let refused = made.into_iter().find_map(Result::err);
    refused.map_or(Ok(()), |(topic, code)| {
        Err(format!("cannot make topic {topic}: {code}"))
    })
}

/// Deletes topics, as far as they exist.
///
/// # Errors
/// What the cluster says.
pub(crate) fn delete(boot: &str, topics: &[&str]) -> Result<(), String> {
    let deleted = wait(admin(boot)?.delete_topics(topics, &AdminOptions::new()))?;
    deleted
        .map(|_| ())
        .map_err(|error| format!("cannot delete topics: {error}"))
}

/// Fills a topic that exists.
///
/// # Errors
/// What the client says.
pub(crate) fn topic(boot: &str, topic: &str, shape: Shape, messages: u64) -> Result<(), String> {
    let refused = Arc::new(AtomicU64::new(0));
    let producer = client::producer(boot, Refused(Arc::clone(&refused)), "none")?;
    let mut payload = Vec::new();
    for number in 0..messages {
        let key = format!("key-{:08}", number % KEYS);
        shape.write(number, &mut payload);
        let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(topic)
            .key(key.as_str())
            .payload(payload.as_slice());
        while let Err((error, again)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                return Err(format!("cannot fill {topic}: {error}"));
            }
            record = again;
            producer.poll(Duration::from_millis(5));
        }
    }
    let flushed = producer.flush(Duration::from_secs(60));
    flushed.map_err(|error| format!("cannot fill {topic}: {error}"))?;
    match refused.load(Ordering::Relaxed) {
        0 => Ok(()),
        refused => Err(format!("{refused} messages of {topic} were refused")),
    }
}

/// How many messages a topic has; 0 when there is no such topic.
///
/// # Errors
/// What the client says.
pub(crate) fn length(boot: &str, topic: &str) -> Result<u64, String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", boot)
        .create()
        .map_err(|error| format!("no consumer: {error}"))?;
    let metadata = consumer.fetch_metadata(Some(topic), CALL);
    let metadata = metadata.map_err(|error| format!("cannot look {topic} up: {error}"))?;
    let mut length = 0;
    for partition in metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
    {
        let ends = consumer.fetch_watermarks(topic, partition.id(), CALL);
        let (low, high) = ends.map_err(|error| format!("cannot look {topic} up: {error}"))?;
        length += u64::try_from(high - low).unwrap_or(0);
    }
    Ok(length)
}

fn admin(boot: &str) -> Result<AdminClient<DefaultClientContext>, String> {
    let created = ClientConfig::new().set("bootstrap.servers", boot).create();
    created.map_err(|error| format!("no admin client: {error}"))
}

fn wait<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    Ok(runtime
        .map_err(|error| format!("no runtime: {error}"))?
        .block_on(call))
}

#[cfg(test)]
mod tests {
    use super::Shape;
    use crate::payment::Payment;

    #[test]
    fn payloads_have_their_size_and_payments_are_payments() {
        let mut payload = Vec::new();
        Shape::Bytes(100).write(7, &mut payload);
        assert_eq!(payload.len(), 100);
        Shape::Json.write(1_234, &mut payload);
        let payment: Payment<'_> = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payment.amount, 234.0);
    }
}
