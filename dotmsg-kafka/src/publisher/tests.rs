//! Producers that come to their end, on a cluster of librdkafka's own that answers as it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg_core::backend::{BackendOptions, BoxFuture, PublishOutcome, PublishRecord, Publisher};
use dotmsg_core::clock::SystemClock;
use dotmsg_core::error::ErrorKind;
use dotmsg_core::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::timeout;

use super::KafkaPublisher;
use super::line::Making;
use crate::settings::Settings;

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Nothing here takes so long; a test that waits in vain fails after it.
const LIMIT: Duration = Duration::from_secs(60);

/// Each message is a request of its own, at most five of which are on their way to a broker.
const ONE_BY_ONE: &[(&str, &str)] = &[
    ("batch.num.messages", "1"),
    ("max.in.flight.requests.per.connection", "5"),
];

fn cluster(brokers: i32) -> Cluster {
    let cluster = MockCluster::new(brokers).expect("a cluster");
    cluster.create_topic("orders", 2, 1).expect("a topic");
    cluster.create_topic("single", 1, 1).expect("a topic");
    cluster
}

fn publisher(cluster: &Cluster) -> KafkaPublisher {
    KafkaPublisher::open(&settings(cluster), None).expect("a publisher")
}

fn settings(cluster: &Cluster) -> Settings {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let options = BackendOptions {
        name: "main".into(),
        url: format!("kafka://{}", cluster.bootstrap_servers()),
        settings: ONE_BY_ONE.iter().map(owned).collect::<BTreeMap<_, _>>(),
        clock: Arc::new(SystemClock),
    };
    Settings::of(&options).expect("settings")
}

fn record(partition: u32, text: &'static str) -> PublishRecord {
    PublishRecord {
        topic: "orders".into(),
        partition: Some(partition),
        message: Message::new(text),
    }
}

/// One that waits at no gate.
fn for_any_partition(text: &'static str) -> PublishRecord {
    PublishRecord {
        topic: "single".into(),
        partition: None,
        message: Message::new(text),
    }
}

async fn publish(publisher: &KafkaPublisher, records: Vec<PublishRecord>) -> Vec<PublishOutcome> {
    let outcomes = timeout(LIMIT, publisher.publish(records)).await;
    outcomes.expect("outcomes in time")
}

fn offsets(outcomes: &[PublishOutcome]) -> Vec<u64> {
    let offset = |outcome: &PublishOutcome| match outcome {
        PublishOutcome::Ok(published) => published.offset,
        other => panic!("not confirmed: {other:?}"),
    };
    outcomes.iter().map(offset).collect()
}

/// The broker says that it misses what came before: what an idempotent producer cannot survive.
fn break_sequence(cluster: &Cluster) {
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
    );
}

/// Publishes to a producer that ends with the first of these records. The answer takes its time, so that all are there by then.
async fn published_at_the_end(
    cluster: &Cluster,
    publisher: &KafkaPublisher,
    records: Vec<PublishRecord>,
) -> Vec<PublishOutcome> {
    let take = |time| cluster.broker_round_trip_time(1, time).expect("a broker");
    take(Duration::from_millis(300));
    break_sequence(cluster);
    let outcomes = publish(publisher, records).await;
    take(Duration::ZERO);
    outcomes
}

#[tokio::test]
async fn what_a_producer_had_at_its_end_is_told_and_the_next_one_goes_on() {
    const ALL: usize = 20;
    let all = || (0..ALL).map(|_| for_any_partition("one of many")).collect();
    let cluster = cluster(1);
    let publisher = publisher(&cluster);
    let mut next = 0;
    for _ in 0..2 {
        let went = offsets(&publish(&publisher, all()).await);
        assert_eq!(went, (next..next + ALL as u64).collect::<Vec<_>>());
        next += ALL as u64;
        let outcomes = published_at_the_end(&cluster, &publisher, all()).await;
        assert_eq!(outcomes.len(), ALL);
        assert_ended(&outcomes);
        // Unlike a real broker, this one takes those that were on their way behind the first.
        next += count(&outcomes, |outcome| {
            matches!(outcome, PublishOutcome::Ok(_))
        });
    }
    let went = offsets(&publish(&publisher, all()).await);
    assert_eq!(
        went[0], next,
        "what failed and what is unknown was not sent anew"
    );
    let closed = timeout(LIMIT, publisher.close()).await;
    closed.expect("in time").expect("closed");
}

fn count(outcomes: &[PublishOutcome], is: impl Fn(&PublishOutcome) -> bool) -> u64 {
    outcomes.iter().filter(|outcome| is(outcome)).count() as u64
}

/// The first was sent and is unknown; what was not sent has failed, and says why.
fn assert_ended(outcomes: &[PublishOutcome]) {
    let PublishOutcome::Unknown(error) = &outcomes[0] else {
        panic!("it was sent, and no answer can be trusted: {outcomes:?}");
    };
    assert!(error.is_transient(), "{error}");
    let is_failed = |outcome: &PublishOutcome| matches!(outcome, PublishOutcome::Failed(_));
    let most_on_their_way = 6;
    assert!(
        count(outcomes, is_failed) >= outcomes.len() as u64 - most_on_their_way,
        "{outcomes:?}"
    );
    for outcome in outcomes {
        let PublishOutcome::Failed(error) = outcome else {
            continue;
        };
        assert!(error.is_transient(), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("fatal error") && text.contains("sequence"),
            "{text}"
        );
    }
}

/// Waits until the partitions of the topic have gates.
async fn gates(publisher: &KafkaPublisher) {
    let asked = async {
        // A look is asked for by the first message, and not waited for.
        while !publisher.line.has_gates_of("orders") {
            publish(publisher, vec![record(0, "first")]).await;
        }
    };
    timeout(LIMIT, asked)
        .await
        .expect("the partitions are known");
}

/// What waits here has its time, and then has failed; what is in the producer has librdkafka's, here far more than the test's.
#[tokio::test]
async fn what_waits_too_long_has_failed() {
    let cluster = cluster(1);
    let settings = settings(&cluster);
    let making = Making {
        config: settings.producer(),
        partitioner: None,
        gates: Some(settings.batches()),
        patience: Some(Duration::from_secs(1)),
        max_record_bytes: 1_000,
    };
    let publisher = KafkaPublisher::with(making).expect("a publisher");
    gates(&publisher).await;
    let take = |time| cluster.broker_round_trip_time(1, time).expect("a broker");
    take(LIMIT * 2);
    let (sent, held) = (5, 15);
    let records = |count| (0..count).map(|_| record(0, "one of many")).collect();
    let on_their_way = publisher.publish(records(sent));
    let outcomes = publish(&publisher, records(held)).await;
    for outcome in &outcomes {
        let PublishOutcome::Failed(error) = outcome else {
            panic!("it was never sent: {outcomes:?}");
        };
        assert!(error.to_string().contains("timed out"), "{error}");
    }
    assert_eq!(publisher.line.waiting(), 0);
    assert_eq!(publisher.line.in_producer(), sent);
    drop(on_their_way);
}

/// A call that finds it open, and hands over only when nobody hears reports any more, has an answer as well.
#[tokio::test]
async fn what_comes_behind_the_close_is_answered() {
    let cluster = cluster(1);
    let publisher = publisher(&cluster);
    publisher.close().await.expect("closed");
    let late = async {
        loop {
            let outcomes = publisher.hand_over(vec![record(0, "late")]).await;
            // The thread may still be there.
            if let PublishOutcome::Failed(error) = &outcomes[0] {
                return error.kind();
            }
        }
    };
    let kind = timeout(LIMIT, late).await.expect("answered in time");
    assert_eq!(kind, ErrorKind::Closed);
}

/// A slow broker, and messages that come one after the other: those behind the first wait here, not in the producer.
#[tokio::test]
async fn what_follows_a_batch_waits_for_its_answer() {
    let cluster = cluster(1);
    let publisher = publisher(&cluster);
    gates(&publisher).await;
    let take = |time| cluster.broker_round_trip_time(1, time).expect("a broker");
    take(Duration::from_millis(300));
    let all: Vec<PublishRecord> = (0..20).map(|_| record(0, "one of many")).collect();
    let mut outcomes = publisher.publish(all);
    let other = publisher.publish(vec![record(1, "of another partition")]);
    let in_line = async {
        while publisher.line.waiting() + publisher.line.in_producer() as usize != 20 + 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, in_line)
        .await
        .expect("all of them are taken");
    let in_producer = publisher.line.in_producer();
    assert!(in_producer <= 5 + 1, "{in_producer} in the producer");
    take(Duration::ZERO);
    let both = async { tokio::join!(&mut outcomes, other) };
    let (outcomes, other) = timeout(LIMIT, both).await.expect("in time");
    let went = offsets(&outcomes);
    assert!(went.is_sorted(), "{went:?}");
    assert_eq!(offsets(&other).len(), 1);
    assert_eq!(publisher.line.waiting(), 0);
}

#[tokio::test]
async fn nothing_newer_passes_what_is_still_undecided() {
    let cluster = cluster(2);
    for (partition, broker) in [(0, 1), (1, 2)] {
        cluster
            .partition_leader("orders", partition, Some(broker))
            .expect("a leader");
    }
    let publisher = publisher(&cluster);
    // Both brokers are known and connected.
    publish(&publisher, vec![record(0, "x"), record(1, "x")]).await;
    let slow = Duration::from_millis(1_500);
    cluster
        .broker_round_trip_time(2, slow)
        .expect("a slow broker");
    let undecided = timeout(LIMIT, undecided_at_the_end(&cluster, &publisher)).await;
    let undecided = undecided.expect("it is undecided in time");
    let newer = publisher.publish(vec![record(0, "newer")]);
    let told = Mutex::new(Vec::new());
    let noting = async |name, outcomes: BoxFuture<'_, Vec<PublishOutcome>>| {
        let outcomes = outcomes.await;
        told.lock().unwrap().push(name);
        outcomes
    };
    // On a busy machine the first one may be dropped before it is sent: then it is told at once, and comes first anyway.
    let both = async {
        let (newer, undecided) =
            tokio::join!(noting("newer", newer), noting("undecided", undecided));
        offsets(&newer);
        let is_given_up = matches!(undecided[0], PublishOutcome::Unknown(_));
        assert!(!is_given_up, "its answer was not waited for: {undecided:?}");
    };
    timeout(LIMIT, both).await.expect("in time");
    assert_eq!(*told.lock().unwrap(), ["undecided", "newer"]);
}

/// Sends a record to the slow broker, and ends the producer by one for the other before the first is answered. The error is for
/// whichever comes first, so that this may take more than one attempt.
async fn undecided_at_the_end<'p>(
    cluster: &Cluster,
    publisher: &'p KafkaPublisher,
) -> BoxFuture<'p, Vec<PublishOutcome>> {
    loop {
        let undecided = publisher.publish(vec![record(1, "undecided")]);
        publish(publisher, vec![record(0, "meanwhile it is sent")]).await;
        break_sequence(cluster);
        let ends = publish(publisher, vec![record(0, "ends the producer")]).await;
        match ends[0] {
            PublishOutcome::Unknown(_) => return undecided,
            _ => drop(undecided.await),
        }
    }
}

#[tokio::test]
async fn a_producer_that_may_not_begin_says_why_and_is_tried_again() {
    let cluster = cluster(1);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[denied, denied]);
    let publisher = publisher(&cluster);
    // The first meets the first refusal, whenever that comes.
    for _ in 0..2 {
        let outcomes = publish(&publisher, vec![record(0, "refused")]).await;
        let PublishOutcome::Failed(error) = &outcomes[0] else {
            panic!("it was not sent: {outcomes:?}");
        };
        let text = error.to_string();
        assert!(text.contains("uthorization"), "{text}");
    }
    assert_eq!(
        offsets(&publish(&publisher, vec![record(0, "in")]).await),
        [0]
    );
}
