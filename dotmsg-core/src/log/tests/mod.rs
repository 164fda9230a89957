//! The backend contract on both storages: one body of tests, run on each.

mod contract;
mod membership;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::backend::{
    AssignmentEvent, Backend, Batch, BatchLimits, Granted, Membership, PublishOutcome,
    PublishRecord, Published, Source, Subscription, TopicSpec,
};
use crate::clock::{Clock, Timestamp};
use crate::message::Message;

pub(super) const ALL: BatchLimits = BatchLimits {
    messages: usize::MAX,
    bytes: usize::MAX,
};

/// A clock that is moved by hand.
#[derive(Debug, Default)]
pub(super) struct HandClock(std::sync::atomic::AtomicI64);

impl HandClock {
    pub(super) fn set(&self, ms: i64) {
        self.0.store(ms, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

pub(super) fn options() -> LogOptions {
    let mut options = LogOptions::new(Arc::new(HandClock::default()));
    options.seed = Some(7);
    options
}

/// Runs a future on this thread, parking while it waits (the writer thread wakes it).
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park_timeout(Duration::from_secs(10));
    }
}

pub(super) fn topic(log: &LogBroker, name: &str, partitions: u32) {
    let spec = TopicSpec {
        name: name.into(),
        partitions,
        retention: None,
    };
    wait(log.admin().create_topic(spec)).unwrap();
}

pub(super) fn publish(log: &LogBroker, records: Vec<PublishRecord>) -> Vec<PublishOutcome> {
    wait(log.publisher().publish(records))
}

pub(super) fn record(topic: &str, partition: Option<u32>, message: Message) -> PublishRecord {
    PublishRecord {
        topic: topic.into(),
        partition,
        message,
    }
}

/// Publishes one message and gives where it lies.
pub(super) fn put(log: &LogBroker, topic: &str, partition: u32, message: Message) -> Published {
    match publish(log, vec![record(topic, Some(partition), message)]).remove(0) {
        PublishOutcome::Ok(published) => published,
        other => panic!("not published: {other:?}"),
    }
}

pub(super) fn subscribe(
    log: &LogBroker,
    group: &str,
    topic: &str,
) -> crate::error::Result<Membership> {
    wait(log.subscribe(Subscription {
        topic: topic.into(),
        group: group.into(),
    }))
}

/// The next assignment event, which must be there, and be an assignment.
pub(super) fn assigned(source: &mut dyn Source) -> Vec<Granted> {
    let mut cx = Context::from_waker(Waker::noop());
    match source.poll_event(&mut cx) {
        Poll::Ready(Ok(AssignmentEvent::Assigned(granted))) => granted,
        other => panic!("no assignment: {other:?}"),
    }
}

/// The next batch, if there is one now.
pub(super) fn batch(source: &mut dyn Source, limits: BatchLimits) -> Option<Batch> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut batch = Batch::default();
    match source.poll_batch(&mut cx, limits, &mut batch) {
        Poll::Ready(result) => {
            result.unwrap();
            Some(batch)
        }
        Poll::Pending => None,
    }
}
