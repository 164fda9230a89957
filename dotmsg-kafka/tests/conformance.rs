//! The conformance suite on a real Kafka, found by `DOTMSG_TEST_KAFKA_URL` (`cargo xtask services up kafka`).

mod common;

use std::sync::Arc;

use dotmsg_core::backend::{
    Backend, BoxFuture, Capability, History, KeyOrder, Ownership, Partitioning, PositionStore,
};
use dotmsg_core::error::{Error, ErrorKind, Result};
use dotmsg_testkit::{Fixture, Purpose, conformance};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

struct Kafka {
    url: String,
}

const URL: &str = "DOTMSG_TEST_KAFKA_URL";

impl Fixture for Kafka {
    fn absent() -> Option<String> {
        let unset = std::env::var_os(URL).is_none();
        unset.then(|| format!("{URL} is not set; `cargo xtask services up kafka` starts a broker"))
    }

    async fn start(_: Purpose) -> Self {
        let url = std::env::var(URL).unwrap_or_default();
        Self { url }
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
        let settings = [
            ("session.timeout.ms", "3000"),
            ("heartbeat.interval.ms", "500"),
            ("max.poll.interval.ms", "8000"),
        ];
        common::open(&self.url, &settings).await
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

conformance!(Kafka);
