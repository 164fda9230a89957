//! Topics that are created, and those that exist: made what they have to be, warned of, or refused. On the broker that
//! `DOTMSG_TEST_KAFKA_URL` names; skipped with a line where it is not set.

mod common;

use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::backend::{Admin, Retention, TopicSpec};
use dotmsg_core::clock::{Clock, SystemClock};
use dotmsg_core::error::{ErrorKind, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

async fn admin(url: &str, settings: &[(&str, &str)]) -> Arc<dyn Admin> {
    common::open(url, settings).await.unwrap().admin()
}

fn spec(stem: &str, retention: Retention) -> TopicSpec {
    TopicSpec {
        name: format!("{stem}-{}-{}", std::process::id(), SystemClock.now().0),
        partitions: 2,
        retention,
    }
}

/// The broker's own tools, as an operator has them.
struct Operator(AdminClient<DefaultClientContext>);

impl Operator {
    fn new(url: &str) -> Self {
        let brokers = url.strip_prefix("kafka://").unwrap();
        Self(
            ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .create()
                .unwrap(),
        )
    }

    async fn create(&self, name: &str, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, 2, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let created = self
            .0
            .create_topics([&topic], &AdminOptions::new())
            .await
            .unwrap();
        assert!(created[0].is_ok(), "{created:?}");
    }

    async fn setting(&self, name: &str, key: &str) -> String {
        let topic = [ResourceSpecifier::Topic(name)];
        let mut configs = self
            .0
            .describe_configs(&topic, &AdminOptions::new())
            .await
            .unwrap();
        let config = configs.remove(0).unwrap();
        config
            .get(key)
            .and_then(|entry| entry.value.clone())
            .unwrap_or_default()
    }
}

#[tokio::test]
async fn a_created_topic_has_what_the_settings_say() {
    let Some(url) = common::url() else { return };
    let admin = admin(&url, &[("replication", "1"), ("min_insync_replicas", "1")]).await;
    let own = spec("topics-own", Retention::For(Duration::from_secs(3_600)));
    admin.create_topic(own.clone()).await.unwrap();
    let operator = Operator::new(&url);
    for (key, value) in [
        ("min.insync.replicas", "1"),
        ("retention.ms", "3600000"),
        ("retention.bytes", "-1"),
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "LogAppendTime"),
    ] {
        assert_eq!(operator.setting(&own.name, key).await, value, "{key}");
    }
}

#[tokio::test]
async fn an_own_topic_that_exists_is_made_what_it_has_to_be() {
    let Some(url) = common::url() else { return };
    let (operator, admin) = (Operator::new(&url), admin(&url, &[]).await);
    let own = spec("topics-there", Retention::Forever);
    let there = [("retention.ms", "60000"), ("segment.bytes", "1048576")];
    operator.create(&own.name, &there).await;
    admin.create_topic(own.clone()).await.unwrap();
    for (key, value) in [
        ("retention.ms", "-1"),
        ("message.timestamp.type", "LogAppendTime"),
        ("segment.bytes", "1048576"),
    ] {
        assert_eq!(operator.setting(&own.name, key).await, value, "{key}");
    }
}

#[tokio::test]
async fn an_own_topic_that_is_compacted_is_refused() {
    let Some(url) = common::url() else { return };
    let (operator, admin) = (Operator::new(&url), admin(&url, &[]).await);
    let own = spec("topics-compacted", Retention::Forever);
    operator
        .create(&own.name, &[("cleanup.policy", "compact,delete")])
        .await;
    let error = admin.create_topic(own).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("is compacted"), "{error}");
}

#[tokio::test]
async fn a_topic_with_too_few_replicas_is_refused_where_it_is_checked() {
    let Some(url) = common::url() else { return };
    let operator = Operator::new(&url);
    let source = spec("topics-few", Retention::AsBackend);
    operator.create(&source.name, &[]).await;
    let checked = async |settings: &[(&str, &str)]| -> Result<()> {
        admin(&url, settings)
            .await
            .create_topic(source.clone())
            .await
    };
    let error = checked(&[("replication", "2"), ("topic_check", "error")])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("1 replicas, 2 wanted"),
        "{error}"
    );
    for settings in [
        [("replication", "2"), ("topic_check", "warn")],
        [("replication", "2"), ("topic_check", "off")],
        [("replication", "1"), ("topic_check", "error")],
    ] {
        checked(&settings).await.unwrap();
    }
    let quick = [
        ("replication", "2"),
        ("topic_check", "error"),
        ("producer", "low_latency"),
    ];
    checked(&quick).await.unwrap();
}
