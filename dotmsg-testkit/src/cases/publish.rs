//! Publishing: what is confirmed is there, as it was, where it belongs.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use dotmsg_core::backend::{
    Backend, Partitioner, PublishOutcome, PublishRecord, partition_for_key,
};
use dotmsg_core::clock::Timestamp;
use dotmsg_core::error::ErrorKind;
use dotmsg_core::message::Message;
use tokio::task::JoinSet;

use crate::feed::{by_key, confirmed, numbered, publish_all, refused};
use crate::topic;
use crate::trial::{Trial, to};
use crate::wait::{DEADLINE, within};

/// Keys, headers and payloads of every kind, null and empty told apart.
fn unusual() -> Vec<Message> {
    let all: Vec<u8> = (0..=255).collect();
    let mut repeated = Message::new("repeated headers");
    for value in [Some("1"), None, Some(""), Some("2")] {
        repeated.headers.append("h", value.map(Bytes::from));
    }
    let mut odd = Message::new("odd headers");
    odd.headers.append("ключ-鍵-🗝", Some(Bytes::from("ü")));
    odd.headers.append("binary", Some(Bytes::from(all.clone())));
    vec![
        Message::tombstone(),
        Message::new(""),
        Message::new("null key"),
        Message::new("empty key").with_key(""),
        Message::tombstone().with_key("a tombstone with a key"),
        Message::new(all.clone()).with_key(all),
        Message::new("日本語 🦀 \u{0}").with_key("schlüssel"),
        Message::new(vec![0; 100_000]).with_key("large"),
        repeated,
        odd,
    ]
}

/// A message is read back as it was published: key, headers (repeated ones, null values, their order), payload, timestamp.
pub(crate) async fn round_trip(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let messages: Vec<Message> = unusual()
        .into_iter()
        .zip(1..)
        .map(|(message, n)| message.with_timestamp(Timestamp(1_700_000_000_000 + n)))
        .collect();
    let records = messages
        .iter()
        .map(|message| to(&topic, 0, message.clone()));
    let published = publish_all(&*backend, records.collect()).await;
    let read = topic::partition(&*backend, &topic, 0).await;
    assert_eq!(read.len(), messages.len());
    for ((record, message), published) in read.iter().zip(&messages).zip(&published) {
        assert_eq!(&record.message, message);
        assert_eq!(record.offset, published.offset);
        assert_eq!(record.appended_at, published.appended_at);
    }
}

/// In one call each record has its own outcome, in order: what cannot be appended says why, and does not touch the others.
pub(crate) async fn each_record_has_its_own_outcome(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let missing = trial.name();
    let outcomes = within(
        "outcomes",
        backend.publisher().publish(vec![
            to(&topic, 1, Message::new("a")),
            to(&topic, 2, Message::new("no such partition")),
            by_key(&missing, Message::new("no such topic")),
            to(&topic, 1, Message::new("b")),
        ]),
    )
    .await;
    let [first, partition, missing, last] = <[_; 4]>::try_from(outcomes)
        .unwrap_or_else(|outcomes| panic!("one outcome per record: {outcomes:?}"));
    assert_eq!(refused(&partition).kind(), ErrorKind::Invalid);
    assert_eq!(refused(&missing).kind(), ErrorKind::NotFound);
    let (first, last) = (confirmed(first), confirmed(last));
    assert_eq!((first.partition, last.partition), (1, 1));
    assert!(first.offset < last.offset);
}

/// A key goes to the partition that murmur2 gives, as with every client; null keys are spread over all.
pub(crate) async fn to_where_the_key_belongs(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 5).await;
    let keys: Vec<String> = (0..50).map(|n| format!("key-{n}")).collect();
    let records = keys.iter().map(|key| by_key(&topic, numbered(key, 0)));
    let published = publish_all(&*backend, records.collect()).await;
    for (key, published) in keys.iter().zip(published) {
        assert_eq!(published.partition, partition_for_key(key.as_bytes(), 5));
    }
    let spread = spread_of_null_keys(&*backend, &topic).await;
    assert_eq!(spread.len(), 5, "null keys went to {spread:?} only");
}

/// Where messages without a key go: enough of them that choosing at random leaves none of five partitions out.
async fn spread_of_null_keys(backend: &dyn Backend, topic: &Arc<str>) -> BTreeSet<u32> {
    let nulls = (0..200).map(|n| by_key(topic, Message::new(n.to_string())));
    let published = publish_all(backend, nulls.collect()).await;
    published.iter().map(|one| one.partition).collect()
}

/// The partition is the number that the key begins with, as far as there are so many; without a number there is no answer.
#[derive(Debug)]
struct ByNumber;

impl Partitioner for ByNumber {
    fn partition(&self, _: &str, key: &[u8], partitions: u32) -> u32 {
        match key[0] {
            b'!' => panic!("on purpose"),
            digit => u32::from(digit - b'0') + if key.ends_with(b"+") { partitions } else { 0 },
        }
    }
}

async fn by_number(trial: &Trial) -> Arc<dyn Backend> {
    let backend = trial.connect().await;
    let partitioned = backend.partitioned_by(Arc::new(ByNumber));
    partitioned.unwrap_or_else(|error| panic!("the backend takes no partitioner: {error}"))
}

/// With a partitioner of the app's, keys go where it says, those of the first call too; null keys are spread, and a partition
/// that is asked for counts more. Who shares the broker without it is not touched.
pub(crate) async fn to_where_a_partitioner_says(trial: Trial) {
    let backend = by_number(&trial).await;
    let topic = trial.topic(&*backend, 5).await;
    let keys = ["3-a", "0", "4-b", "3-c", "1"];
    let records = keys.iter().map(|key| by_key(&topic, numbered(key, 0)));
    let went: Vec<u32> = publish_all(&*backend, records.collect())
        .await
        .iter()
        .map(|published| published.partition)
        .collect();
    assert_eq!(went, [3, 0, 4, 3, 1]);
    let asked_for = to(&topic, 2, numbered("3", 1));
    assert_eq!(
        publish_all(&*backend, vec![asked_for]).await[0].partition,
        2
    );
    let spread = spread_of_null_keys(&*backend, &topic).await;
    assert!(spread.len() > 1, "null keys went to {spread:?} only");

    let other = trial.connect().await;
    let by_murmur = publish_all(&*other, vec![by_key(&topic, numbered("3-a", 2))]).await;
    assert_eq!(by_murmur[0].partition, partition_for_key(b"3-a", 5));
}

/// An answer that is no partition, and a panic, are errors of the one message: nothing of it is appended, and the others are.
pub(crate) async fn a_partitioner_without_an_answer(trial: Trial) {
    let backend = by_number(&trial).await;
    let topic = trial.topic(&*backend, 3).await;
    let keys = ["1", "1+", "!", "2"];
    let records = keys.map(|key| by_key(&topic, numbered(key, 0)));
    let outcomes = within("outcomes", backend.publisher().publish(records.into())).await;
    let [first, outside, panics, last] = <[_; 4]>::try_from(outcomes)
        .unwrap_or_else(|outcomes| panic!("one outcome per record: {outcomes:?}"));
    for outcome in [&outside, &panics] {
        let error = refused(outcome);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let text = error.to_string();
        assert!(
            text.contains("partitioner") && text.contains(&*topic),
            "{text}"
        );
    }
    assert!(matches!(first, PublishOutcome::Ok(published) if published.partition == 1));
    assert!(matches!(last, PublishOutcome::Ok(published) if published.partition == 2));
    assert_eq!(
        topic::all(&*backend, &topic)
            .await
            .into_values()
            .flatten()
            .count(),
        2
    );
}

/// Fifty publishers over several connections, 5,000 messages: each is there once, in the order in which its publisher sent it.
pub(crate) async fn many_publishers_lose_nothing(trial: Trial) {
    const EACH: usize = 100;
    let connections = [trial.connect().await, trial.connect().await];
    let topic = trial.topic(&*connections[0], 4).await;
    let mut publishers = JoinSet::new();
    for publisher in 0..50 {
        let backend = Arc::clone(&connections[publisher % 2]);
        let topic = Arc::clone(&topic);
        publishers.spawn(async move {
            let key = format!("publisher-{publisher}");
            for batch in 0..10 {
                let numbers = batch * 10..batch * 10 + 10;
                let records = numbers.map(|n| by_key(&topic, numbered(&key, n)));
                publish_all(&*backend, records.collect::<Vec<PublishRecord>>()).await;
            }
        });
    }
    within("all publishers end", publishers.join_all()).await;
    let flushed = connections[0].publisher().flush(DEADLINE).await;
    flushed.unwrap_or_else(|error| panic!("flush: {error}"));
    let mut next = std::collections::BTreeMap::<Bytes, usize>::new();
    for record in topic::all(&*connections[0], &topic)
        .await
        .into_values()
        .flatten()
    {
        let key = record.message.key.unwrap_or_default();
        let expected = next.entry(key).or_default();
        let payload = record.message.payload.unwrap_or_default();
        assert_eq!(payload, expected.to_string());
        *expected += 1;
    }
    assert_eq!(next.len(), 50);
    assert!(next.values().all(|count| *count == EACH), "{next:?}");
}
