//! Names of attributes: the semantic conventions for messaging, and what they have no name for.
//!
//! They stand here and not in a dependency, because the conventions are in development: the version that they are of is told with
//! each span ([`SCHEMA_URL`]).

/// The version of the semantic conventions.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

pub(crate) const SYSTEM: &str = "messaging.system";
pub(crate) const OPERATION_NAME: &str = "messaging.operation.name";
pub(crate) const OPERATION_TYPE: &str = "messaging.operation.type";
pub(crate) const DESTINATION: &str = "messaging.destination.name";
pub(crate) const PARTITION: &str = "messaging.destination.partition.id";
pub(crate) const CONSUMER_GROUP: &str = "messaging.consumer.group.name";
pub(crate) const MESSAGE_ID: &str = "messaging.message.id";
pub(crate) const BATCH_COUNT: &str = "messaging.batch.message_count";
pub(crate) const KAFKA_OFFSET: &str = "messaging.kafka.offset";
pub(crate) const KAFKA_TOMBSTONE: &str = "messaging.kafka.message.tombstone";
pub(crate) const ERROR_TYPE: &str = "error.type";

/// The offset in its partition, on brokers for which the conventions name none.
pub(crate) const OFFSET: &str = "dotmsg.offset";
/// The handler's name.
pub(crate) const HANDLER: &str = "dotmsg.handler";
/// Which call it is for this message, from 1.
pub(crate) const ATTEMPT: &str = "dotmsg.attempt";
/// The delay of the retry topic that the message waited in, or is to wait in.
pub(crate) const TIER: &str = "dotmsg.tier";
/// Where the message was first read.
pub(crate) const ORIGIN: &str = "dotmsg.origin";
/// How often the message was replayed.
pub(crate) const REPLAYS: &str = "dotmsg.replays";
/// How a span ended that neither succeeded nor failed.
pub(crate) const OUTCOME: &str = "dotmsg.outcome";

/// What `messaging.system` says of an adapter.
pub(crate) fn system(adapter: &str) -> &'static str {
    match adapter {
        "kafka" => "kafka",
        "amqp" => "rabbitmq",
        "nats" => "nats",
        "postgres" => "postgresql",
        // The log that is part of dotmsg, in memory or in a directory, and what is not known.
        _ => "dotmsg",
    }
}
