//! What one run of a case has: the broker, and names that no other case uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dotmsg_core::backend::{
    Backend, Capability, KeyOrder, OffsetRange, PublishRecord, Retention, TopicSpec,
};
use dotmsg_core::config::RouteDefaults;
use dotmsg_core::error::Result;
use dotmsg_core::message::Message;

use crate::calls::{Calls, assert_key_order};
use crate::fixture::{Broker, Stays};
use crate::register::Case;
use crate::wait::{until, within};

/// One run of a case.
pub(crate) struct Trial {
    broker: Arc<dyn Broker>,
    pub(crate) capability: Capability,
    prefix: String,
    names: AtomicU32,
}

impl Trial {
    pub(crate) fn new(broker: Arc<dyn Broker>, capability: Capability, case: &Case) -> Self {
        // A broker that outlives the process has the topics of earlier runs.
        let run: u32 = fastrand::u32(..);
        Self {
            broker,
            capability,
            prefix: format!("{}.{}.{run:08x}", case.theme, case.name),
            names: AtomicU32::new(0),
        }
    }

    /// A name that nobody else uses; short enough for the group's own topics to have names too.
    pub(crate) fn name(&self) -> Arc<str> {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{}.{number}", self.prefix).into()
    }

    /// One more connection, as one more process would have.
    pub(crate) async fn connect(&self) -> Arc<dyn Backend> {
        let connected = within("a connection", self.broker.connect()).await;
        connected.unwrap_or_else(|error| panic!("no connection: {error}"))
    }

    /// The route of a case: handler `case` on this topic in this group. Commits come often, so that a case need not wait; it
    /// asks for no order that the backend does not keep.
    pub(crate) fn route(&self, topic: &str, group: &str) -> RouteDefaults {
        match self.keeps_order() {
            true => base(topic, group),
            false => base(topic, group).with("ordering", "none"),
        }
    }

    /// The same without any order.
    pub(crate) fn unordered(&self, topic: &str, group: &str) -> RouteDefaults {
        base(topic, group).with("ordering", "none")
    }

    pub(crate) fn keeps_order(&self) -> bool {
        self.capability.key_order != KeyOrder::None
    }

    /// What [`assert_key_order`] says, where there is an order.
    #[track_caller]
    pub(crate) fn assert_key_order(&self, calls: &Calls) {
        if self.keeps_order() {
            assert_key_order(&calls.all());
        }
    }

    /// A fresh topic.
    pub(crate) async fn topic(&self, backend: &dyn Backend, partitions: u32) -> Arc<str> {
        self.topic_kept(backend, partitions, Retention::AsBackend)
            .await
    }

    /// A fresh topic that keeps its records so long.
    pub(crate) async fn topic_kept(
        &self,
        backend: &dyn Backend,
        partitions: u32,
        retention: Retention,
    ) -> Arc<str> {
        let name = self.name();
        let admin = backend.admin();
        let created = admin.create_topic(TopicSpec {
            name: name.to_string(),
            partitions,
            retention,
        });
        if let Err(error) = within("the topic is created", created).await {
            panic!("topic {name} cannot be created: {error}");
        }
        name
    }

    /// Which of two members with one instance id stays.
    pub(crate) fn stays(&self) -> Stays {
        self.broker.stays()
    }

    /// Stops the broker and starts it again.
    pub(crate) async fn restart(&self) {
        let Some(restart) = self.broker.restart() else {
            panic!("the fixture cannot restart its broker any more")
        };
        if let Err(error) = within("the broker restarts", restart).await {
            panic!("the broker does not restart: {error}");
        }
    }

    /// Has retention remove records of a partition below `before`; gives the offset at which it starts then.
    pub(crate) async fn trim(&self, backend: &dyn Backend, topic: &str, before: u64) -> u64 {
        let admin = backend.admin();
        until("retention removes records", || async {
            let Some(trim) = self.broker.trim(topic, 0, before) else {
                panic!("the fixture cannot trim any more")
            };
            if let Err(error) = trim.await {
                panic!("topic {topic} cannot be trimmed: {error}");
            }
            let start = offsets(admin.offsets(topic, 0).await).start;
            assert!(
                start <= before,
                "the fixture trimmed {topic} to {start}, above {before}"
            );
            (start > 0).then_some(start)
        })
        .await
    }
}

fn base(topic: &str, group: &str) -> RouteDefaults {
    RouteDefaults::new("case")
        .with("topic", topic)
        .with("group", group)
        .with("commit_interval", "10ms")
}

fn offsets(range: Result<OffsetRange>) -> OffsetRange {
    range.unwrap_or_else(|error| panic!("the offsets of a partition are not told: {error}"))
}

/// The first and the next offset of a partition.
pub(crate) async fn range(backend: &dyn Backend, topic: &str, partition: u32) -> OffsetRange {
    let admin = backend.admin();
    offsets(within("offsets", admin.offsets(topic, partition)).await)
}

/// A record for one partition.
pub(crate) fn to(topic: &Arc<str>, partition: u32, message: Message) -> PublishRecord {
    PublishRecord {
        topic: Arc::clone(topic),
        partition: Some(partition),
        message,
    }
}
