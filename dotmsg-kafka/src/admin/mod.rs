//! Topics, partitions, groups and positions, looked at from outside of any group.
//!
//! A topic that is asked to keep its records is one of the framework's own: it is created with append-time stamps, since a
//! retry is due a delay after its append, and without compaction.

mod asking;
mod configs;
mod declare;
mod groups;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dotmsg_core::backend::{
    Admin, BoxFuture, GroupDescription, OffsetRange, Retention, TopicDescription, TopicSpec,
};
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use self::asking::Asking;
use self::configs::{Hidden, retention};
use crate::backend::blocking;
use crate::contact::{self, Contact};
use crate::context::Context;
use crate::error;
use crate::lock;
use crate::native::{self, Topic};
use crate::now;
use crate::patience::of;
use crate::settings::Settings;

/// The pause between looks at something that is on its way.
const LOOK: Duration = Duration::from_millis(20);
/// How long a broker may be behind what another one has shown, before a topic is taken for deleted or changed from outside. One
/// that was frozen for seconds has heard of everything a second or two after it wakes.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);
/// How long the leader of a partition may be behind, before a partition that was seen is taken for gone: one that was killed comes
/// back with the log of before, and hears of the rest only then. Within what a question is patient for.
const LED_WITHIN: Duration = Duration::from_secs(15);
/// How long a look may block the thread of whoever looks.
pub(crate) const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Looks at and changes what a cluster holds.
pub(crate) struct KafkaAdmin {
    client: Arc<Asking<AdminClient<Contact>>>,
    /// Asks for the positions of groups, in place of `client`: when a coordinator has moved, librdkafka 2.12.1 also tells the
    /// client's own group, without a look whether it has one, and an administrator has none.
    asker: Arc<Asking<BaseConsumer<Context>>>,
    settings: Arc<Settings>,
    /// Partitions of the topics that were looked at.
    known: Mutex<BTreeMap<String, u32>>,
    /// How long topics keep their records, as a broker has shown after they were made so.
    kept: Mutex<BTreeMap<String, Retention>>,
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
        let config = settings.admin();
        let client = Asking::new(move || config.create_with_context(Contact::default()));
        client
            .client()
            .map_err(|error| error::of_client("open kafka", error))?;
        let mut config = settings.reader();
        config.remove("debug").set_log_level(RDKafkaLogLevel::Emerg);
        let asker = Asking::new(move || config.create_with_context(Context::default()));
        Ok(Self {
            client: Arc::new(client),
            asker: Arc::new(asker),
            settings: Arc::clone(settings),
            known: Mutex::default(),
            kept: Mutex::default(),
            judged: Mutex::default(),
        })
    }

    /// The identity of the cluster.
    pub(crate) async fn cluster(&self) -> Result<String> {
        let client = Arc::clone(&self.client);
        blocking("look up the cluster", move || {
            let asked = client.ask("look up the cluster", |client, within| {
                let id = client.inner().fetch_cluster_id(within);
                id.ok_or(Code::OperationTimedOut)
            });
            asked.map_err(|_| contact::silent())
        })
        .await
    }

    /// One topic, if it exists.
    pub(crate) async fn topic(&self, name: &str) -> Result<Option<TopicDescription>> {
        let grace = Grace::of(SHOWN_WITHIN);
        loop {
            let topics = self.describe(vec![name.to_owned()]).await?;
            let shown = self.with_configs(topics, Hidden::Refused).await?.pop();
            if !self.is_older(name, shown.as_ref()) {
                return Ok(shown);
            }
            if grace.is_over(now()) {
                lock(&self.known).remove(name);
                lock(&self.kept).remove(name);
                return Ok(shown);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether an answer about a topic is older than one that this client has had: the broker that gave it is behind, or the topic
    /// was deleted or changed from outside.
    fn is_older(&self, name: &str, shown: Option<&TopicDescription>) -> bool {
        match shown {
            None => lock(&self.known).contains_key(name),
            Some(topic) => {
                let kept = lock(&self.kept).get(name).copied();
                kept.is_some_and(|kept| !topic.keeps(kept))
            }
        }
    }

    async fn describe(&self, names: Vec<String>) -> Result<Vec<Topic>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let client = Arc::clone(&self.client);
        let described = blocking("describe topics", move || {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            client.ask("describe topics", |client, within| {
                native::describe_topics(client.inner(), &names, within)
            })
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
        let client = self.client.client();
        let client = client.map_err(|error| error::of_client("read", error))?;
        let looked = native::describe_topics(client.inner(), &[topic], LOOK_WITHIN)
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
        // Shown, and then not known to any broker: it is gone.
        let exists =
            |topic: &&Topic| hidden == Hidden::LeftOut || configs.contains_key(&topic.name);
        Ok(topics.iter().filter(exists).map(described).collect())
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let (client, prefix) = (Arc::clone(&self.client), prefix.to_owned());
        blocking("list topics", move || {
            let metadata = client.ask("list topics", |client, within| {
                let looked = client.inner().fetch_metadata(None, within);
                looked.map_err(of)
            })?;
            let names = metadata
                .topics()
                .iter()
                .map(|topic| topic.name().to_owned());
            let mut names: Vec<String> = names
                .filter(|name| !name.starts_with("__") && name.starts_with(&prefix))
                .collect();
            names.sort();
            Ok(names)
        })
        .await
    }
}

/// What a broker that is behind is given, from its first answer that says less than was seen: it may have been silent for longer
/// before that.
struct Grace {
    first: OnceCell<Instant>,
    long: Duration,
}

impl Grace {
    /// This long.
    fn of(long: Duration) -> Self {
        Self {
            first: OnceCell::new(),
            long,
        }
    }

    /// Asked at each such answer: whether it is to be believed.
    fn is_over(&self, now: Instant) -> bool {
        now >= *self.first.get_or_init(|| now) + self.long
    }
}

fn options(within: Duration) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(within))
        .operation_timeout(Some(within))
}

impl Admin for KafkaAdmin {
    fn cluster(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(self.cluster())
    }

    fn topics<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<TopicDescription>>> {
        Box::pin(async move {
            let names = self.names(prefix).await?;
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
                let grace = Grace::of(LED_WITHIN);
                client.ask("look up offsets", |client, within| {
                    let looked = client.inner().fetch_watermarks(&name, number, within);
                    match looked.map_err(of) {
                        // Its leader has not heard yet of a topic that another broker has shown.
                        Err(Code::UnknownTopicOrPartition | Code::UnknownPartition)
                            if exists && !grace.is_over(now()) =>
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

#[cfg(test)]
mod tests {
    use dotmsg_core::backend::BackendOptions;
    use dotmsg_core::clock::SystemClock;

    use super::*;

    fn admin() -> KafkaAdmin {
        let options = BackendOptions {
            name: "main".into(),
            url: "kafka://127.0.0.1:1".into(),
            settings: BTreeMap::new(),
            clock: Arc::new(SystemClock),
        };
        KafkaAdmin::open(&Arc::new(Settings::of(&options).unwrap())).unwrap()
    }

    #[test]
    fn a_broker_is_given_time_from_its_first_answer() {
        let (grace, woke) = (Grace::of(SHOWN_WITHIN), now() + 2 * SHOWN_WITHIN);
        assert!(!grace.is_over(woke));
        assert!(!grace.is_over(woke + SHOWN_WITHIN / 2));
        assert!(grace.is_over(woke + SHOWN_WITHIN));
    }

    #[test]
    fn an_answer_is_older_that_shows_less_than_was_seen() {
        let (admin, hour) = (admin(), Duration::from_secs(3_600));
        let mut shown = TopicDescription::new("t", 1, "id");
        shown.retention = Some(hour);
        assert!(!admin.is_older("t", None), "nothing was seen of it");
        assert!(!admin.is_older("t", Some(&shown)));
        lock(&admin.known).insert("t".to_owned(), 1);
        lock(&admin.kept).insert("t".to_owned(), Retention::For(2 * hour));
        assert!(admin.is_older("t", None), "it was there");
        assert!(admin.is_older("t", Some(&shown)), "it was kept for longer");
        shown.retention = Some(2 * hour);
        assert!(!admin.is_older("t", Some(&shown)));
        assert!(!admin.is_older("other", None));
    }
}
