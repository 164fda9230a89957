//! Kafka, as a backend of dotmsg.
//!
//! One consumer and one polling thread per membership; the position record in the group's offset commit, whole; retry and replay
//! partitions read by a second consumer outside of the group; an idempotent producer. What each part must keep is said in its
//! file; `docs/kafka.md` is for whoever runs it.
//!
//! | File | For |
//! |---|---|
//! | `backend` | the connection, and joining a group |
//! | `capability` | what it declares, with or without a cluster |
//! | `settings` | URL and `[backend.<name>.kafka]` as librdkafka's properties |
//! | `polling`, `member` | the polling thread of a member, and what it shares with source and control |
//! | `consumer`, `context`, `bell` | a consumer as a polling thread has it, what it calls back with, what wakes the thread |
//! | `ownership`, `epochs` | state machines: what may be committed, when a rebalance is answered; leader epochs |
//! | `source`, `control` | the two halves of a membership |
//! | `fetch`, `inbox` | from librdkafka's messages to batches |
//! | `metadata` | the position record as the metadata of a commit |
//! | `reader` | reading outside of any group |
//! | `patience` | asking again while a cluster cannot answer |
//! | `contact` | whether a cluster answers, and what stands in the way |
//! | `durability` | whether a topic that exists keeps what the profile `durable` promises |
//! | `publisher`, `admin` | confirmed publishing, by one producer after the other; topics, groups, positions |
//! | `transactions` | a member's messages and offsets together |
//! | `partitioner` | a partitioner of the application's, as librdkafka asks one |
//! | `native` | what has no safe wrapper |
//! | `error` | librdkafka's errors in the framework's words |

mod admin;
mod backend;
mod bell;
mod capability;
mod consumer;
mod contact;
mod context;
mod control;
mod durability;
mod epochs;
mod error;
mod fetch;
mod inbox;
mod member;
mod metadata;
mod native;
mod ownership;
mod partitioner;
mod patience;
mod polling;
mod publisher;
mod reader;
mod settings;
mod source;
mod transactions;

pub use backend::{KafkaBackend, kafka_factory};
pub use capability::kafka_capability;
pub use settings::{kafka_check_setting, kafka_setting_list};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that a panic elsewhere does not take away: what it guards is valid between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time. Real, always: it is compared with what brokers and librdkafka's own threads do, which know no other.
#[expect(clippy::disallowed_methods, reason = "brokers keep real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
