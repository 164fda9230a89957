//! Publishing: pipelined, in order, one delivery report per message.
//!
//! Messages are put down when `publish` is called, not when its future is polled, so that overlapping calls keep their order
//! (`arrivals`). A thread hands them to librdkafka; those of a transaction are handed over at once (`line`). What librdkafka has no room
//! for waits in order behind what it has, and so does what follows a batch of its partition that is on its way (`gates`); it goes
//! out as reports come in. A message whose report says that it *may* be in the log is unknown, not failed
//! (`rd_kafka_message_status`). A producer that meets a fatal error is followed by another one, unless it is one of transactions,
//! which are begun anew by whoever leads them.

mod arrivals;
mod gates;
mod line;
mod outgoing;
mod reports;

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dotmsg_core::backend::{BoxFuture, Partitioner, PublishOutcome, PublishRecord, Publisher};
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use rdkafka::producer::{Producer, PurgeConfig};

use self::arrivals::Arrival;
use self::line::{Line, Making};
use self::reports::{Call, Client, Reports};
use crate::settings::Settings;

/// How long a close waits for what is on its way.
const FLUSH: Duration = Duration::from_secs(10);

/// Publishes to any topic of a cluster.
pub(crate) struct KafkaPublisher {
    line: Arc<Line>,
    reports: Arc<Reports>,
}

impl std::fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaPublisher").finish_non_exhaustive()
    }
}

impl KafkaPublisher {
    /// One whose records without a partition go where the partitioner says, or else murmur2.
    pub(crate) fn open(
        settings: &Settings,
        partitioner: Option<Arc<dyn Partitioner>>,
    ) -> Result<Self> {
        let making = Making {
            config: settings.producer(),
            partitioner,
            gates: Some(settings.batches()),
            patience: settings.message_timeout(),
            max_record_bytes: settings.max_record_bytes(),
        };
        Self::with(making)
    }

    /// One of transactions: it ends with its producer.
    pub(crate) fn of_transactions(
        config: ClientConfig,
        max_record_bytes: usize,
        partitioner: Option<Arc<dyn Partitioner>>,
    ) -> Result<Self> {
        let making = Making {
            config,
            partitioner,
            gates: None,
            // Whoever leads the transaction withdraws it.
            patience: None,
            max_record_bytes,
        };
        Self::with(making)
    }

    fn with(making: Making) -> Result<Self> {
        let reports = Arc::new(Reports::default());
        let line = Arc::new(Line::open(making, Arc::clone(&reports))?);
        let hears = Arc::downgrade(&line);
        reports.on_drained(move |gate| {
            if let Some(line) = hears.upgrade() {
                line.drained(gate);
            }
        });
        let publisher = Self { line, reports };
        publisher.spawn("kafka reports", Line::hear)?;
        if publisher.line.carries() {
            publisher.spawn("kafka publisher", Line::carry)?;
        }
        Ok(publisher)
    }

    fn spawn(&self, name: &str, work: fn(&Arc<Line>)) -> Result<()> {
        let line = Arc::clone(&self.line);
        let thread = thread::Builder::new().name(name.to_owned());
        let spawned = thread.spawn(move || work(&line));
        spawned.map(|_| ()).map_err(|error| {
            self.line.close();
            Error::new(ErrorKind::Unexpected, "open kafka", "no thread").source_error(error)
        })
    }

    /// Waits for what is on its way, and takes nothing more.
    pub(crate) async fn close(&self) -> Result<()> {
        let flushed = self.flush(FLUSH).await;
        self.line.close();
        flushed
    }

    /// librdkafka's producer.
    pub(crate) fn client(&self) -> Arc<Client> {
        self.line.client()
    }

    /// Takes back what the producer has no room for yet; it has failed.
    pub(crate) fn withdraw(&self) {
        self.line.withdraw();
    }

    /// Nothing more is wanted of it: what is on its way is dropped, and its thread ends.
    pub(crate) fn give_up(&self) {
        self.line.close();
        self.line.withdraw();
        self.client()
            .purge(PurgeConfig::default().queue().inflight());
    }

    /// Puts records down, now; gives their outcomes when all have one.
    pub(crate) fn hand_over(
        &self,
        records: Vec<PublishRecord>,
    ) -> impl Future<Output = Vec<PublishOutcome>> + Send + use<> {
        let count = records.len();
        let (call, outcomes) = Call::of(count);
        self.line.send(Arrival { records, call });
        async move {
            let gone = |_| {
                std::iter::repeat_with(|| PublishOutcome::Unknown(closed()))
                    .take(count)
                    .collect()
            };
            outcomes.await.unwrap_or_else(gone)
        }
    }
}

impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        self.line.close();
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "publish", "the backend was closed")
}

impl Publisher for KafkaPublisher {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        if records.is_empty() {
            return Box::pin(std::future::ready(Vec::new()));
        }
        if self.line.is_closed() {
            let refused = records
                .iter()
                .map(|_| PublishOutcome::Failed(closed()))
                .collect();
            return Box::pin(std::future::ready(refused));
        }
        Box::pin(self.hand_over(records))
    }

    fn flush(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let settled = tokio::time::timeout(deadline, self.reports.all_settled());
            settled.await.map_err(|_| {
                Error::new(
                    ErrorKind::Timeout,
                    "flush",
                    "messages are still on their way",
                )
                .with("messages", self.reports.pending())
                .with("in the client", self.line.in_producer())
            })
        })
    }
}

#[cfg(test)]
mod tests;
