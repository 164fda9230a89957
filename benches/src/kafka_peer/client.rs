//! The client library, tuned by hand: what a careful user of it sets.
//!
//! Large queues and a short back-off keep the consumer fed (librdkafka's default of 1 s costs more than anything else here); the
//! producer is durable, with the properties that the adapter's own has.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, ProducerContext};

use crate::environment::Environment;

/// How often progress is committed; between that of most frameworks and that of the fastest.
pub(crate) const COMMIT: Duration = Duration::from_millis(150);

/// Bytes of one answer of a broker, on both sides. At the default of 50 MiB the memory of each answer is new to the processor: it
/// costs up to a third more, with records of 1 KiB most of all.
pub(crate) const FETCH_BYTES: &str = "4194304";

/// A consumer that reads the topic from its beginning.
///
/// # Errors
/// What the client says.
pub(crate) fn consumer(environment: &Environment) -> Result<BaseConsumer, String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &environment.boot)
        .set("group.id", &environment.group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "false")
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", "262144")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.max.bytes", FETCH_BYTES)
        .create()
        .map_err(|error| format!("no consumer: {error}"))?;
    let subscribed = consumer.subscribe(&[&environment.topic]);
    subscribed.map_err(|error| format!("cannot subscribe: {error}"))?;
    Ok(consumer)
}

/// A durable producer.
///
/// # Errors
/// What the client says.
pub(crate) fn producer<C: ProducerContext>(
    boot: &str,
    context: C,
    compression: &str,
) -> Result<BaseProducer<C>, String> {
    ClientConfig::new()
        .set("bootstrap.servers", boot)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("compression.type", compression)
        .set("partitioner", "murmur2_random")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536")
        .create_with_context(context)
        .map_err(|error| format!("no producer: {error}"))
}
