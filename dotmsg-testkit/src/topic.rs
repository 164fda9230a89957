//! Reading topics as a case needs it: outside of any group, to where they end now.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;

use dotmsg_core::backend::{Backend, BatchLimits, ReadBatch, Reader, Record};
use dotmsg_core::replay::{DeadLetter, DeadLetters};
use dotmsg_core::router::{RouteSpec, Topology};

use crate::trial::range;
use crate::wait::within;

/// As much as there is.
pub(crate) const ALL: BatchLimits = BatchLimits {
    messages: 1_024,
    bytes: usize::MAX,
};

/// A reader.
pub(crate) async fn reader(backend: &dyn Backend) -> Box<dyn Reader> {
    let opened = within("a reader", backend.reader()).await;
    opened.unwrap_or_else(|error| panic!("no reader: {error}"))
}

/// The next batch of a reader.
pub(crate) async fn next(reader: &mut dyn Reader, limits: BatchLimits) -> ReadBatch {
    let mut batch = ReadBatch::default();
    let read = poll_fn(|cx| reader.poll_batch(cx, limits, &mut batch));
    if let Err(error) = within("a batch of a reader", read).await {
        panic!("reading failed: {error}");
    }
    batch
}

/// Everything a partition holds now.
pub(crate) async fn partition(
    backend: &dyn Backend,
    topic: &Arc<str>,
    partition: u32,
) -> Vec<Record> {
    let range = range(backend, topic, partition).await;
    let mut reader = reader(backend).await;
    let assigned = reader.assign(topic, partition, range.start);
    assigned.unwrap_or_else(|error| panic!("{topic}/{partition} is not read: {error}"));
    let mut records = Vec::new();
    // The last offsets may hold no record for a reader (transaction markers), so the end is asked of what was read.
    while records
        .last()
        .map_or(range.start, |last: &Record| last.offset + 1)
        < range.end
    {
        records.append(&mut next(&mut *reader, ALL).await.records);
    }
    records
}

/// Everything a topic holds now, by partition.
pub(crate) async fn all(backend: &dyn Backend, topic: &Arc<str>) -> BTreeMap<u32, Vec<Record>> {
    let admin = backend.admin();
    let described = within("a description", admin.topic(topic)).await;
    let described = described.unwrap_or_else(|error| panic!("{topic}: {error}"));
    let mut all = BTreeMap::new();
    for number in 0..described.map_or(0, |described| described.partitions) {
        all.insert(number, partition(backend, topic, number).await);
    }
    all
}

/// The dead letters of a topic's group.
pub(crate) async fn dead_letters(
    backend: &dyn Backend,
    topic: &str,
    group: &str,
) -> Vec<DeadLetter> {
    let topology = Topology::of(&RouteSpec::new("case", topic, group), "");
    let read = DeadLetters::read(backend, &topology.dead_letter);
    let letters = within("the dead letters are read", read).await;
    letters.unwrap_or_else(|error| panic!("the dead letters are not read: {error}"))
}
