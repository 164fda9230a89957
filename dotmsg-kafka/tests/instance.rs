//! The id of a static member that was killed, under the protocol in which the broker decides. On the broker that
//! `DOTMSG_TEST_KAFKA_URL` names; skipped with a line where it is not set.

mod common;

use std::future::poll_fn;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use dotmsg_core::backend::{AssignmentEvent, Membership, Retention, Subscription, TopicSpec};
use dotmsg_core::clock::{Clock, SystemClock};
use tokio::time::timeout;

/// How long a member may take to get its partitions: more than the session of the one before.
const DEADLINE: Duration = Duration::from_secs(40);
/// Names the topic to the process that is killed.
const HOLDS: &str = "DOTMSG_TEST_HOLDS_ID";
const SETTINGS: &[(&str, &str)] = &[("group.protocol", "consumer")];

/// A member with the id, once it has a partition.
async fn member(url: &str, topic: &str) -> Membership {
    let backend = common::open(url, SETTINGS).await.unwrap();
    let mut subscription = Subscription::new(topic, "instance");
    subscription.instance = Some("one".into());
    let mut member = backend.subscribe(subscription).await.unwrap();
    let event = timeout(DEADLINE, poll_fn(|cx| member.0.poll_event(cx)));
    match event.await.expect("an event").unwrap() {
        AssignmentEvent::Assigned(granted) => assert_eq!(granted.len(), 1),
        event => panic!("{event:?}"),
    }
    member
}

/// The process that is killed; nothing where nobody asks for it.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "its parent waits for the line")]
async fn holds_the_id_until_it_is_killed() {
    if let (Ok(topic), Some(url)) = (std::env::var(HOLDS), common::url()) {
        let _member = member(&url, &topic).await;
        println!("\nholds the id");
        std::future::pending::<()>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_waits_for_the_id_of_the_one_that_was_killed() {
    let Some(url) = common::url() else { return };
    let topic = format!("instance-{}-{}", std::process::id(), SystemClock.now().0);
    let admin = common::open(&url, SETTINGS).await.unwrap().admin();
    let spec = TopicSpec {
        name: topic.clone(),
        partitions: 1,
        retention: Retention::AsBackend,
    };
    admin.create_topic(spec).await.unwrap();
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
    let (_, control) = member(&url, &topic).await;
    control.close(DEADLINE).await.unwrap();
}
