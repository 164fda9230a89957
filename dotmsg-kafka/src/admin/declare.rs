//! Making a topic what it has to be: created, or found to keep its records so long and in so many copies.

use std::sync::Arc;

use dotmsg_core::backend::{Retention, TopicDescription, TopicSpec};
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::admin::{AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::runtime::Handle;

use super::configs::{Hidden, retention, stamps_appends};
use super::{KafkaAdmin, LOOK, options};
use crate::backend::blocking;
use crate::durability::{self, Found};
use crate::error;
use crate::lock;
use crate::native::CALL;
use crate::now;
use crate::patience::of;
use crate::settings::{Durability, TopicCheck};

impl KafkaAdmin {
    /// Looks, once, whether a topic that exists keeps what the producer profile promises.
    ///
    /// # Errors
    /// It does not, and is to be refused.
    pub(crate) async fn check_durability(&self, topic: &str) -> Result<()> {
        let asked = self.settings.durability();
        if asked.check == TopicCheck::Off || lock(&self.judged).contains(topic) {
            return Ok(());
        }
        let (client, name) = (Arc::clone(&self.client), topic.to_owned());
        let (brokers, replicas) = blocking("check topic", move || {
            let metadata = client.ask("check topic", |client, within| {
                let looked = client.inner().fetch_metadata(Some(&name), within);
                looked.map_err(of)
            })?;
            let partitions = metadata
                .topics()
                .iter()
                .flat_map(|topic| topic.partitions());
            let replicas = partitions.map(|partition| partition.replicas().len()).min();
            Ok((metadata.brokers().len(), replicas))
        })
        .await?;
        let configs = self.configs(&[topic], Hidden::Refused).await?;
        let in_sync = configs
            .get(topic)
            .and_then(|config| config.get("min.insync.replicas"));
        if let (Some(replicas), Some(in_sync)) =
            (replicas, in_sync.and_then(|set| set.parse().ok()))
        {
            let found = Found {
                brokers,
                replicas,
                in_sync,
            };
            durability::judge(&self.settings.name, topic, asked, found)?;
            lock(&self.judged).insert(topic.to_owned());
        }
        Ok(())
    }

    pub(super) async fn create(&self, spec: &TopicSpec) -> Result<()> {
        // Looked at first: the broker asks for the right to create before it says that there is nothing to create.
        if !self.describe(vec![spec.name.clone()]).await?.is_empty() {
            return self.adjust(spec).await;
        }
        match self.create_now(spec).await? {
            Created::Now => self.remember(spec).await,
            Created::Before => {
                // The broker that said so knows more than the one that was looked at first.
                self.wait_for(spec).await?;
                self.adjust(spec).await
            }
        }
    }

    /// Asks for the creation again while no broker can answer: a topic that an earlier try has made is one that exists.
    async fn create_now(&self, spec: &TopicSpec) -> Result<Created> {
        let client = Arc::clone(&self.client);
        let (spec, durability) = (spec.clone(), self.settings.durability());
        let name = spec.name.clone();
        let created = blocking("create topic", move || {
            let in_sync = durability
                .min_insync_replicas
                .map(|least| least.to_string());
            let kept = retention_ms(spec.retention);
            let topic = new_topic(&spec, durability, in_sync.as_deref(), kept.as_deref());
            client.ask("create topic", |client, within| {
                let asked = client.create_topics([&topic], &options(within));
                let answer = Handle::current().block_on(asked).map_err(of)?.pop();
                match answer {
                    None | Some(Ok(_)) => Ok(Created::Now),
                    Some(Err((_, Code::TopicAlreadyExists))) => Ok(Created::Before),
                    // What a broker says that had the controller change, or go, under its hands.
                    Some(Err((_, Code::Unknown))) => Err(Code::NotController),
                    Some(Err((_, code))) => Err(code),
                }
            })
        });
        created.await.map_err(|error| error.with("topic", name))
    }

    /// Waits until a topic is shown as it was made, and holds later answers against that.
    async fn remember(&self, spec: &TopicSpec) -> Result<()> {
        self.wait_for(spec).await?;
        lock(&self.kept).insert(spec.name.clone(), spec.retention);
        Ok(())
    }

    /// Waits until a broker knows a topic that was created.
    async fn wait_for(&self, spec: &TopicSpec) -> Result<()> {
        let until = now() + CALL;
        while self.describe(vec![spec.name.clone()]).await?.is_empty() {
            if now() >= until {
                return Err(
                    Error::new(ErrorKind::Timeout, "create topic", "it does not appear")
                        .with("topic", &spec.name),
                );
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Makes a topic that exists keep its records as is asked for.
    pub(super) async fn adjust(&self, spec: &TopicSpec) -> Result<()> {
        let Some(there) = self.topic(&spec.name).await? else {
            return Err(Error::new(
                ErrorKind::NotFound,
                "create topic",
                "it was deleted meanwhile",
            )
            .with("topic", &spec.name));
        };
        if there.partitions != spec.partitions {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "create topic",
                "it exists with another number of partitions",
            )
            .with("topic", &spec.name)
            .with("partitions", there.partitions)
            .with("asked for", spec.partitions));
        }
        self.check_durability(&spec.name).await?;
        let Some(kept) = retention_ms(spec.retention) else {
            return Ok(());
        };
        let configs = self.configs(&[&spec.name], Hidden::Refused).await?;
        let config = configs.get(&spec.name);
        let policy = config.and_then(|config| config.get("cleanup.policy"));
        if policy.is_some_and(|policy| policy.contains("compact")) {
            return Err(Error::new(
                ErrorKind::Config,
                "check topic",
                "a topic of the group is compacted: of two retries of one key the first would be lost",
            )
            .with("topic", &spec.name)
            .remedy("Set its cleanup.policy to delete with the broker's tools"));
        }
        if there.keeps(spec.retention) && config.is_none_or(stamps_appends) {
            return self.remember(spec).await;
        }
        let mut altered = AlterConfig::new(ResourceSpecifier::Topic(&spec.name));
        // All settings of the topic's own are sent: what is left out of this request would be reset.
        for (name, value) in config.iter().flat_map(|config| config.own()) {
            altered = altered.set(name, value);
        }
        altered = altered
            .set("retention.ms", &kept)
            .set("retention.bytes", "-1")
            .set("message.timestamp.type", "LogAppendTime");
        let changed = |error| error::of_client("change topic", error).with("topic", &spec.name);
        let client = self.client.client().map_err(changed)?;
        let answers = client.alter_configs([&altered], &options(CALL)).await;
        let answers = answers.map_err(changed)?;
        for answer in answers {
            answer.map_err(|(_, code)| {
                error::of_code("change topic", code).with("topic", &spec.name)
            })?;
        }
        self.wait_until_kept(spec).await
    }

    /// Waits until a topic's settings are as they were changed. The client library drops a refusal of the change, so it shows
    /// here.
    pub(super) async fn wait_until_kept(&self, spec: &TopicSpec) -> Result<()> {
        let until = now() + CALL;
        loop {
            let configs = self.configs(&[&spec.name], Hidden::Refused).await?;
            let Some(config) = configs.get(&spec.name) else {
                return Ok(());
            };
            let mut there = TopicDescription::new(&spec.name, spec.partitions, "");
            (there.retention, there.retention_bytes) = retention(config);
            if there.keeps(spec.retention) && stamps_appends(config) {
                return self.remember(spec).await;
            }
            if now() >= until {
                return Err(Error::new(
                    ErrorKind::Denied,
                    "change topic",
                    "a topic of the group does not keep its records for long enough, or not under the time of their append, and its settings do not change",
                )
                .with("topic", &spec.name)
                .remedy("Give this client the right AlterConfigs on the topic, or set retention.ms, retention.bytes = -1 and message.timestamp.type = LogAppendTime with the broker's tools"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A topic as it is to be made.
fn new_topic<'t>(
    spec: &'t TopicSpec,
    durability: Durability,
    in_sync: Option<&'t str>,
    kept: Option<&'t str>,
) -> NewTopic<'t> {
    let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
    let replication = TopicReplication::Fixed(durability.replication.unwrap_or(-1));
    let mut topic = NewTopic::new(&spec.name, partitions, replication);
    if let Some(in_sync) = in_sync {
        topic = topic.set("min.insync.replicas", in_sync);
    }
    if let Some(kept) = kept {
        topic = topic
            .set("retention.ms", kept)
            .set("retention.bytes", "-1")
            .set("cleanup.policy", "delete")
            .set("message.timestamp.type", "LogAppendTime");
    }
    topic
}

/// When a topic was made.
enum Created {
    Now,
    Before,
}

/// `retention.ms`, where one is asked for.
fn retention_ms(asked: Retention) -> Option<String> {
    match asked {
        Retention::AsBackend => None,
        Retention::Forever => Some("-1".to_owned()),
        Retention::For(least) => Some(least.as_millis().max(1).to_string()),
    }
}
