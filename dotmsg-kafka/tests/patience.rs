//! Brokers that do not answer for a while. On the broker that `DOTMSG_TEST_KAFKA_URL` names, by way of a proxy; skipped with a line
//! where it is not set.

mod common;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::backend::{
    AssignmentEvent, Backend, CommitOutcome, Control, Granted, Progress, Source, Subscription,
};
use dotmsg_testkit::proxy::{Direction, Proxy, Toxics};
use tokio::task::JoinHandle;
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

    /// The next event; what is assigned is held.
    async fn event(&mut self) -> AssignmentEvent {
        let event = poll_fn(|cx| self.source.poll_event(cx)).await.unwrap();
        if let AssignmentEvent::Assigned(granted) = &event {
            self.held.extend(granted);
        }
        event
    }

    /// What the group takes away; it is still to be released.
    async fn revoked(&mut self) -> Vec<Granted> {
        loop {
            if let AssignmentEvent::Revoking { partitions, .. } = self.event().await {
                return self.part_with(&partitions);
            }
        }
    }

    /// What is held of these, and is not any more.
    fn part_with(&mut self, partitions: &[u32]) -> Vec<Granted> {
        let goes = |granted: &mut Granted| partitions.contains(&granted.partition);
        self.held.extract_if(.., goes).collect()
    }

    async fn release(&mut self, given_up: Vec<Granted>) {
        self.control.release(given_up).await.unwrap();
    }

    /// Gives up what the group takes away until it has so many partitions.
    async fn holds(&mut self, count: usize) {
        while self.held.len() != count {
            match self.event().await {
                AssignmentEvent::Assigned(_) => {}
                AssignmentEvent::Revoking { partitions, .. } => {
                    let given_up = self.part_with(&partitions);
                    self.release(given_up).await;
                }
                event => panic!("{event:?}"),
            }
        }
    }

    /// Gives up whatever the group takes away, for as long as it is let.
    async fn obey(mut self) {
        self.holds(usize::MAX).await;
    }
}

/// Until nothing was under way for a moment, less than the pause between two heartbeats.
async fn quiet(proxy: &Proxy) {
    let passed = || [Direction::ToServer, Direction::ToClient].map(|way| proxy.passed(way));
    let mut before = None;
    while before != Some(passed()) {
        before = Some(passed());
        sleep(Duration::from_millis(150)).await;
    }
}

/// The answer that gives a member one of its partitions is lost, on a line that is silent for a moment. False when the member has
/// heard of the partition all the same.
async fn is_lost_and_found(direct: &dyn Backend, proxied: &dyn Backend, proxy: &Proxy) -> bool {
    let topic = common::fresh_topic(direct, "unheard", 6).await;
    let mut first = Member::join(direct, &topic).await;
    first.holds(6).await;
    let mut second = Member::join(direct, &topic).await;
    first.holds(3).await;
    second.holds(3).await;
    // The third one's share comes in two parts.
    let mut third = Member::join(proxied, &topic).await;
    first.holds(2).await;
    let given_up = second.revoked().await;
    third.holds(1).await;
    quiet(proxy).await;
    let before = proxy.accepted();
    proxy.set(Direction::ToClient, Toxics::new().hold());
    second.release(given_up).await;
    while proxy.accepted() == before {
        sleep(Duration::from_millis(20)).await;
    }
    proxy.heal();
    // While the third one is away, they have its share.
    let others = [first, second].map(|member| tokio::spawn(member.obey()));
    let is_lost = match third.event().await {
        AssignmentEvent::Assigned(_) => false,
        AssignmentEvent::Revoking { .. } => {
            let progress = Progress {
                partition: third.held[0].partition,
                grant: third.held[0].grant,
                watermark: 1,
                record: "a record".into(),
            };
            let committed = third.control.commit(vec![progress]).await;
            assert!(
                matches!(committed[..], [CommitOutcome::Committed]),
                "{committed:?}"
            );
            let given_up = std::mem::take(&mut third.held);
            third.release(given_up).await;
            third.holds(2).await;
            true
        }
        event => panic!("{event:?}"),
    };
    third.control.close(DEADLINE).await.unwrap();
    others.iter().for_each(JoinHandle::abort);
    is_lost
}

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
    let proxied = format!("kafka://{}", proxy.address());
    let proxied = common::open(&proxied, BROKER).await.unwrap();
    let found = async {
        // A heartbeat that comes too early has the answer before the line is silent.
        while !is_lost_and_found(&*direct, &*proxied, &proxy).await {}
    };
    timeout(3 * DEADLINE, found)
        .await
        .expect("the member gets its whole share");
}
