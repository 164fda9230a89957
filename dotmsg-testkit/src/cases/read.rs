//! Reading outside of any group: takeovers, retry topics, dead letters and replays rest on it.

use std::sync::Arc;

use dotmsg_core::backend::BatchLimits;
use dotmsg_core::error::ErrorKind;
use dotmsg_core::message::Message;

use crate::feed::publish_all;
use crate::topic::{ALL, next, reader};
use crate::trial::{Trial, to};

fn records(
    topic: &Arc<str>,
    partition: u32,
    count: usize,
) -> Vec<dotmsg_core::backend::PublishRecord> {
    let one = |n: usize| to(topic, partition, Message::new(n.to_string()));
    (0..count).map(one).collect()
}

/// Reading begins where it is told, goes back when it is told again, and drops what was fetched from elsewhere.
pub(crate) async fn from_where_it_is_told(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let published = publish_all(&*backend, records(&topic, 0, 10)).await;
    let mut reader = reader(&*backend).await;
    for begin in [4, 0, 9] {
        reader
            .assign(&topic, 0, published[begin].offset)
            .unwrap_or_else(|error| panic!("{error}"));
        let batch = next(&mut *reader, ALL).await;
        assert_eq!(batch.topic.as_deref(), Some(&*topic));
        assert_eq!(batch.records[0].offset, published[begin].offset);
    }
}

/// A reader that has come to the end is woken by the next record.
pub(crate) async fn waits_for_what_comes(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let end = publish_all(&*backend, records(&topic, 1, 1)).await[0].offset + 1;
    let mut reader = reader(&*backend).await;
    reader
        .assign(&topic, 1, end)
        .unwrap_or_else(|error| panic!("{error}"));
    let waiting = tokio::spawn(async move { next(&mut *reader, ALL).await });
    // Published whether the reader waits already or not: both must do.
    for round in 0..3 {
        tokio::task::yield_now().await;
        assert!(round > 0 || !waiting.is_finished(), "read past the end");
    }
    publish_all(&*backend, records(&topic, 1, 1)).await;
    let batch = waiting
        .await
        .unwrap_or_else(|error| panic!("the reader failed: {error}"));
    assert_eq!((batch.partition, batch.records[0].offset), (1, end));
}

/// One reader serves many partitions of several topics; one that is unassigned gives nothing more, unknown ones are refused.
pub(crate) async fn many_partitions_at_once(trial: Trial) {
    let backend = trial.connect().await;
    let topics = [
        trial.topic(&*backend, 3).await,
        trial.topic(&*backend, 1).await,
    ];
    let mut reader = reader(&*backend).await;
    for (topic, partitions) in topics.iter().zip([3, 1]) {
        for partition in 0..partitions {
            publish_all(&*backend, records(topic, partition, 5)).await;
            reader
                .assign(topic, partition, 0)
                .unwrap_or_else(|error| panic!("{error}"));
        }
    }
    let mut seen = std::collections::BTreeMap::new();
    while seen.values().sum::<usize>() < 20 {
        let batch = next(&mut *reader, ALL).await;
        let topic = batch.topic.unwrap_or_else(|| panic!("no topic"));
        *seen.entry((topic, batch.partition)).or_default() += batch.records.len();
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.values().all(|count| *count == 5), "{seen:?}");
    reader.unassign(&topics[0], 1);
    publish_all(&*backend, records(&topics[0], 1, 1)).await;
    publish_all(&*backend, records(&topics[0], 2, 1)).await;
    assert_eq!(next(&mut *reader, ALL).await.partition, 2);
    let unknown = reader.assign(&trial.name(), 0, 0);
    let unknown = unknown.err().map(|error| error.kind());
    assert_eq!(unknown, Some(ErrorKind::NotFound));
    assert!(
        reader.assign(&topics[1], 1, 0).is_err(),
        "no such partition"
    );
}

/// A batch keeps its limits in messages and bytes, one record is handed over whatever its size, and what a limit leaves behind
/// comes next.
pub(crate) async fn batches_keep_their_limits(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let large = |_| to(&topic, 0, Message::new(vec![7; 1_000]));
    let published = publish_all(&*backend, (0..10).map(large).collect()).await;
    let mut reader = reader(&*backend).await;
    reader
        .assign(&topic, 0, 0)
        .unwrap_or_else(|error| panic!("{error}"));
    let limits = [(3, usize::MAX, 3), (100, 2_500, 2), (100, 1, 1)];
    let mut expected = published.iter().map(|published| published.offset);
    for (messages, bytes, most) in limits.into_iter().cycle() {
        let batch = next(&mut *reader, BatchLimits { messages, bytes }).await;
        let count = batch.records.len();
        assert!((1..=most).contains(&count), "{count}, not {most}");
        for record in batch.records {
            assert_eq!(Some(record.offset), expected.next(), "in order, and whole");
        }
        if expected.len() == 0 {
            break;
        }
    }
}
