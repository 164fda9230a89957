//! Topics, partitions, groups and positions, looked at from outside of any group.
//!
//! A topic that is asked to keep its records is one of the framework's own: it is created with append-time stamps, since a
//! retry is due a delay after its append, and without compaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use dotmsg_core::backend::{
    Admin, BoxFuture, GroupDescription, OffsetRange, Retention, TopicDescription, TopicSpec,
};
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewTopic,
    OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::backend::blocking;
use crate::contact::{self, Contact};
use crate::context::Context;
use crate::durability::{self, Found};
use crate::error;
use crate::lock;
use crate::metadata;
use crate::native::{self, CALL, Topic};
use crate::now;
use crate::settings::{Settings, TopicCheck};

/// The pause between looks at something that is on its way.
const LOOK: Duration = Duration::from_millis(20);
/// How long a topic that was shown may be unknown to another broker, or hide its settings, before it is taken for deleted or
/// for one that this client has no right to.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);
/// How long a look may block a thread of the runtime.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Looks at and changes what a cluster holds.
pub(crate) struct KafkaAdmin {
    client: Arc<AdminClient<Contact>>,
    /// Asks for the positions of groups, in place of `client`: when a coordinator has moved, librdkafka 2.12.1 also tells the
    /// client's own group, without a look whether it has one, and an administrator has none. Made when it is needed.
    asker: OnceLock<Arc<BaseConsumer<Context>>>,
    settings: Arc<Settings>,
    /// Partitions of the topics that were looked at.
    known: Mutex<BTreeMap<String, u32>>,
    /// Topics whose replicas were looked at: one warning of each is enough.
    judged: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for KafkaAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaAdmin").finish_non_exhaustive()
    }
}

impl KafkaAdmin {
    pub(crate) fn open(settings: &Arc<Settings>) -> Result<Self> {
        let client = settings
            .admin()
            .create_with_context(Contact::default())
            .map_err(|error| error::of_client("open kafka", error))?;
        Ok(Self {
            client: Arc::new(client),
            asker: OnceLock::new(),
            settings: Arc::clone(settings),
            known: Mutex::default(),
            judged: Mutex::default(),
        })
    }

    /// The identity of the cluster.
    pub(crate) async fn cluster(&self) -> Result<String> {
        let client = Arc::clone(&self.client);
        blocking("look up the cluster", move || {
            client
                .inner()
                .fetch_cluster_id(CALL)
                .ok_or_else(contact::silent)
        })
        .await
    }

    /// One topic, if it exists.
    pub(crate) async fn topic(&self, name: &str) -> Result<Option<TopicDescription>> {
        let until = now() + SHOWN_WITHIN;
        let mut topics = self.describe(vec![name.to_owned()]).await?;
        // Shown before and not now: it is deleted, or the broker that was asked has not heard yet of what another one made.
        while topics.is_empty() && lock(&self.known).contains_key(name) {
            if now() >= until {
                lock(&self.known).remove(name);
            }
            tokio::time::sleep(LOOK).await;
            topics = self.describe(vec![name.to_owned()]).await?;
        }
        Ok(self.with_configs(topics, Hidden::Refused).await?.pop())
    }

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
            let metadata = client
                .inner()
                .fetch_metadata(Some(&name), CALL)
                .map_err(|error| error::of_client("check topic", error))?;
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
            .and_then(|config| value(config, "min.insync.replicas"));
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

    async fn describe(&self, names: Vec<String>) -> Result<Vec<Topic>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let client = Arc::clone(&self.client);
        let described = blocking("describe topics", move || {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            native::describe_topics(client.inner(), &names, CALL)
                .map_err(|code| error::of_code("describe topics", code))
        })
        .await?;
        let of = |topic: &Topic| (topic.name.clone(), topic.partitions);
        lock(&self.known).extend(described.iter().map(of));
        Ok(described)
    }

    /// Whether a look has shown the partition.
    fn knows(&self, topic: &str, partition: u32) -> bool {
        let known = lock(&self.known);
        known.get(topic).is_some_and(|count| partition < *count)
    }

    /// Checks that a partition exists: by what was looked at before, and else by a look that blocks its thread for a moment.
    pub(crate) fn check_partition(&self, topic: &str, partition: u32) -> Result<()> {
        if self.knows(topic, partition) {
            return Ok(());
        }
        let looked = native::describe_topics(self.client.inner(), &[topic], LOOK_WITHIN)
            .map_err(|code| error::of_code("read", code).with("topic", topic))?;
        for topic in looked {
            lock(&self.known).insert(topic.name, topic.partitions);
        }
        match self.knows(topic, partition) {
            true => Ok(()),
            false => Err(
                Error::new(ErrorKind::NotFound, "read", "no such topic or partition")
                    .with("topic", topic)
                    .with("partition", partition),
            ),
        }
    }

    async fn with_configs(
        &self,
        topics: Vec<Topic>,
        hidden: Hidden,
    ) -> Result<Vec<TopicDescription>> {
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let configs = self.configs(&names, hidden).await?;
        let described = |topic: &Topic| {
            let mut described = TopicDescription::new(&topic.name, topic.partitions, &topic.id);
            if let Some(config) = configs.get(&topic.name) {
                (described.retention, described.retention_bytes) = retention(config);
            }
            described
        };
        Ok(topics.iter().map(described).collect())
    }

    async fn configs(
        &self,
        names: &[&str],
        hidden: Hidden,
    ) -> Result<BTreeMap<String, ConfigResource>> {
        let until = now() + SHOWN_WITHIN;
        loop {
            let configs = self.look_at_configs(names).await?;
            if hidden == Hidden::LeftOut {
                return Ok(configs);
            }
            match self.check_shown(names, &configs).await {
                // The broker that was asked may not have heard yet of a topic that another one has shown.
                Err(error) if error.kind() == ErrorKind::Denied && now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                shown => return shown.map(|()| configs),
            }
        }
    }

    async fn look_at_configs(&self, names: &[&str]) -> Result<BTreeMap<String, ConfigResource>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted: Vec<_> = names
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let answers = self
            .client
            .describe_configs(&wanted, &options())
            .await
            .map_err(|error| error::of_client("read the topics' settings", error))?;
        let mut configs = BTreeMap::new();
        for answer in answers {
            match answer {
                // The client library drops the error of a single topic, and leaves its settings empty.
                Ok(config) if config.entries.is_empty() => {}
                Ok(config) => {
                    if let OwnedResourceSpecifier::Topic(name) = &config.specifier {
                        configs.insert(name.clone(), config);
                    }
                }
                Err(Code::UnknownTopicOrPartition) => {}
                Err(code) => return Err(error::of_code("read the topics' settings", code)),
            }
        }
        Ok(configs)
    }

    /// Refuses topics that exist and do not show their settings: to take them for the defaults would be a guess at how long
    /// messages are kept.
    async fn check_shown(
        &self,
        names: &[&str],
        configs: &BTreeMap<String, ConfigResource>,
    ) -> Result<()> {
        let hidden = names.iter().filter(|name| !configs.contains_key(**name));
        let hidden = hidden.map(|name| (*name).to_owned()).collect();
        match self.describe(hidden).await?.first() {
            None => Ok(()),
            Some(topic) => Err(Error::new(
                ErrorKind::Denied,
                "read the topics' settings",
                "the broker does not show them",
            )
            .with("topic", &topic.name)
            .remedy("Give this client the right DescribeConfigs on the topic")),
        }
    }

    async fn all_names(&self) -> Result<Vec<String>> {
        let client = Arc::clone(&self.client);
        blocking("list topics", move || {
            let metadata = client
                .inner()
                .fetch_metadata(None, CALL)
                .map_err(|error| error::of_client("list topics", error))?;
            let names = metadata
                .topics()
                .iter()
                .map(|topic| topic.name().to_owned());
            let mut names: Vec<String> = names.filter(|name| !name.starts_with("__")).collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn create(&self, spec: &TopicSpec) -> Result<()> {
        // Looked at first: the broker asks for the right to create before it says that there is nothing to create.
        if !self.describe(vec![spec.name.clone()]).await?.is_empty() {
            return self.adjust(spec).await;
        }
        let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
        let durability = self.settings.durability();
        let replication = TopicReplication::Fixed(durability.replication.unwrap_or(-1));
        let in_sync = durability
            .min_insync_replicas
            .map(|least| least.to_string());
        let mut topic = NewTopic::new(&spec.name, partitions, replication);
        if let Some(in_sync) = &in_sync {
            topic = topic.set("min.insync.replicas", in_sync);
        }
        let kept = retention_ms(spec.retention);
        if let Some(kept) = &kept {
            topic = topic
                .set("retention.ms", kept)
                .set("retention.bytes", "-1")
                .set("cleanup.policy", "delete")
                .set("message.timestamp.type", "LogAppendTime");
        }
        let answers = self
            .client
            .create_topics([&topic], &options())
            .await
            .map_err(|error| error::of_client("create topic", error).with("topic", &spec.name))?;
        for answer in answers {
            match answer {
                Ok(_) => self.wait_for(spec).await?,
                Err((_, Code::TopicAlreadyExists)) => self.adjust(spec).await?,
                Err((_, code)) => {
                    return Err(error::of_code("create topic", code).with("topic", &spec.name));
                }
            }
        }
        Ok(())
    }

    /// Waits until all brokers may be expected to know a topic that was created.
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
    async fn adjust(&self, spec: &TopicSpec) -> Result<()> {
        let Some(there) = self.topic(&spec.name).await? else {
            return self.wait_for(spec).await;
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
        let policy = config.and_then(|config| value(config, "cleanup.policy"));
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
            return Ok(());
        }
        // All settings of the topic's own are sent: what is left out of this request would be reset.
        let own = configs
            .get(&spec.name)
            .map(|config| &config.entries[..])
            .unwrap_or_default();
        let own: Vec<(String, String)> = own
            .iter()
            .filter(|entry| entry.source == ConfigSource::DynamicTopic)
            .filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?)))
            .collect();
        let mut altered = AlterConfig::new(ResourceSpecifier::Topic(&spec.name));
        for (name, value) in &own {
            altered = altered.set(name, value);
        }
        altered = altered
            .set("retention.ms", &kept)
            .set("retention.bytes", "-1")
            .set("message.timestamp.type", "LogAppendTime");
        let answers = self
            .client
            .alter_configs([&altered], &options())
            .await
            .map_err(|error| error::of_client("change topic", error).with("topic", &spec.name))?;
        for answer in answers {
            answer.map_err(|(_, code)| {
                error::of_code("change topic", code).with("topic", &spec.name)
            })?;
        }
        self.wait_until_kept(spec).await
    }

    /// Waits until a topic's settings are as they were changed. The client library drops a refusal of the change, so it shows
    /// here.
    async fn wait_until_kept(&self, spec: &TopicSpec) -> Result<()> {
        let until = now() + CALL;
        loop {
            let configs = self.configs(&[&spec.name], Hidden::Refused).await?;
            let Some(config) = configs.get(&spec.name) else {
                return Ok(());
            };
            let mut there = TopicDescription::new(&spec.name, spec.partitions, "");
            (there.retention, there.retention_bytes) = retention(config);
            if there.keeps(spec.retention) && stamps_appends(config) {
                return Ok(());
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

    fn asker(&self) -> Result<Arc<BaseConsumer<Context>>> {
        if let Some(asker) = self.asker.get() {
            return Ok(Arc::clone(asker));
        }
        let mut config = self.settings.reader();
        config.remove("debug").set_log_level(RDKafkaLogLevel::Emerg);
        let made = config
            .create_with_context(Context::default())
            .map_err(|error| error::of_client("read positions", error))?;
        Ok(Arc::clone(self.asker.get_or_init(|| Arc::new(made))))
    }

    /// The position records of a group: topic, partition, record; by topic and partition.
    async fn records(&self, group: &str) -> Result<Vec<(String, u32, Bytes)>> {
        let (asker, name) = (self.asker()?, group.to_owned());
        let listed = blocking("read positions", move || {
            // What it has to say meanwhile, such as that a broker is gone, would pile up.
            while asker.poll(Duration::ZERO).is_some() {}
            patiently("read positions", || {
                native::list_group_offsets(&asker, &name, CALL)
            })
        });
        let listed = listed.await.map_err(|error| error.with("group", group))?;
        let record = |(topic, partition, offset, metadata): (String, u32, i64, String)| {
            let record = metadata::decode(&metadata).filter(|_| offset >= 0)?;
            Some((topic, partition, record))
        };
        let mut records: Vec<_> = listed.into_iter().filter_map(record).collect();
        records.sort();
        Ok(records)
    }

    /// Refuses when anybody is in the group.
    pub(crate) async fn check_nobody_in(&self, group: &str) -> Result<()> {
        let (client, name) = (Arc::clone(&self.client), group.to_owned());
        let members = blocking("look at the group", move || {
            patiently("look at the group", || {
                native::count_members(client.inner(), &name, CALL)
            })
        });
        match members.await? {
            0 => Ok(()),
            members => Err(
                Error::new(ErrorKind::Fenced, "join alone", "the group has members")
                    .with("group", group)
                    .with("members", members)
                    .remedy("Stop them first"),
            ),
        }
    }

    async fn groups(&self) -> Result<Vec<GroupDescription>> {
        let client = Arc::clone(&self.client);
        let names = blocking("list groups", move || {
            let groups = client
                .inner()
                .fetch_group_list(None, CALL)
                .map_err(|error| error::of_client("list groups", error))?;
            let mut names: Vec<String> = groups
                .groups()
                .iter()
                .map(|group| group.name().to_owned())
                .collect();
            names.sort();
            Ok(names)
        });
        let mut groups = Vec::new();
        for name in names.await? {
            let mut topics: Vec<String> = self
                .records(&name)
                .await?
                .into_iter()
                .map(|(topic, _, _)| topic)
                .collect();
            topics.dedup();
            if !topics.is_empty() {
                groups.push(GroupDescription { name, topics });
            }
        }
        Ok(groups)
    }
}

/// Calls again while a broker says that it is not ready: that another one leads or coordinates by now, or that it is loading.
#[expect(
    clippy::disallowed_methods,
    reason = "on a thread that may block; a broker tells nobody when it is ready"
)]
fn patiently<T>(operation: &'static str, call: impl Fn() -> Result<T, Code>) -> Result<T> {
    let until = now() + CALL;
    loop {
        match call() {
            Ok(value) => return Ok(value),
            Err(
                Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                // The client has let go of a broker that is gone, and asks another one next time.
                | Code::BrokerDestroy
                | Code::UnstableOffsetCommit,
            ) if now() < until => std::thread::sleep(LOOK),
            Err(code) => return Err(error::of_code(operation, code)),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CALL))
        .operation_timeout(Some(CALL))
}

/// `retention.ms`, where one is asked for.
fn retention_ms(asked: Retention) -> Option<String> {
    match asked {
        Retention::AsBackend => None,
        Retention::Forever => Some("-1".to_owned()),
        Retention::For(least) => Some(least.as_millis().max(1).to_string()),
    }
}

/// What becomes of a topic whose settings this client may not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    /// It is an error.
    Refused,
    /// They stay unknown: in a list of topics there may be some that are none of our business.
    LeftOut,
}

/// Whether the time of a record is that of its append: a retry is due a delay after it.
fn stamps_appends(config: &ConfigResource) -> bool {
    value(config, "message.timestamp.type") == Some("LogAppendTime")
}

fn value<'c>(config: &'c ConfigResource, name: &str) -> Option<&'c str> {
    config.get(name).and_then(|entry| entry.value.as_deref())
}

/// How long and how much a topic keeps.
fn retention(config: &ConfigResource) -> (Option<Duration>, Option<u64>) {
    let value = |name: &str| value(config, name);
    if value("cleanup.policy").is_some_and(|policy| !policy.contains("delete")) {
        return (None, None);
    }
    let age = value("retention.ms")
        .and_then(|ms| ms.parse().ok())
        .map(Duration::from_millis);
    let bytes = value("retention.bytes").and_then(|bytes| bytes.parse().ok());
    (age, bytes)
}

impl Admin for KafkaAdmin {
    fn cluster(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(self.cluster())
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicDescription>>> {
        Box::pin(async move {
            let names = self.all_names().await?;
            let topics = self.describe(names).await?;
            self.with_configs(topics, Hidden::LeftOut).await
        })
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicDescription>>> {
        Box::pin(self.topic(name))
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.create(&spec).await })
    }

    fn offsets<'a>(&'a self, topic: &'a str, partition: u32) -> BoxFuture<'a, Result<OffsetRange>> {
        Box::pin(async move {
            let (client, name) = (Arc::clone(&self.client), topic.to_owned());
            let exists = self.knows(topic, partition);
            let looked = blocking("look up offsets", move || {
                let number = i32::try_from(partition).unwrap_or(i32::MAX);
                let until = now() + LOOK_WITHIN;
                patiently("look up offsets", || {
                    let looked = client.inner().fetch_watermarks(&name, number, CALL);
                    let code = |error: KafkaError| error.rdkafka_error_code();
                    match looked.map_err(|error| code(error).unwrap_or(Code::Unknown)) {
                        // Its leader has not heard yet of a topic that another broker has shown.
                        Err(Code::UnknownTopicOrPartition | Code::UnknownPartition)
                            if exists && now() < until =>
                        {
                            Err(Code::LeaderNotAvailable)
                        }
                        looked => looked,
                    }
                })
            });
            let (start, end) = looked
                .await
                .map_err(|error| error.with("topic", topic).with("partition", partition))?;
            Ok(OffsetRange {
                start: u64::try_from(start).unwrap_or(0),
                end: u64::try_from(end).unwrap_or(0),
            })
        })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupDescription>>> {
        Box::pin(self.groups())
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(u32, Bytes)>>> {
        Box::pin(async move {
            let records = self.records(group).await?;
            let of_topic = records.into_iter().filter(|(of, _, _)| of == topic);
            let positions = of_topic.map(|(_, partition, record)| (partition, record));
            Ok(positions.collect())
        })
    }
}
