//! What `[backend.<name>.kafka]` and the URL say, as librdkafka's properties.
//!
//! librdkafka's own defaults are for throughput and lose messages; what the guarantees rest on is set here and cannot be
//! changed. Everything else is passed through by librdkafka's own names. Values may be secrets: no error names one.

use std::collections::BTreeMap;
use std::time::Duration;

use dotmsg_core::backend::BackendOptions;
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::config::ClientConfig;

use crate::metadata;

/// The group id of readers outside of any group: librdkafka wants one, and nothing is committed under it.
const READER_GROUP: &str = "dotmsg-reader";

/// What a broker takes unless it was told otherwise (`message.max.bytes`, 1,048,588), less the framing.
const MAX_RECORD_BYTES: usize = 1_000_000;
/// What librdkafka counts of a record beside key, payload and headers: the lengths of the headers.
const FRAMING: usize = 40_000;

/// Everything that clients of one backend are made with.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The backend's name in the configuration.
    pub(crate) name: String,
    brokers: String,
    properties: BTreeMap<String, String>,
    /// Copies of a topic that is created; the broker's default without it.
    pub(crate) replication: Option<i32>,
    /// The broker's limit on the metadata of a commit, in UTF-16 units.
    pub(crate) offset_metadata_max: usize,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// The settings of a backend.
    pub(crate) fn of(options: &BackendOptions) -> Result<Self> {
        let brokers = options.url.strip_prefix("kafka://").unwrap_or_default();
        let brokers = brokers.trim_end_matches('/').to_owned();
        if brokers.is_empty() {
            return Err(
                Error::new(ErrorKind::Config, "open kafka", "the URL names no broker")
                    .with("backend", &options.name)
                    .remedy("Write it as kafka://host:9092 or kafka://host:9092,other:9092"),
            );
        }
        let mut properties = options.settings.clone();
        let mut own = |key: &str| properties.remove(key);
        let replication = own("replication").and_then(|value| value.parse().ok());
        let metadata = own("offset_metadata_max").and_then(|value| value.parse().ok());
        Ok(Self {
            name: options.name.clone(),
            brokers,
            properties,
            replication,
            offset_metadata_max: metadata.unwrap_or(metadata::DEFAULT_LIMIT),
        })
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "dotmsg");
        config
    }

    fn finish(&self, mut config: ClientConfig, fixed: &[(&str, &str)]) -> ClientConfig {
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        for (key, value) in fixed {
            config.set(*key, *value);
        }
        config
    }

    /// What every consumer has: it commits nothing by itself, and goes on nowhere by itself.
    fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "100")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", "16384");
        if self
            .properties
            .get("group.protocol")
            .is_some_and(|protocol| protocol == "consumer")
        {
            config.remove("partition.assignment.strategy");
        }
        self.finish(
            config,
            &[
                ("group.id", group),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("enable.partition.eof", "false"),
                ("allow.auto.create.topics", "false"),
            ],
        )
    }

    /// A member of a group.
    pub(crate) fn member(&self, group: &str, instance: Option<&str>) -> ClientConfig {
        let mut config = self.consumer(group);
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        config
    }

    /// A reader outside of any group, of nobody's offsets.
    pub(crate) fn reader(&self) -> ClientConfig {
        let mut config = self.consumer(READER_GROUP);
        for key in ["group.protocol", "group.remote.assignor"] {
            config.remove(key);
        }
        config
    }

    /// The producer.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random")
            // Null keys are spread message by message.
            .set("sticky.partitioning.linger.ms", "0")
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "65536");
        let most = (self.max_record_bytes() + FRAMING).to_string();
        let fixed = [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("message.max.bytes", &most),
        ];
        self.finish(config, &fixed)
    }

    /// The administrator.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.finish(self.base(), &[])
    }

    /// The largest record that is published: bytes of key, payload and headers.
    pub(crate) fn max_record_bytes(&self) -> usize {
        let set = self.properties.get("message.max.bytes");
        set.and_then(|set| set.parse().ok())
            .unwrap_or(MAX_RECORD_BYTES)
    }

    /// How long a group waits for a member that is to give partitions up, and for one that does not poll.
    pub(crate) fn max_poll_interval(&self) -> Duration {
        let set = self.properties.get("max.poll.interval.ms");
        Duration::from_millis(set.and_then(|set| set.parse().ok()).unwrap_or(300_000))
    }
}
