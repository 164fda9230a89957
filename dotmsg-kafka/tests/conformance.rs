//! The conformance suite on a real Kafka, found by `DOTMSG_TEST_KAFKA_URL` (`cargo xtask services up kafka`).

use std::collections::BTreeMap;
use std::sync::Arc;

use dotmsg_core::backend::{
    Backend, BackendOptions, Capability, History, KeyOrder, Ownership, PositionStore,
};
use dotmsg_core::clock::SystemClock;
use dotmsg_core::error::Result;
use dotmsg_kafka::KafkaBackend;
use dotmsg_testkit::{Fixture, Purpose, conformance};

struct Kafka {
    url: String,
}

impl Fixture for Kafka {
    async fn start(_: Purpose) -> Self {
        let url = std::env::var("DOTMSG_TEST_KAFKA_URL").expect("a broker");
        Self { url }
    }

    fn minimum(&self) -> Capability {
        let mut minimum = Capability::minimal();
        minimum.key_order = KeyOrder::Log;
        minimum.position = PositionStore::Record { max_bytes: 7_670 };
        minimum.ownership = Ownership::Shared;
        minimum.history = History::Retained;
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
        let settings: BTreeMap<String, String> = settings
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let options = BackendOptions {
            name: "main".into(),
            url: self.url.clone(),
            settings,
            clock: Arc::new(SystemClock),
        };
        Ok(Arc::new(KafkaBackend::open(&options).await?))
    }
}

conformance!(Kafka);
