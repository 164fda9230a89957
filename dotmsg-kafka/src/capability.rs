//! What Kafka can keep.
//!
//! It is declared from the settings alone, so that it can be told without a cluster: before a connection, and to readers of
//! the documentation.

use dotmsg_core::backend::{
    Capability, History, KeyOrder, Ownership, Partitioning, PositionStore, Transactional,
};

use crate::metadata;
use crate::settings::{MAX_RECORD_BYTES, Settings};

/// What a [`KafkaBackend`](crate::KafkaBackend) declares whose settings were left alone: records of at most 1,000,000 bytes,
/// position records of at most 7,670. `message.max.bytes` and `offset_metadata_max` change these two, and nothing changes the
/// rest.
#[must_use]
pub fn kafka_capability() -> Capability {
    declared(metadata::DEFAULT_LIMIT, MAX_RECORD_BYTES)
}

/// What one with these settings declares.
pub(crate) fn of(settings: &Settings) -> Capability {
    declared(settings.offset_metadata_max(), settings.max_record_bytes())
}

/// With so many UTF-16 units for the metadata of a commit, and records of at most so many bytes.
fn declared(metadata_units: usize, max_record_bytes: usize) -> Capability {
    let mut capability = Capability::minimal();
    capability.key_order = KeyOrder::Log;
    capability.position = PositionStore::Record {
        max_bytes: metadata::max_record_bytes(metadata_units),
    };
    capability.ownership = Ownership::Shared;
    capability.history = History::Retained;
    capability.partitioning = Partitioning::Custom;
    capability.max_record_bytes = max_record_bytes;
    capability.max_topic_bytes = 249;
    capability.durable = true;
    capability.transactions = Transactional::Yes;
    capability
}
