//! The conformance suite on the log in memory.

use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::backend::{
    Backend, BoxFuture, Capability, History, KeyOrder, Ownership, Partitioning, PositionStore,
};
use dotmsg_core::error::Result;
use dotmsg_core::log::{LogBroker, LogOptions};
use dotmsg_testkit::{Connection, Fixture, Purpose, conformance};

struct Memory {
    log: LogBroker,
    backend: Arc<dyn Backend>,
}

impl Fixture for Memory {
    async fn start(_: Purpose) -> Self {
        let mut options = LogOptions::default();
        options.max_record_bytes = 1 << 20;
        options.segment_bytes = 64 << 10;
        options.session_timeout = Duration::from_secs(2);
        let log = LogBroker::memory(options);
        let backend = Arc::new(log.clone());
        Self { log, backend }
    }

    fn minimum(&self) -> Capability {
        let mut minimum = Capability::minimal();
        minimum.key_order = KeyOrder::Log;
        minimum.position = PositionStore::Record {
            max_bytes: usize::MAX,
        };
        minimum.ownership = Ownership::Shared;
        minimum.history = History::Retained;
        minimum.partitioning = Partitioning::Custom;
        minimum.max_record_bytes = 1 << 20;
        minimum
    }

    async fn connect(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Connection::to(&self.backend)))
    }

    fn trim<'a>(&'a self, _: &'a str, _: u32, _: u64) -> Option<BoxFuture<'a, Result<()>>> {
        Some(Box::pin(async move { self.log.apply_retention() }))
    }
}

conformance!(Memory);
