//! What the tests of the layers share: a publisher that follows a script, deliveries, a fixed clock.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::{Ended, Outcome, Provenance};
use crate::backend::{BoxFuture, PublishOutcome, PublishRecord, Published, Publisher};
use crate::clock::{Clock, Timestamp};
use crate::delivery::{Delivery, Lineage, Role, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::handler::{HandlerError, Returned};
use crate::message::Message;

/// What becomes of one record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Script {
    Ok,
    Unknown,
    Failed(ErrorKind),
}

/// Answers record by record what its script says, then [`Script::Ok`]; offsets count from 1000.
#[derive(Debug)]
pub(crate) struct ScriptedPublisher {
    script: Mutex<VecDeque<Script>>,
    calls: Mutex<Vec<Vec<PublishRecord>>>,
}

impl ScriptedPublisher {
    pub(crate) fn new(script: impl IntoIterator<Item = Script>) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script.into_iter().collect()),
            calls: Mutex::default(),
        })
    }

    /// The records of each call so far.
    pub(crate) fn calls(&self) -> Vec<Vec<PublishRecord>> {
        self.calls.lock().unwrap().clone()
    }
}

impl Publisher for ScriptedPublisher {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut calls = self.calls.lock().unwrap();
            let mut script = self.script.lock().unwrap();
            let offset = 1000 + calls.len() as u64;
            let error = |kind| Error::new(kind, "publish", "as the script says");
            let outcomes = records
                .iter()
                .map(|record| match script.pop_front().unwrap_or(Script::Ok) {
                    Script::Ok => PublishOutcome::Ok(Published {
                        partition: record.partition.unwrap_or(0),
                        offset,
                        appended_at: Timestamp(77_000),
                        duplicate: false,
                    }),
                    Script::Unknown => PublishOutcome::Unknown(error(ErrorKind::Timeout)),
                    Script::Failed(kind) => PublishOutcome::Failed(error(kind)),
                })
                .collect();
            calls.push(records);
            outcomes
        })
    }

    fn flush(&self, _: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000)
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(Fixed)
}

fn stream(topic: &str, role: Role) -> Arc<Stream> {
    Arc::new(Stream::new(topic.into(), 3, 9, role))
}

/// A small record at `offset` of partition 3 of `orders`.
pub(crate) fn delivery(offset: u64) -> Delivery {
    let message = Message::new("body").with_key("k");
    Delivery::new(
        stream("orders", Role::Source),
        offset,
        Timestamp(0),
        message,
    )
}

/// `message` at offset 0 of partition 3 of `orders`.
pub(crate) fn delivery_of(message: Message) -> Delivery {
    Delivery::new(stream("orders", Role::Source), 0, Timestamp(0), message)
}

/// `message` at offset 0 of partition 3 of a retry topic.
pub(crate) fn tier(seconds: u64, message: Message) -> Delivery {
    let delay = Duration::from_secs(seconds);
    let topic = format!("orders.billing.retry.{seconds}s");
    Delivery::new(
        stream(&topic, Role::Tier { delay }),
        0,
        Timestamp(0),
        message,
    )
}

/// A lineage of this route after two calls.
pub(crate) fn lineage() -> Lineage {
    Lineage {
        topic: "orders".into(),
        partition: 3,
        offset: 41,
        timestamp: Timestamp(5),
        attempts: 2,
        replay_offset: None,
        replays: 0,
        group: "billing".into(),
        handler: "bill".into(),
        epoch: 8,
        first_failure: Some(Timestamp(12)),
        trace: None,
    }
}

pub(crate) fn provenance() -> Provenance {
    Provenance {
        handler: "bill".into(),
        group: "billing".into(),
        source: "orders".into(),
    }
}

pub(crate) fn ladder() -> Vec<(Duration, Arc<str>)> {
    let tier = |seconds, name: &str| {
        (
            Duration::from_secs(seconds),
            format!("orders.billing.retry.{name}").into(),
        )
    };
    vec![tier(5, "5s"), tier(60, "1m"), tier(300, "5m")]
}

pub(crate) const fn handled() -> Outcome {
    Outcome::Settled(Ended::Handled)
}

pub(crate) fn transient(text: &str) -> HandlerError {
    HandlerError::transient(text)
}

/// Panics the first time that it or a clone is asked whether it is ready; handles everything from then on.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnreadyOnce(Arc<AtomicBool>);

impl Service<Delivery> for UnreadyOnce {
    type Response = Returned;
    type Error = HandlerError;
    type Future = Ready<std::result::Result<Returned, HandlerError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), HandlerError>> {
        assert!(self.0.swap(true, Ordering::Relaxed), "pool is poisoned");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Delivery) -> Self::Future {
        ready(Ok(Returned::default()))
    }
}
