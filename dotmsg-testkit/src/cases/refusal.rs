//! Refusals: what a backend cannot keep is refused at start-up, with the reason; nothing is ever silently weaker.

use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::backend::{Partitioner, Subscription};
use dotmsg_core::config::RouteDefaults;
use dotmsg_core::delivery::Delivery;
use dotmsg_core::error::{Error, ErrorKind};

use crate::member::Member;
use crate::service::Service;
use crate::trial::Trial;
use crate::wait::within;

async fn nothing(_: Delivery) {}

/// The error with which an app of this route does not start; nothing of it may run.
async fn refused(trial: &Trial, app: RouteDefaults) -> Error {
    let backend = trial.connect().await;
    match Service::try_start(backend, app, nothing).await {
        Err(error) => error,
        Ok(_) => panic!("an app started that asks for what the backend cannot keep"),
    }
}

/// What is declared and what is there agree: transactions exist if and only if they are declared.
pub(crate) async fn declares_what_it_has(trial: Trial) {
    use dotmsg_core::backend::Transactional;
    let backend = trial.connect().await;
    let declared = backend.capability();
    assert_eq!(
        declared, trial.capability,
        "every connection declares the same"
    );
    let topic = trial.topic(&*backend, 1).await;
    let asked = Subscription::new(topic, trial.name()).transactions(Duration::from_millis(100));
    let (_source, control) = within("a membership", backend.subscribe(asked))
        .await
        .unwrap_or_else(|error| panic!("no membership: {error}"));
    let has = control.transactions().is_some();
    let left = within("it leaves", control.close(Duration::from_secs(5))).await;
    left.unwrap_or_else(|error| panic!("it does not leave: {error}"));
    assert_eq!(has, declared.transactions == Transactional::Yes);
}

/// Without transactions, `exactly_once` is refused.
pub(crate) async fn of_exactly_once(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let app = trial
        .unordered(&topic, &trial.name())
        .with("delivery", "exactly_once");
    let error = refused(&trial, app).await;
    assert!(
        matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Config),
        "{error}"
    );
    assert!(error.to_string().contains("exactly_once"), "{error}");
}

/// Without an order of keys, `ordering = "key"` and `"partition"` are refused.
pub(crate) async fn of_order(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    for ordering in ["key", "partition"] {
        let app = RouteDefaults::new("case")
            .with("topic", &*topic)
            .with("group", &*trial.name())
            .with("ordering", ordering);
        let error = refused(&trial, app).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("order"), "{error}");
    }
}

/// Where murmur2 alone chooses, a partitioner of the app's is refused: keys would go where nobody looks for them.
pub(crate) async fn of_a_partitioner(trial: Trial) {
    #[derive(Debug)]
    struct First;
    impl Partitioner for First {
        fn partition(&self, _: &str, _: &[u8], _: u32) -> u32 {
            0
        }
    }
    let refused = trial.connect().await.partitioned_by(Arc::new(First));
    let kind = refused.err().map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::Unsupported));
}

/// Without position records no app starts: its progress could not be kept.
pub(crate) async fn of_apps_without_position_records(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let app = trial.unordered(&topic, &trial.name());
    let error = refused(&trial, app).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("position record"), "{error}");
}

/// Where a group has one member per topic, a second one is refused until the first has left.
pub(crate) async fn of_a_second_member(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    let first = Member::owner(&*backend, &topic, &group, 1).await;
    let other = trial.connect().await;
    let second = Member::try_join(&*other, &topic, &group).await;
    let kind = second.err().map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::Fenced));
    first.leave().await;
    Member::owner(&*other, &topic, &group, 1)
        .await
        .leave()
        .await;
}

/// A topic name that is too long for the backend is refused, and so are routes whose own topics would be.
pub(crate) async fn of_names_that_are_too_long(trial: Trial) {
    use dotmsg_core::backend::{Retention, TopicSpec};
    let backend = trial.connect().await;
    let longest = trial.capability.max_topic_bytes;
    let admin = backend.admin();
    let created = admin.create_topic(TopicSpec {
        name: "x".repeat(longest + 1),
        partitions: 1,
        retention: Retention::AsBackend,
    });
    let error = created.await.err().map(|error| error.kind());
    assert!(error.is_some(), "a name of {} bytes", longest + 1);
    let topic = trial.topic(&*backend, 1).await;
    let group = "g".repeat(longest.min(249));
    let app = trial.unordered(&topic, &group);
    // With the group's name in them, its own topics have no room.
    refused(&trial, app).await;
}

/// A topic that does not exist is refused by name, and not made by the way.
pub(crate) async fn of_topics_that_do_not_exist(trial: Trial) {
    let backend = trial.connect().await;
    let missing = trial.name();
    let app = trial.unordered(&missing, &trial.name());
    let error = refused(&trial, app).await;
    assert!(error.to_string().contains(&*missing), "{error}");
    let described = backend.admin().topic(&missing).await;
    assert!(matches!(described, Ok(None)), "{described:?}");
}
