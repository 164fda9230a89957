//! The id of a static member, when another has it: one that was killed, under the protocol in which the broker decides, and one
//! that takes it over and goes without a word, under the classic one. On the broker that `DOTMSG_TEST_KAFKA_URL` names; skipped with
//! a line where it is not set.

mod common;

use std::future::poll_fn;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use dotmsg_core::backend::{
    AssignmentEvent, Backend, Batch, BatchLimits, CommitOutcome, Granted, Membership, Progress,
    PublishOutcome, PublishRecord, Subscription,
};
use dotmsg_core::message::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::time::timeout;

/// How long a member may take to get its partitions: more than the session of the one before.
const DEADLINE: Duration = Duration::from_secs(40);
/// Names the topic to the process that is killed.
const HOLDS: &str = "DOTMSG_TEST_HOLDS_ID";
/// By the broker.
const BROKER: &[(&str, &str)] = &[("group.protocol", "consumer")];
/// By a member; the sooner a session is over, the sooner the test is.
const CLASSIC: &[(&str, &str)] = &[
    ("session.timeout.ms", "1500"),
    ("heartbeat.interval.ms", "300"),
];

/// A member of the group of the topic's name, with the id `one`, once it has the partition; and its grant.
async fn member(backend: &dyn Backend, topic: &str) -> (Membership, Granted) {
    let mut subscription = Subscription::new(topic, topic);
    subscription.instance = Some("one".into());
    let mut member = backend.subscribe(subscription).await.unwrap();
    match event(&mut member).await {
        AssignmentEvent::Assigned(granted) => (member, granted[0]),
        event => panic!("{event:?}"),
    }
}

async fn event((source, _): &mut Membership) -> AssignmentEvent {
    let event = timeout(DEADLINE, poll_fn(|cx| source.poll_event(cx)));
    event.await.expect("an event").unwrap()
}

/// The process that is killed; nothing where nobody asks for it.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "its parent waits for the line")]
async fn holds_the_id_until_it_is_killed() {
    if let (Ok(topic), Some(url)) = (std::env::var(HOLDS), common::url()) {
        let backend = common::open(&url, BROKER).await.unwrap();
        let _member = member(&*backend, &topic).await;
        println!("\nholds the id");
        std::future::pending::<()>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_waits_for_the_id_of_the_one_that_was_killed() {
    let Some(url) = common::url() else { return };
    let backend = common::open(&url, BROKER).await.unwrap();
    let topic = common::fresh_topic(&*backend, "instance", 1).await;
    let mut first = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_the_id_until_it_is_killed", "--nocapture"])
        .env(HOLDS, &topic)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let held = lines
        .map_while(Result::ok)
        .any(|line| line == "holds the id");
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(held, "the first member has ended by itself");
    let ((_, control), _) = member(&*backend, &topic).await;
    control.close(DEADLINE).await.unwrap();
}

/// Takes the id over, as a second process would, and is gone: a static member that closes does not leave.
fn takes_the_id_and_goes(url: &str, topic: &str) {
    let hosts = url.strip_prefix("kafka://").unwrap();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", hosts)
        .set("group.id", topic)
        .set("group.instance.id", format!("one.{topic}"))
        .set("partition.assignment.strategy", "cooperative-sticky");
    for (key, value) in CLASSIC {
        config.set(*key, *value);
    }
    let other: BaseConsumer = config.create().unwrap();
    other.subscribe(&[topic]).unwrap();
    while other.assignment().unwrap().count() == 0 {
        other.poll(Duration::from_millis(20));
    }
}

/// While a backlog is being read.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_thrown_out_comes_back_when_the_other_is_gone() {
    let Some(url) = common::url() else { return };
    let backend = common::open(&url, CLASSIC).await.unwrap();
    let topic = common::fresh_topic(&*backend, "thrown-out", 1).await;
    let record = |n: u32| PublishRecord {
        topic: topic.as_str().into(),
        partition: None,
        message: Message::new(n.to_string()),
    };
    let records = (0..50_000).map(record).collect();
    let published = backend.publisher().publish(records).await;
    assert!(
        published
            .iter()
            .all(|one| matches!(one, PublishOutcome::Ok(_)))
    );
    let (mut member, first) = member(&*backend, &topic).await;
    let control = member.1.clone();
    control.resume(0, Some(0));
    let other = tokio::task::spawn_blocking({
        let topic = topic.clone();
        move || takes_the_id_and_goes(&url, &topic)
    });
    timeout(DEADLINE, other).await.expect("it joins").unwrap();
    let progress = Progress {
        partition: 0,
        grant: first.grant,
        watermark: 1,
        record: "a record".into(),
    };
    let committed = timeout(DEADLINE, control.commit(vec![progress])).await;
    let committed = committed.expect("an answer");
    assert!(
        !matches!(committed[..], [CommitOutcome::Committed]),
        "{committed:?}"
    );
    match event(&mut member).await {
        AssignmentEvent::Lost(lost) => assert_eq!(lost, [0]),
        event => panic!("{event:?}"),
    }
    match event(&mut member).await {
        AssignmentEvent::Assigned(granted) => assert_ne!(granted[0].grant, first.grant),
        event => panic!("{event:?}"),
    }
    control.resume(0, Some(7));
    let mut batch = Batch::default();
    let limits = BatchLimits {
        messages: 1,
        bytes: 1,
    };
    let read = timeout(
        DEADLINE,
        poll_fn(|cx| member.0.poll_batch(cx, limits, &mut batch)),
    );
    read.await.expect("a batch").unwrap();
    assert_eq!(batch.records[0].offset, 7);
    timeout(DEADLINE, control.close(DEADLINE))
        .await
        .expect("it leaves")
        .unwrap();
}
