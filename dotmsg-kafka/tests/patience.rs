//! Brokers that do not answer for a while. On the broker that `DOTMSG_TEST_KAFKA_URL` names, by way of a proxy; skipped with a line
//! where it is not set.

mod common;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::backend::{
    AssignmentEvent, Backend, Control, Granted, Retention, Source, Subscription, TopicSpec,
};
use dotmsg_core::clock::{Clock, SystemClock};
use dotmsg_testkit::proxy::{Direction, Proxy, Toxics};
use tokio::time::{sleep, timeout};

/// How long a condition may take to become true.
const DEADLINE: Duration = Duration::from_secs(30);

fn host() -> Option<String> {
    let hosts = common::url()?;
    let first = hosts.strip_prefix("kafka://")?.split(',').next()?;
    Some(first.to_owned())
}

/// A question to a coordinator that is not reached in time, and then is: librdkafka 2.12.1 ends the process (its issue 4605) when
/// such a request has timed out before.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_answers_late_is_asked_again() {
    let Some(host) = host() else { return };
    let proxy = Proxy::start(host).await.unwrap();
    let url = format!("kafka://{}", proxy.address());
    let backend = common::open(&url, &[]).await.unwrap();
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.set(direction, Toxics::new().hold());
    }
    let (admin, before) = (backend.admin(), proxy.accepted());
    let asked = tokio::spawn(async move { admin.positions("nobody", "nothing").await });
    let replaced = async {
        // Each client that has given up is replaced by one with a connection of its own. One may have been under way before, another
        // be a second one of the first.
        while proxy.accepted() < before + 4 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, replaced)
        .await
        .expect("it is asked again");
    proxy.heal();
    let answer = timeout(DEADLINE, asked).await.expect("there is an answer");
    assert_eq!(answer.unwrap().unwrap(), []);
    backend.close().await.unwrap();
}

/// The broker assigns.
const BROKER: &[(&str, &str)] = &[("group.protocol", "consumer")];

/// A member, and what it was granted and has not given up.
struct Member {
    source: Box<dyn Source>,
    control: Arc<dyn Control>,
    held: Vec<Granted>,
}

impl Member {
    async fn join(backend: &dyn Backend, topic: &str) -> Self {
        let joined = backend.subscribe(Subscription::new(topic, topic)).await;
        let (source, control) = joined.unwrap();
        let held = Vec::new();
        Self {
            source,
            control,
            held,
        }
    }

    /// Does what the group says until it has so many partitions.
    async fn holds(&mut self, count: usize) {
        let holds = async {
            loop {
                match poll_fn(|cx| self.source.poll_event(cx)).await.unwrap() {
                    AssignmentEvent::Assigned(granted) => self.held.extend(granted),
                    AssignmentEvent::Revoking { partitions, .. } => {
                        let goes = |granted: &mut Granted| partitions.contains(&granted.partition);
                        let given_up = self.held.extract_if(.., goes).collect();
                        self.control.release(given_up).await.unwrap();
                    }
                    AssignmentEvent::Lost(lost) => {
                        self.held
                            .retain(|granted| !lost.contains(&granted.partition));
                    }
                    event @ AssignmentEvent::OutOfRange { .. } => panic!("{event:?}"),
                }
                if self.held.len() == count {
                    return;
                }
            }
        };
        timeout(2 * DEADLINE, holds)
            .await
            .unwrap_or_else(|_| panic!("it holds {count} partitions"));
    }
}

/// Until a silent connection was replaced.
async fn reconnected(proxy: &Proxy) {
    let before = proxy.accepted();
    let connected = async {
        while proxy.accepted() == before {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, connected)
        .await
        .expect("a silent connection is replaced");
}

/// Until nothing was under way for a moment, less than the pause between two heartbeats.
async fn quiet(proxy: &Proxy) {
    let passed = || [Direction::ToServer, Direction::ToClient].map(|way| proxy.passed(way));
    let quiet = async {
        let mut before = None;
        while before != Some(passed()) {
            before = Some(passed());
            sleep(Duration::from_millis(150)).await;
        }
    };
    timeout(DEADLINE, quiet)
        .await
        .expect("the line is quiet between heartbeats");
}

/// The answer that gives a partition to a member is lost, on a line that is silent for a while. The broker does not say it again.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
async fn an_assignment_that_was_never_heard_is_found() {
    let Some(url) = common::url() else { return };
    let Ok(line) = std::env::var("DOTMSG_TEST_KAFKA_LINE") else {
        println!("skipped: DOTMSG_TEST_KAFKA_LINE is not set (`cargo xtask services env kafka`)");
        return;
    };
    let (port, behind) = line.split_once(':').unwrap();
    let upstream = format!("127.0.0.1:{behind}");
    let proxy = Proxy::start_at(port.parse().unwrap(), upstream, 0)
        .await
        .unwrap();
    let direct = common::open(&url, BROKER).await.unwrap();
    let proxied = common::open(&format!("kafka://{}", proxy.address()), BROKER)
        .await
        .unwrap();
    let topic = format!("unheard-{}-{}", std::process::id(), SystemClock.now().0);
    let spec = TopicSpec {
        name: topic.clone(),
        partitions: 6,
        retention: Retention::AsBackend,
    };
    direct.admin().create_topic(spec).await.unwrap();
    let mut first = Member::join(&*direct, &topic).await;
    first.holds(6).await;
    let mut second = Member::join(&*direct, &topic).await;
    first.holds(3).await;
    second.holds(3).await;
    // The third one's share comes in two parts.
    let mut third = Member::join(&*proxied, &topic).await;
    first.holds(2).await;
    third.holds(1).await;
    quiet(&proxy).await;
    proxy.set(Direction::ToClient, Toxics::new().hold());
    second.holds(2).await;
    reconnected(&proxy).await;
    proxy.heal();
    for mut member in [first, second] {
        // While the third one is away, they have its share.
        tokio::spawn(async move { member.holds(usize::MAX).await });
    }
    third.holds(2).await;
    third.control.close(DEADLINE).await.unwrap();
}
