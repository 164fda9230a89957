//! The conformance suite on a real Kafka, found by `DOTMSG_TEST_KAFKA_URL` (`cargo xtask services up kafka`); the whole under the
//! default way of sharing partitions, and what depends on it under each of the others.
//!
//! Cases that restart their broker have one of their own, `DOTMSG_TEST_KAFKA_ALONE_URL`, which the command in
//! `DOTMSG_TEST_KAFKA_ALONE_RESTART` restarts; one of them has it at a time.

mod common;

use std::marker::PhantomData;
use std::process::{Command, Stdio};
use std::sync::Arc;

use dotmsg_core::backend::{
    Backend, BoxFuture, Capability, History, KeyOrder, Ownership, Partitioning, PositionStore,
};
use dotmsg_core::error::{Error, ErrorKind, Result};
use dotmsg_testkit::{Fixture, Purpose, Stays, conformance};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{Mutex, MutexGuard};

/// A broker, and how members of its groups share partitions.
struct Kafka<S> {
    url: String,
    /// Held by the case that may restart the broker.
    _turn: Option<MutexGuard<'static, ()>>,
    sharing: PhantomData<S>,
}

/// A way of sharing partitions.
trait Sharing: Send + Sync + 'static {
    const SETTINGS: &[(&str, &str)];
    const STAYS: Stays = Stays::Later;
}

/// The classic protocol; only what changes hands is given up. The default.
struct Cooperative;

impl Sharing for Cooperative {
    const SETTINGS: &[(&str, &str)] = CLASSIC;
}

/// The classic protocol; everything is given up at each change.
struct Eager;

impl Sharing for Eager {
    const SETTINGS: &[(&str, &str)] = &[
        CLASSIC[0],
        CLASSIC[1],
        CLASSIC[2],
        ("partition.assignment.strategy", "range"),
    ];
}

/// KIP-848: the broker assigns, and says what the session timeout is.
struct ByBroker;

impl Sharing for ByBroker {
    const SETTINGS: &[(&str, &str)] = &[
        ("group.protocol", "consumer"),
        ("max.poll.interval.ms", "8000"),
    ];
    const STAYS: Stays = Stays::Earlier;
}

const CLASSIC: &[(&str, &str)] = &[
    ("session.timeout.ms", "3000"),
    ("heartbeat.interval.ms", "500"),
    ("max.poll.interval.ms", "8000"),
];

const URL: &str = "DOTMSG_TEST_KAFKA_URL";
const ALONE: &str = "DOTMSG_TEST_KAFKA_ALONE_URL";
const RESTART: &str = "DOTMSG_TEST_KAFKA_ALONE_RESTART";

impl<S: Sharing> Fixture for Kafka<S> {
    fn absent() -> Option<String> {
        let unset = std::env::var_os(URL).is_none();
        unset.then(|| format!("{URL} is not set; `cargo xtask services up kafka` starts a broker"))
    }

    async fn start(purpose: Purpose) -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let (variable, turn) = match purpose {
            Purpose::Shared => (URL, None),
            Purpose::Alone => (ALONE, Some(TURN.lock().await)),
        };
        Self {
            url: std::env::var(variable).unwrap_or_default(),
            _turn: turn,
            sharing: PhantomData,
        }
    }

    fn minimum(&self) -> Capability {
        let mut minimum = Capability::minimal();
        minimum.key_order = KeyOrder::Log;
        minimum.position = PositionStore::Record { max_bytes: 7_670 };
        minimum.ownership = Ownership::Shared;
        minimum.history = History::Retained;
        minimum.partitioning = Partitioning::Custom;
        minimum.max_record_bytes = 1_000_000;
        minimum.durable = true;
        minimum
    }

    async fn connect(&self) -> Result<Arc<dyn Backend>> {
        common::open(&self.url, S::SETTINGS).await
    }

    fn stays(&self) -> Stays {
        S::STAYS
    }

    fn restart(&self) -> Option<BoxFuture<'_, Result<()>>> {
        let command = std::env::var(RESTART).ok()?;
        std::env::var_os(ALONE)?;
        Some(Box::pin(async move {
            let mut shell = Command::new("sh");
            shell.args(["-c", &command]).stdin(Stdio::null());
            let ended = tokio::task::spawn_blocking(move || shell.output()).await;
            let failed = |error: String| Error::new(ErrorKind::Unexpected, "restart", error);
            let output = ended
                .map_err(|error| failed(error.to_string()))?
                .map_err(|error| failed(error.to_string()))?;
            match output.status.success() {
                true => Ok(()),
                false => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
            }
        }))
    }

    /// A broker's own retention removes whole segments, some time later; deleting records moves the same start of the log.
    fn trim<'a>(
        &'a self,
        topic: &'a str,
        partition: u32,
        before: u64,
    ) -> Option<BoxFuture<'a, Result<()>>> {
        Some(Box::pin(async move {
            let failed = |error: String| Error::new(ErrorKind::Unexpected, "trim", error);
            let client: AdminClient<DefaultClientContext> = ClientConfig::new()
                .set("bootstrap.servers", self.url.trim_start_matches("kafka://"))
                .create()
                .map_err(|error| failed(error.to_string()))?;
            // Else the broker's own retention may come first, and leave nothing.
            let keep = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("retention.ms", "-1");
            let kept = client.alter_configs([&keep], &AdminOptions::new()).await;
            kept.map_err(|error| failed(error.to_string()))?;
            let mut until = TopicPartitionList::new();
            until
                .add_partition_offset(topic, partition as i32, Offset::Offset(before as i64))
                .map_err(|error| failed(error.to_string()))?;
            let options = AdminOptions::new();
            let deleted = client.delete_records(&until, &options).await;
            deleted
                .map_err(|error| failed(error.to_string()))
                .map(|_| ())
        }))
    }
}

conformance!(Kafka<Cooperative>);
conformance!(eager: Kafka<Eager>, only progress shutdown sharing rebalance);
conformance!(by_broker: Kafka<ByBroker>, only progress crash shutdown sharing rebalance);
