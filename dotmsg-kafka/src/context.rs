//! What librdkafka calls back with: rebalances, errors, log lines.
//!
//! All of it arrives on the thread that polls. A rebalance is only noted here and answered later, when what it takes away was
//! drained and committed; librdkafka waits for that. Log lines go to `tracing` under `librdkafka`, without properties: the
//! client's own `Debug` would print passwords.

use std::collections::VecDeque;
use std::sync::Mutex;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use crate::consumer::partitions_of;
use crate::lock;

/// A rebalance that waits for its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rebalance {
    /// These partitions are given to the member.
    Assign(Vec<u32>),
    /// These are taken away.
    Revoke {
        partitions: Vec<u32>,
        /// Another member may have them already.
        lost: bool,
    },
}

/// The context of every consumer of this crate.
#[derive(Debug, Default)]
pub(crate) struct Context {
    rebalances: Mutex<VecDeque<Rebalance>>,
}

impl Context {
    /// The next rebalance that was noted.
    pub(crate) fn next_rebalance(&self) -> Option<Rebalance> {
        lock(&self.rebalances).pop_front()
    }
}

impl ClientContext for Context {
    fn log(&self, level: Level, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let partitions = partitions_of(partitions);
        let rebalance = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(partitions),
            _ => Rebalance::Revoke {
                partitions,
                lost: consumer.assignment_lost(),
            },
        };
        lock(&self.rebalances).push_back(rebalance);
    }
}

/// One line of librdkafka's log.
pub(crate) fn log_line(level: Level, facility: &str, message: &str) {
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            tracing::error!(target: "librdkafka", facility, message);
        }
        Level::Warning => tracing::warn!(target: "librdkafka", facility, message),
        Level::Notice | Level::Info => tracing::info!(target: "librdkafka", facility, message),
        Level::Debug => tracing::debug!(target: "librdkafka", facility, message),
    }
}
