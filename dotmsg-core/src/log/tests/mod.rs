//! The backend contract on both storages: one body of tests, run on each.

mod contract;
mod directory;
mod faults;
mod membership;
mod overtaken;
mod power_cut;
mod recovery;
mod restart;
mod threads;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::backend::{
    AssignmentEvent, Backend, Batch, BatchLimits, Granted, Membership, PublishOutcome,
    PublishRecord, Published, Retention, Source, Subscription, TopicSpec,
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

/// A directory of its own, removed at the end.
#[derive(Debug)]
pub(super) struct TestDirectory(pub(super) std::path::PathBuf);

impl TestDirectory {
    pub(super) fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("dotmsg-log-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    pub(super) fn open(&self, options: LogOptions) -> crate::error::Result<LogBroker> {
        LogBroker::open(&self.0, options)
    }

    /// The segment files of a topic, in order.
    pub(super) fn segments(&self, topic: &str) -> Vec<std::path::PathBuf> {
        let directory = self.0.join("topics").join(topic);
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "segment"))
            .collect();
        files.sort();
        files
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A log on each storage.
pub(super) fn both(options: LogOptions) -> Vec<(Option<TestDirectory>, LogBroker)> {
    let directory = TestDirectory::new();
    let disk = directory.open(options.clone()).unwrap();
    vec![(None, LogBroker::memory(options)), (Some(directory), disk)]
}

/// Payload and offset of everything in a partition.
pub(super) fn read_all(
    log: &LogBroker,
    topic: &str,
    partition: u32,
) -> crate::error::Result<Vec<(u64, Vec<u8>)>> {
    let mut reader = wait(log.reader()).unwrap();
    reader.assign(&topic.into(), partition, 0)?;
    let mut batch = crate::backend::ReadBatch::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    while let Poll::Ready(result) = reader.poll_batch(&mut cx, ALL, &mut batch) {
        result?;
        all.extend(batch.records.iter().map(|record| {
            (
                record.offset,
                record.message.payload.as_ref().unwrap().to_vec(),
            )
        }));
    }
    Ok(all)
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
        retention: Retention::AsBackend,
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
    wait(log.subscribe(Subscription::new(topic, group)))
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
